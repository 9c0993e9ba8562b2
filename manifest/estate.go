package manifest

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
	"github.com/pgscope/pgscope-proxy/scope"
)

// estateEntry is a cluster: roles that belong to no database, and databases.
type estateEntry struct {
	located
	version   text
	global    document
	databases []databaseEntry
}

type databaseEntry struct {
	located
	name, prefix     text
	manifest, bundle text
	inline           document
}

var estateForm = object("estate", append(within(globalKeys, func(e *estateEntry) *document { return &e.global }),
	field("estate", "Version of the format: 1.", textOf(map[string]any{"const": 1}, one), func(e *estateEntry) *text { return &e.version }),
	field("databases", "The databases.", listOf(databaseForm), func(e *estateEntry) *[]databaseEntry { return &e.databases }).must(),
)...)

// globalKeys are those of manifests that an estate has for the whole cluster.
var globalKeys = slices.DeleteFunc(slices.Clone(entries), func(k key[document]) bool {
	return k.name == "schemas" || k.name == "default_privileges"
})

var databaseForm = object("database", append(within(manifestKeys, func(d *databaseEntry) *document { return &d.inline }),
	field("name", "Name of the database.", identifier, func(d *databaseEntry) *text { return &d.name }).must(),
	field("prefix", "Before the names of its roles on the server; the database's name where nothing is said.", identifier, func(d *databaseEntry) *text { return &d.prefix }),
	field("manifest", "Path of its manifest, seen from the folder of this file.", bounded(4096, false), func(d *databaseEntry) *text { return &d.manifest }),
	field("bundle", "Path of its bundle, seen from the folder of this file.", bounded(4096, false), func(d *databaseEntry) *text { return &d.bundle }),
)...)

// estate reads an estate.
func (l *loader) estate(v yamlfile.Value) {
	e := estateForm.read(v)
	l.manifest.Cluster = l.global(&e)
	prefixes := make(map[string]yamlfile.Value)
	names := make(map[string]yamlfile.Value)
	for i := range e.databases {
		d := &e.databases[i]
		if d.name.s == "" {
			continue
		}
		if at, ok := names[d.name.s]; ok {
			d.name.at.Errorf(`database "%s" stands here twice%s`, d.name.s, alsoAt(at))
			continue
		}
		names[d.name.s] = d.name.at
		database := scope.NewDatabase(0, d.name.s, d.prefix.s)
		if at, ok := prefixes[database.Prefix]; ok {
			d.at.Errorf(`the prefix "%s" is another database's too%s`, database.Prefix, alsoAt(at))
		}
		prefixes[database.Prefix] = d.at
		desired := l.database(d, &database)
		desired.Database, desired.Prefix, desired.Estate = d.name.s, d.prefix.s, true
		addGlobals(&desired, l.manifest.Cluster.Roles)
		l.manifest.Databases = append(l.manifest.Databases, desired)
	}
	if len(e.databases) == 0 {
		e.at.Errorf("an estate has at least one database")
	}
	l.collisions(v)
	l.disputes()
}

// collisions tells of roles that the server would have under one name: role b_c of database a and role c of a_b.
func (l *loader) collisions(v yamlfile.Value) {
	taken := make(map[scope.Cluster]access.Place)
	for _, r := range l.manifest.Cluster.Roles {
		taken[scope.Cluster(r.Name.Role)] = r.Place
	}
	for i := range l.manifest.Databases {
		d := &l.manifest.Databases[i]
		database := scope.NewDatabase(0, d.Database, d.Prefix)
		for _, r := range d.Roles {
			if r.Kind != access.Own {
				continue
			}
			qualify := database.Qualify
			if r.Name.Schema != "" {
				qualify = database.Schema(r.Name.Schema).Qualify
			}
			name, err := qualify(r.Name.Role)
			if err != nil {
				continue // told where the role is declared
			}
			if other, ok := taken[name]; ok {
				v.Errorf(`the server would have two roles "%s": those of %s and %s`, name, other, r.Place)
			}
			taken[name] = r.Place
		}
	}
}

// global reads what an estate says for the whole cluster.
func (l *loader) global(e *estateEntry) access.Desired {
	for _, g := range e.global.grants {
		if g.object == nil {
			continue
		}
		if k, ok := access.ParseKind(g.object.kind.s); ok && !k.Info().Cluster {
			g.object.at.Errorf("a %s is in a database: its grants go there; grants for the whole cluster are on parameters and tablespaces", k)
		}
	}
	for _, r := range e.global.roles {
		for _, s := range r.databaseConfig {
			s.at.KeyErrorf("database_config belongs to a role in a database")
		}
	}
	c := l.compiler(nil, nil)
	c.scope = None // names of the cluster
	desired := l.document(c, &e.global)
	desired.Cluster = true
	return desired
}

// addGlobals lets a database's access know the estate's global roles: they are made elsewhere, but what they may do in the
// database is what it says, and no more.
func addGlobals(d *access.Desired, globals []access.Role) {
	for _, r := range globals {
		if slices.ContainsFunc(d.Roles, func(o access.Role) bool { return o.Ref == r.Ref }) {
			continue
		}
		d.Roles = append(d.Roles, access.Role{
			Ref: r.Ref, External: true, PreserveGrants: r.PreserveGrants, Inherit: true, ConnectionLimit: -1, Place: r.Place,
		})
		if d.Surface != nil {
			d.Surface.Roles[r.Ref] = true
		}
	}
}

// database reads what an estate says of one database.
func (l *loader) database(e *databaseEntry, database *scope.Database) access.Desired {
	globals := l.manifest.Cluster.Roles
	path, want := e.manifest, aManifest
	if e.bundle.s != "" {
		path, want = e.bundle, aBundle
	}
	said := 0
	for _, written := range e.at.Keys() {
		if slices.ContainsFunc(manifestKeys, func(k key[document]) bool { return k.name == written }) {
			said = 1
		}
	}
	for _, t := range []text{e.manifest, e.bundle} {
		if t.s != "" {
			said++
		}
	}
	if said > 1 {
		e.at.Errorf("manifest, bundle, or a manifest's own keys: one of them")
		return access.Desired{}
	}
	if path.s == "" {
		return l.document(l.compiler(database, globals), &e.inline)
	}
	file := path.s
	if !filepath.IsAbs(file) {
		from, _, _ := e.at.Place()
		file = filepath.Join(filepath.Dir(from), file)
	}
	f, err := l.open(file)
	if err != nil {
		path.at.Errorf("%v", err)
		return access.Desired{}
	}
	if !readable(f) {
		return access.Desired{}
	}
	what := kindOf(f.Root())
	if (want == aBundle) != (what == aBundle) {
		path.at.Errorf("%s is %s", path.s, what)
		return access.Desired{}
	}
	return l.oneDatabase(f.Root(), what, database, globals)
}

// one is the version of the format that there is.
func one(version string) (problem string) {
	if version != "1" {
		return fmt.Sprintf(`"%.20s" is no version of this format that is known here; 1 is`, version)
	}
	return ""
}
