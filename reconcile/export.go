package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
)

// ExportOptions say what of a database is exported.
type ExportOptions struct {
	Mode      Mode // in mode adopt, roles that carry the database's prefix and belong to none are its own: the plan of that mode makes them so
	AsWritten bool // every role of the cluster, under the name that the server has
	Estate    bool // without what [ExportCluster] says
}

// Export returns the access in the connection's database as a manifest would have it, so that its plan is empty.
// Passwords are left out. Roles of the database are its own; others that have to do with it are external.
func Export(ctx context.Context, conn *pgconn.PgConn, o ExportOptions) (*access.Desired, error) {
	state, err := Observe(ctx, conn, Extent{All: true, AsWritten: o.AsWritten})
	if err != nil {
		return nil, err
	}
	e := &exporter{state: state, ExportOptions: o, seen: make(map[scope.Cluster]access.Ref)}
	e.desired.Database, e.desired.Prefix, e.desired.Estate = state.Scope.Name, state.Scope.Prefix, o.Estate
	return e.export(), nil
}

// ExportCluster returns what an estate says of the cluster, beside its databases: the roles that belong to none, their
// memberships, and what they may do with parameters and tablespaces.
func ExportCluster(ctx context.Context, conn *pgconn.PgConn) (*access.Desired, error) {
	state, err := Observe(ctx, conn, Extent{Cluster: true}.whole())
	if err != nil {
		return nil, err
	}
	e := &exporter{state: state, ExportOptions: ExportOptions{AsWritten: true}, cluster: true, seen: make(map[scope.Cluster]access.Ref)}
	for _, kind := range access.Kinds() { // what there is once in each database is its own affair
		if !kind.Info().Cluster {
			delete(state.Objects, kind)
		}
	}
	e.desired.Cluster = true
	return e.export(), nil
}

// Databases lists those that an estate can have: which let somebody in, and are no templates.
func Databases(ctx context.Context, conn *pgconn.PgConn) (names []string, err error) {
	rows, err := provision.Query(ctx, conn, "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1", nil)
	for _, r := range rows {
		names = append(names, r[0])
	}
	return names, err
}

type exporter struct {
	ExportOptions
	state   *State
	cluster bool                         // what belongs to no database
	seen    map[scope.Cluster]access.Ref // roles that the manifest must declare
	desired access.Desired
}

func (e *exporter) export() *access.Desired {
	for _, name := range slices.Sorted(maps.Keys(e.state.Roles)) {
		if e.owns(name) {
			e.ref(name)
		}
	}
	e.schemas()
	for _, kind := range access.Kinds() {
		e.objects(kind)
	}
	e.defaults()
	e.memberships()
	e.starts()
	e.roles()
	return &e.desired
}

// reserved reports whether no manifest declares the role: PostgreSQL's own, and the markers.
func reserved(c scope.Cluster) bool {
	return scope.Predefined(c) || strings.HasPrefix(string(c), scope.Reserved)
}

// own reports whether the role is the database's own, or becomes it.
func (e *exporter) own(c scope.Cluster) bool { return !e.AsWritten && e.refOf(c).Kind == access.Own }

func (e *exporter) refOf(c scope.Cluster) access.Ref {
	if c == "" {
		return access.Ref{Kind: access.Public}
	}
	if !e.AsWritten {
		if name, ok := e.state.Own[c]; ok {
			return access.Ref{Kind: access.Own, Name: name}
		}
		if short, ok := e.state.Scope.Localize(c); ok && e.Mode == Adopt && !e.state.claimed[c] {
			return access.Ref{Kind: access.Own, Name: scope.Name{Role: short}}
		}
	}
	return access.Ref{Kind: access.Global, Name: scope.Name{Role: scope.Short(c)}}
}

// ref is refOf for a role that the manifest names.
func (e *exporter) ref(c scope.Cluster) access.Ref {
	ref := e.refOf(c)
	if c != "" && !reserved(c) {
		e.seen[c] = ref
	}
	return ref
}

