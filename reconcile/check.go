package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Finding is access that no manifest speaks of: nothing that a plan would change, and perhaps nothing that anybody wants.
type Finding struct {
	Kind    string // role, access, public, defaults
	Subject string
	Message string
	Hint    string // what to do about it
}

func (f Finding) String() string { return f.Subject + ": " + f.Message + " (" + f.Hint + ")" }

// Check reports what differs from the desired access, and what is there beside it. It changes nothing.
func Check(ctx context.Context, o Options) (report Report, findings []Finding, err error) {
	conn, err := o.Connect(ctx, "")
	if err != nil {
		return Report{}, nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	extent, err := o.extent()
	if err != nil {
		return Report{}, nil, err
	}
	if report, err = o.look(ctx, conn, extent); err != nil {
		return report, nil, err
	}
	state, err := Observe(ctx, conn, extent.whole())
	if err != nil {
		return report, nil, err
	}
	return report, Unmanaged(o.Desired, state), nil
}

// Unmanaged returns what a state has beside what is desired. The state must have been observed with a whole extent.
func Unmanaged(desired *access.Desired, state *State) []Finding {
	p := newPlanner(desired, state, Authoritative)
	p.names()
	f := &finder{planner: p}
	f.access()
	if !desired.Cluster { // which has no roles but those that are declared, and makes no objects
		f.roles()
		f.creators()
	}
	slices.SortStableFunc(f.list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Message, b.Message))
	})
	return f.list
}

type finder struct {
	*planner
	list []Finding
}

func (f *finder) find(kind, subject, hint, format string, args ...any) {
	f.list = append(f.list, Finding{Kind: kind, Subject: subject, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// shown returns what people of this database call a role.
func (f *finder) shown(c scope.Cluster) string {
	if name, ok := f.state.Own[c]; ok {
		return string(name.Short())
	}
	return f.name(c)
}

// declared reports whether the manifest says what rights the role has.
func (f *finder) declared(c scope.Cluster) bool { return f.managed[c] != nil }

// roles finds the database's roles that nobody declared.
func (f *finder) roles() {
	for _, c := range slices.Sorted(maps.Keys(f.state.Own)) {
		if _, known := f.called[c]; !known {
			f.find("role", "role "+f.shown(c), "declare it, or list it under retirements", "belongs to the database, but is not declared")
		}
	}
}

// access finds privileges where the manifest does not look, of roles that are its own business, and of PUBLIC.
func (f *finder) access() {
	type spot struct {
		grantee    scope.Cluster
		kind       access.Kind
		schema     string
		privileges access.Privileges
	}
	count, example := make(map[spot]int), make(map[spot]*Object)
	for kind, list := range f.state.Objects {
		for _, o := range list {
			for _, e := range o.ACL.entries(kind, o.Owner) {
				_, own := f.state.Own[e.Grantee]
				switch {
				case e.Grantee == o.Owner, f.elsewhere(kind, own):
					continue
				case e.Grantee == "" && (harmless(kind) || f.namesPublic(o, e.Privileges)):
					continue
				case e.Grantee == "": // everyone is everybody's business
				case f.declared(e.Grantee) && f.within(o), !f.declared(e.Grantee) && !own:
					continue
				}
				at := spot{e.Grantee, kind, o.Schema, e.Privileges}
				if count[at]++; example[at] == nil {
					example[at] = o
				}
			}
		}
	}
	for at, n := range count {
		subject, what := "role "+f.shown(at.grantee), example[at].String()
		if n > 1 {
			what = fmt.Sprintf("%d of kind %v in schema %s, as %s", n, at.kind, at.schema, what)
		}
		switch {
		case at.grantee == "":
			f.find("public", "PUBLIC", "declare it for PUBLIC, or declare it absent", "everyone has %v on %s", at.privileges, what)
		case f.declared(at.grantee):
			f.find("access", subject, "declare it, or revoke it", "has %v on %s, of which the manifest does not speak", at.privileges, what)
		default:
			f.find("access", subject, "declare the role, or revoke it", "has %v on %s, but is not declared", at.privileges, what)
		}
	}
}

// elsewhere reports whether another part of the estate says what the role, one of the database's own or not, has on things of the kind.
func (f *finder) elsewhere(kind access.Kind, own bool) bool {
	if ofCluster := kind.Info().Cluster; !ofCluster {
		return f.desired.Cluster
	}
	return f.desired.Estate && !own
}

// harmless reports whether PUBLIC has the same everywhere on things of the kind, and it gives no access to data.
func harmless(k access.Kind) bool {
	return k == access.Type || k == access.Domain || k == access.Language
}

// namesPublic reports whether the manifest speaks of all those privileges of PUBLIC on the object.
func (f *finder) namesPublic(o *Object, p access.Privileges) bool {
	for _, g := range f.desired.Grants {
		if g.Grantee.Kind == access.Public && g.On.Kind == o.Kind && g.On.Schema == o.Schema && selects(g.On, o, nil) {
			p &^= g.Privileges
		}
	}
	return p == 0
}

// creators finds who makes objects where the manifest grants on all there are, but not on those that they make later.
func (f *finder) creators() {
	type spot struct {
		kind   access.Kind
		schema string
	}
	everything := make(map[spot]bool)
	for _, g := range f.desired.Grants {
		if g.On.Pattern == "%" && !g.Absent && g.On.Kind.Info().Default != 0 && g.On.Kind.Info().InSchema {
			everything[spot{g.On.Kind, g.On.Schema}] = true
		}
	}
	covered := make(map[layer]bool)
	for _, d := range f.desired.Defaults {
		covered[layer{f.state.Names[d.Owner].Cluster, d.Schema, d.Kind}] = true
	}
	found := make(map[layer]int)
	for at := range everything {
		for _, o := range f.state.Objects[at.kind] {
			l := layer{o.Owner, o.Schema, at.kind}
			if o.Schema == at.schema && !covered[l] && !covered[layer{o.Owner, "", at.kind}] {
				found[l]++
			}
		}
	}
	for l, n := range found {
		f.find("defaults", "role "+f.shown(l.owner), "declare default_privileges with this owner",
			"has made %d of kind %v in schema %s: what it makes next, nobody will have access to before the next apply", n, l.kind, l.schema)
	}
}
