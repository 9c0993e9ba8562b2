package reconcile

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/access"
)

// Extent is what an observation is about. What is outside of it is not read.
type Extent struct {
	Names    []access.Ref
	Schemas  []string             // whose objects are read
	Kinds    map[access.Kind]bool // outside of schemas; the database itself is always read
	All      bool                 // every schema but the server's own, and every kind
	Columns  []string             // patterns of the names of relations all of whose columns are read
	Settings []string             // names of parameters that roles shall have
	Retired  []access.Ref         // whose belongings are read, wherever they are
	Cluster  bool                 // what belongs to no database: see [State.Scoped]

	AsWritten bool                  // names of the cluster may be those of roles that belong to databases
	Promised  map[access.Ref]bool   // roles that will be there when the plan is carried out
	Prefix    string                // what the database's roles shall be prefixed with where it is not enrolled yet; empty: its name
	Passwords map[access.Ref]string // to compare with those on the server

	// Connect opens a connection to another database, for what the retired roles have there; nil for none: then nobody
	// can clear it up.
	Connect func(ctx context.Context, database string) (*pgconn.PgConn, error)

	unread []Problem // passwords that could not be read
	// alike: of things that are alike one stands for all, unless a rule names it: by a name, or by a pattern of names.
	alike           bool
	named, patterns []string
}

// whole returns the extent of all there is beside what is asked for: in the database, or of what belongs to none.
func (e Extent) whole() Extent {
	if e.All = !e.Cluster; e.All {
		return e
	}
	e.Kinds = make(map[access.Kind]bool)
	for _, k := range access.Kinds() {
		e.Kinds[k] = k.Info().Cluster
	}
	return e
}

// ExtentOf returns the extent that must be observed to plan for desired.
func ExtentOf(d *access.Desired) Extent {
	names, schemas, columns := make(map[access.Ref]bool), make(map[string]bool), make(map[string]bool)
	named, patterns := make(map[string]bool), make(map[string]bool)
	e := Extent{Kinds: make(map[access.Kind]bool), Cluster: d.Cluster}
	for _, r := range d.Roles {
		names[r.Ref] = true
		for _, s := range r.Settings {
			e.Settings = append(e.Settings, s.Name)
		}
	}
	for _, s := range d.Schemas {
		schemas[s.Name] = true
		names[s.Owner] = true
	}
	for _, g := range d.Grants {
		names[g.Grantee] = true
		switch {
		case g.On.Kind == access.Schema:
			schemas[g.On.Name] = g.On.Pattern == "" || schemas[g.On.Name]
		case g.On.Kind.Info().InSchema:
			schemas[g.On.Schema] = true
		default:
			e.Kinds[g.On.Kind] = true
		}
		switch name, _, _ := strings.Cut(g.On.Name, "("); { // of a routine's the types are left off
		case g.On.Pattern == "":
			named[g.On.Name], named[name] = true, true
		case g.On.Pattern != "%" || g.On.Column != "":
			patterns[g.On.Pattern] = true
		}
		if g.On.Column != "" {
			columns[cmp.Or(g.On.Pattern, literally.Replace(g.On.Name))] = true
		}
	}
	for _, p := range d.Defaults {
		names[p.Owner], names[p.Grantee] = true, true
		if p.Schema != "" {
			schemas[p.Schema] = true
		}
	}
	for _, m := range d.Memberships {
		names[m.Role] = true
		for _, member := range m.Members {
			names[member.Ref] = true
		}
	}
	for _, r := range d.Retirements {
		names[r.Ref], names[r.ReassignTo] = true, true
		e.Retired = append(e.Retired, r.Ref)
	}
	delete(names, access.Ref{})
	delete(schemas, "")
	e.Names = slices.SortedFunc(maps.Keys(names), compareRefs)
	e.Schemas = slices.Sorted(maps.Keys(schemas))
	e.Columns, e.named, e.patterns = slices.Sorted(maps.Keys(columns)), slices.Sorted(maps.Keys(named)), slices.Sorted(maps.Keys(patterns))
	return e
}

// literally makes a pattern of a name, that matches nothing else.
var literally = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

func compareRefs(a, b access.Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name.Schema, b.Name.Schema), cmp.Compare(a.Name.Role, b.Name.Role))
}
