package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Finding is access that no manifest speaks of: nothing that a plan would change, and perhaps nothing that anybody
// wants.
type Finding struct {
	Kind    string // role, membership, access, public, defaults
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
	p.wantedMembers()
	f := &finder{planner: p}
	f.access()
	f.memberships()
	if !desired.Cluster { // which has no roles but those that are declared, and makes no objects
		f.roles()
		f.mistaken()
		f.defaults()
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

// mistaken finds members of the markers that are taken for what they are not, as only a GRANT or a rename by hand can
// make them: see [scope.Inventory.Mistaken].
func (f *finder) mistaken() {
	schemas := map[scope.Cluster]string{f.state.Scope.Marker: ""}
	for _, s := range f.state.Scope.Marked {
		schemas[s.Marker] = s.Name
	}
	type membership struct{ marker, member scope.Cluster }
	admin := make(map[membership]bool) // several may have given it
	for _, e := range f.state.Members {
		if _, ours := schemas[e.Role]; ours && !strings.HasPrefix(string(e.Member), scope.Reserved) {
			at := membership{e.Role, e.Member}
			admin[at] = admin[at] || e.Admin
		}
	}
	for at, admin := range admin {
		name, own := f.state.Own[at.member]
		hint := "REVOKE " + at.marker.Ident() + " FROM " + at.member.Ident()
		switch own = own && name.Schema == schemas[at.marker]; {
		case own && admin:
			f.find("membership", "role "+string(at.member), "rename it on the server, or "+hint,
				"administers the roles of %s, and is taken for one of them by its name", at.marker)
		case !own && !admin:
			f.find("membership", "role "+string(at.member), hint, "is a member of %s, but is no role of the database, nor does it administer them", at.marker)
		}
	}
}

// access finds privileges where the manifest does not look, of roles that are its own business, and of PUBLIC.
func (f *finder) access() {
	type spot struct {
		grantee    scope.Cluster
		kind       access.Kind
		schema     string
		columns    bool
		privileges access.Privileges
	}
	count, example := make(map[spot]int), make(map[spot]string)
	note := func(o *Object, column string, entries []Entry) {
		for _, e := range entries {
			_, own := f.state.Own[e.Grantee]
			if e.Grantee == o.Owner || f.elsewhere(o.Kind, own) ||
				e.Grantee == "" && (harmless(o.Kind) || f.namesPublic(o, column, e.Privileges)) || !f.unspoken(e.Grantee, f.within(o), o.Kind.Info().Cluster) {
				continue
			}
			at := spot{e.Grantee, o.Kind, o.Schema, column != "", e.Privileges}
			if count[at]++; count[at] == 1 {
				example[at] = o.String()
				if column != "" {
					example[at] = "column " + column + " of " + example[at]
				}
			}
		}
	}
	for kind, list := range f.state.Objects {
		for _, o := range list {
			note(o, "", o.ACL.entries(kind, o.Owner))
			for _, column := range slices.Sorted(maps.Keys(o.Columns)) {
				note(o, column, o.Columns[column].Entries)
			}
		}
	}
	for at, n := range count {
		what := example[at]
		switch {
		case n > 1 && at.columns:
			what = fmt.Sprintf("%d columns of kind %v in schema %s, as %s", n, at.kind, at.schema, what)
		case n > 1:
			what = fmt.Sprintf("%d of kind %v in schema %s, as %s", n, at.kind, at.schema, what)
		}
		f.findAccess(at.grantee, at.privileges, what)
	}
}

// unspoken reports whether what a role has, where the manifest looks or does not, is for no plan to judge: what its
// own roles have where it does not look, what those have that nobody declared, what everyone has, and what roles of
// other databases have in this one, but not on what all databases share.
func (f *finder) unspoken(grantee scope.Cluster, looked, shared bool) bool {
	_, own := f.state.Own[grantee]
	switch {
	case grantee == "": // everyone is everybody's business
		return true
	case f.declared(grantee):
		return !looked
	default:
		return own || !shared && !f.desired.Cluster && f.state.foreign[grantee]
	}
}

func (f *finder) findAccess(grantee scope.Cluster, privileges access.Privileges, what string) {
	subject := "role " + f.shown(grantee)
	switch {
	case grantee == "":
		f.find("public", "PUBLIC", "declare it for PUBLIC, or declare it absent", "everyone has %v on %s", privileges, what)
	case f.declared(grantee):
		f.find("access", subject, "declare it, or revoke it", "has %v on %s, of which the manifest does not speak", privileges, what)
	case f.state.foreign[grantee]:
		f.find("access", subject, "revoke it", "has %v on %s, and belongs to another database", privileges, what)
	default:
		f.find("access", subject, "declare the role, or revoke it", "has %v on %s, but is not declared", privileges, what)
	}
}

// memberships finds what the database's roles, and those that the manifest makes, are members of without its saying
// so.
func (f *finder) memberships() {
	told := make(map[[2]scope.Cluster]bool) // several may have given it
	for _, e := range f.state.Members {
		_, own := f.state.Own[e.Member]
		made, at := f.managed[e.Member], [2]scope.Cluster{e.Role, e.Member}
		if !own && (made == nil || made.External) || f.desired.Cluster && (f.state.Scoped[e.Member] || f.state.Scoped[e.Role]) ||
			strings.HasPrefix(string(e.Role), scope.Reserved) || e.Creator || told[at] {
			continue
		}
		if w := f.wanted[e.Role]; w != nil && (w.exclusive || w.members[e.Member] != nil) {
			continue
		}
		told[at] = true
		hint := "declare it, or revoke it"
		if f.state.foreign[e.Role] { // it has no name here
			hint = "revoke it: that role belongs to another database"
		}
		f.find("membership", "role "+f.shown(e.Member), hint, "is a member of role %s, of which the manifest does not speak", f.shown(e.Role))
	}
}

// defaults finds default privileges that the manifest does not speak of.
func (f *finder) defaults() {
	for _, d := range f.state.Defaults {
		looked := d.Schema != "" && f.schemas[d.Schema]
		public := access.Privileges(0) // what is said of everyone
		if d.Schema == "" {
			public = d.Kind.Info().Everyone
		}
		for _, w := range f.desired.Defaults {
			if f.state.Names[w.Owner].Cluster == d.Owner && w.Schema == d.Schema && w.Kind == d.Kind {
				looked = true
				if w.Grantee.Kind == access.Public {
					public |= w.Privileges
				}
			}
		}
		at := layer{d.Owner, d.Schema, d.Kind}
		for _, e := range d.ACL.Entries {
			if e.Grantee == d.Owner || e.Grantee == "" && public.Has(e.Privileges) || !f.unspoken(e.Grantee, looked, false) {
				continue
			}
			f.findAccess(e.Grantee, e.Privileges, "every "+f.defaultSubject(at))
		}
	}
}

// elsewhere reports whether another part of the estate says what the role, one of the database's own or not, has on
// things of the kind.
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

// namesPublic reports whether the manifest speaks of all those privileges of PUBLIC on the object, or on a column of
// it.
func (f *finder) namesPublic(o *Object, column string, p access.Privileges) bool {
	for _, g := range f.desired.Grants {
		if g.Grantee.Kind == access.Public && g.On.Kind == o.Kind && g.On.Schema == o.Schema && g.On.Column == column && selects(g.On, o, nil) {
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