func (e *exporter) schemas() {
	for _, o := range e.state.Objects[access.Schema] {
		whole := !o.ACL.Stored || slices.ContainsFunc(o.ACL.Entries, func(a Entry) bool {
			return a.Grantee == o.Owner && a.Privileges.Has(access.Usage|access.Create)
		})
		if whole {
			e.desired.Schemas = append(e.desired.Schemas, access.SchemaSpec{Name: o.Name, Owner: e.ref(o.Owner)})
		}
	}
}

// terms are a grant without its object.
type terms struct {
	grantee        scope.Cluster
	privileges     access.Privileges
	option, absent bool
}

// termsOf returns what a manifest says of a list of privileges that is on things of the kind.
func termsOf(acl ACL, owner scope.Cluster, everyone access.Privileges) (list []terms) {
	if !acl.Stored {
		return nil
	}
	with, without := make(map[scope.Cluster]access.Privileges), make(map[scope.Cluster]access.Privileges)
	for _, a := range acl.Entries {
		with[a.Grantee] |= a.Options
		without[a.Grantee] |= a.Privileges
	}
	gone := everyone &^ without[""]
	without[""] &^= everyone
	delete(with, owner)
	delete(without, owner)
	for _, g := range slices.Sorted(maps.Keys(without)) {
		if p := without[g] &^ with[g]; p != 0 {
			list = append(list, terms{g, p, false, false})
		}
		if p := with[g]; p != 0 {
			list = append(list, terms{g, p, true, false})
		}
	}
	if gone != 0 {
		list = append(list, terms{"", gone, false, true})
	}
	return list
}

// objects exports the privileges on objects of one kind. What is the same on all of a schema is said once.
func (e *exporter) objects(kind access.Kind) {
	all := e.state.Objects[kind]
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Schema == all[0].Schema {
			n++
		}
		e.container(kind, all[:n])
		all = all[n:]
	}
}

func (e *exporter) container(kind access.Kind, objects []*Object) {
	count := make(map[terms]int)
	each := make([][]terms, len(objects))
	owners := make(map[scope.Cluster]bool)
	for i, o := range objects {
		each[i] = termsOf(o.ACL, o.Owner, kind.Info().Everyone)
		owners[o.Owner] = true
		for _, t := range each[i] {
			count[t]++
		}
	}
	common := func(t terms) bool { // an owner among the others' grantees would get it on its own objects, too
		return kind.Info().InSchema && len(objects) > 1 && count[t] == len(objects) && !owners[t.grantee]
	}
	said := make(map[terms]bool)
	for i, o := range objects {
		for _, t := range each[i] {
			on := access.Selector{Kind: kind, Schema: o.Schema, Name: o.Name}
			switch {
			case common(t) && said[t]:
				continue
			case common(t):
				said[t] = true
				on = access.Selector{Kind: kind, Schema: o.Schema, Pattern: "%"}
			case kind == access.Routine:
				on.Name = o.Name + "(" + o.Args + ")"
			}
			e.grant(on, t)
		}
		for _, column := range slices.Sorted(maps.Keys(o.Columns)) {
			for _, t := range termsOf(o.Columns[column], o.Owner, 0) {
				e.grant(access.Selector{Kind: kind, Schema: o.Schema, Name: o.Name, Column: column}, t)
			}
		}
	}
}

// elsewhere reports whether the role belongs to another database, whose affair it is, or is a marker: here it has no name.
func (e *exporter) elsewhere(c scope.Cluster) bool {
	return strings.HasPrefix(string(c), scope.Reserved) || e.state.Scoped[c] && (e.cluster || !e.AsWritten && !e.own(c))
}

func (e *exporter) grant(on access.Selector, t terms) {
	if e.elsewhere(t.grantee) || e.Estate && on.Kind.Info().Cluster && !e.own(t.grantee) {
		return
	}
	e.desired.Grants = append(e.desired.Grants, access.Grant{
		Grantee: e.ref(t.grantee), On: on, Privileges: t.privileges, GrantOption: t.option, Absent: t.absent,
	})
}

func (e *exporter) defaults() {
	for _, d := range e.state.Defaults {
		everyone := access.Privileges(0)
		if d.Schema == "" {
			everyone = d.Kind.Info().Everyone
		}
		for _, t := range termsOf(d.ACL, d.Owner, everyone) {
			if e.elsewhere(t.grantee) || e.elsewhere(d.Owner) {
				continue
			}
			e.desired.Defaults = append(e.desired.Defaults, access.DefaultPrivilege{
				Owner: e.ref(d.Owner), Schema: d.Schema, Kind: d.Kind, Grantee: e.ref(t.grantee),
				Privileges: t.privileges, GrantOption: t.option, Absent: t.absent,
			})
		}
	}
}

