package config

import (
	"maps"
	"slices"
)

// NeedRestart returns the settings in which two configurations differ and of which a running
// proxy cannot take the new value.
func NeedRestart(before, after *Config) (keys []string) {
	for i := range settings {
		if s := &settings[i]; s.fixed && !s.set.same(before, after) {
			keys = append(keys, s.key)
		}
	}
	names := maps.Clone(before.Databases)
	maps.Copy(names, after.Databases)
	for name := range names {
		old, d := before.Databases[name], after.Databases[name]
		for i := range databaseSettings {
			if s := &databaseSettings[i]; s.fixed && !s.set.same(&old, &d) {
				keys = append(keys, databasesKey+"."+name+"."+s.key)
			}
		}
	}
	slices.Sort(keys)
	return keys
}
