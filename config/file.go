package config

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/pgscope/pgscope-proxy/config/yamlfile"
	"github.com/pgscope/pgscope-proxy/scope"
)

// path returns the path of the file, empty for none, and what names it.
func (l *loader) path() (path, named string) {
	if f := l.flags.Lookup(configFlag); f != nil && f.Changed {
		return f.Value.String(), "--" + configFlag
	}
	variable := envName(configFlag)
	return os.Getenv(variable), variable
}

// unread notes that the file cannot be read. Nobody misses a setting then: each may stand in it.
func (l *loader) unread(err error) {
	l.problems = append(l.problems, err)
	for i := range settings {
		l.invalid[settings[i].key] = true
	}
}

// file takes in the settings of the file, and returns what it says of single databases, and who is let in how.
func (l *loader) file() (databases map[string]Database, rules []AuthRule) {
	databases = make(map[string]Database)
	path, named := l.path()
	if path == "" {
		return databases, nil
	}
	f, err := yamlfile.Load(path)
	if err != nil {
		l.unread(fmt.Errorf("%s: %w", named, err))
		return databases, nil
	}
	if err := f.Err(); err != nil { // it is no YAML
		l.unread(err)
		return databases, nil
	}
	values := make(map[string]any)
	keys := map[string]func(yamlfile.Value){
		databasesKey: func(v yamlfile.Value) { readDatabases(v, databases) },
		authRulesKey: func(v yamlfile.Value) { rules = readAuthRules(v) },
	}
	sections := make(map[string]map[string]func(yamlfile.Value))
	for i := range settings {
		s := &settings[i]
		read := func(v yamlfile.Value) {
			if text, ok := s.read(v); ok {
				values[s.key] = text
			} else {
				l.invalid[s.key] = true
			}
		}
		section, key, nested := strings.Cut(s.key, ".")
		if !nested {
			keys[s.key] = read
			continue
		}
		if sections[section] == nil {
			known := make(map[string]func(yamlfile.Value))
			sections[section] = known
			keys[section] = func(v yamlfile.Value) { v.Mapping(known) }
		}
		sections[section][key] = read
	}
	f.Root().Mapping(keys)
	if err := f.Err(); err != nil {
		l.problems = append(l.problems, err)
	}
	l.problem(path, l.viper.MergeConfigMap(values))
	return databases, rules
}

// read returns the text that the file has for a setting, if it is valid.
func (s *setting[T]) read(v yamlfile.Value) (string, bool) {
	items := []yamlfile.Value{v}
	if s.list {
		items = v.List()
	}
	texts := make([]string, 0, len(items))
	for _, item := range items {
		text, ok := item.Text()
		if !ok {
			continue
		}
		if err := s.check(text); err != nil {
			item.Errorf("%s: %v", s.key, err)
			continue
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ","), len(texts) == len(items) && len(items) > 0
}

func readDatabases(v yamlfile.Value, databases map[string]Database) {
	owners := make(map[string]string) // by prefix
	v.Entries(func(name string, v yamlfile.Value) {
		if name == "" || len(name) > scope.MaxName {
			v.Errorf("the name of a database has from 1 to %d bytes", scope.MaxName)
			return
		}
		var d Database
		keys := make(map[string]func(yamlfile.Value))
		for i := range databaseSettings {
			s := &databaseSettings[i]
			keys[s.key] = func(v yamlfile.Value) {
				if text, ok := s.read(v); ok {
					_ = s.set.parse(&d, text) // read has checked it
				}
			}
		}
		v.Mapping(keys)
		prefix := cmp.Or(d.Prefix, name)
		if other, taken := owners[prefix]; taken {
			v.Errorf(`database "%s" has the prefix "%s" already`, other, prefix)
		}
		owners[prefix] = name
		databases[name] = d
	})
}