// memberships exports the members of roles that the manifest owns, and in other roles those that it owns.
func (e *exporter) memberships() {
	type pair struct{ role, member scope.Cluster }
	var order []pair
	members := make(map[pair]*access.Member)
	granted := make(map[pair]bool) // beside what its creator has of a role
	for _, m := range e.state.Members {
		granted[pair{m.Role, m.Member}] = granted[pair{m.Role, m.Member}] || !m.Creator
	}
	for _, m := range e.state.Members {
		mine := e.owns(m.Role)
		if !granted[pair{m.Role, m.Member}] || reserved(m.Member) || !mine && !e.owns(m.Member) ||
			e.elsewhere(m.Role) || e.elsewhere(m.Member) {
			continue
		}
		at := pair{m.Role, m.Member}
		if members[at] == nil {
			members[at] = &access.Member{Ref: e.ref(m.Member)}
			order = append(order, at)
		}
		x := members[at]
		x.Admin = x.Admin || m.Admin
		x.Inherit = x.Inherit || m.Inherit || e.state.Version < 16
		x.Set = x.Set || m.Set
	}
	for i, at := range order {
		if i == 0 || order[i-1].role != at.role {
			e.desired.Memberships = append(e.desired.Memberships, access.Membership{Role: e.ref(at.role), Exclusive: e.owns(at.role)})
		}
		last := &e.desired.Memberships[len(e.desired.Memberships)-1]
		last.Members = append(last.Members, *members[at])
	}
}

// owns reports whether the manifest creates the role if need be.
func (e *exporter) owns(c scope.Cluster) bool {
	return e.own(c) || e.AsWritten && !reserved(c) && !e.elsewhere(c)
}

// starts finds the roles that sessions start with SET ROLE to.
func (e *exporter) starts() {
	for c := range e.state.Roles {
		for _, s := range e.state.role(c).Settings {
			if to := scope.Cluster(s.Value); e.owns(c) && isRole(s) && e.state.role(to) != nil && !e.elsewhere(to) {
				e.ref(to)
			}
		}
	}
}

func isRole(s access.Setting) bool { return strings.EqualFold(s.Name, "role") }

func (e *exporter) roles() {
	for _, c := range slices.Sorted(maps.Keys(e.seen)) {
		have := e.state.role(c)
		if have == nil {
			continue // a role that is gone, in a list that still has its number
		}
		r := access.Role{Ref: e.seen[c], Inherit: true, ConnectionLimit: -1}
		if r.External = !e.owns(c); !r.External {
			r.Login, r.Superuser, r.CreateDB, r.CreateRole = have.Login, have.Superuser, have.CreateDB, have.CreateRole
			r.Replication, r.BypassRLS, r.Inherit = have.Replication, have.BypassRLS, have.Inherit
			r.ConnectionLimit, r.Comment = have.ConnectionLimit, have.Comment
			r.Settings = slices.Clone(have.Settings)
			if !have.ValidUntil.IsZero() {
				r.ValidUntil = have.ValidUntil.Format(time.RFC3339)
			}
		}
		e.desired.Roles = append(e.desired.Roles, r)
	}
	for i := range e.desired.Roles {
		r := &e.desired.Roles[i]
		r.Settings = slices.DeleteFunc(r.Settings, func(s access.Setting) bool { return isRole(s) && !e.mayStart(r.Ref, s.Value) })
		for i, s := range r.Settings {
			if isRole(s) && s.Value != "none" {
				r.Settings[i].Value = e.refOf(scope.Cluster(s.Value)).String()
			}
		}
	}
}

// mayStart reports whether a session of the role could start with SET ROLE to another. What could not, no manifest says.
func (e *exporter) mayStart(role access.Ref, as string) bool {
	to := scope.Cluster(as)
	_, declared := e.seen[to]
	return as == "none" || (declared || scope.Predefined(to) && e.state.role(to) != nil) && e.desired.MayBecome(role, e.refOf(to))
}
