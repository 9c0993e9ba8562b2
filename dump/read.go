package dump

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Roles are those of a database, or the global ones of a cluster, as they are at one moment.
type Roles struct {
	// User is what the session that read them is called in the database: the name to log in with through a proxy.
	User scope.Short
	// Database is where they were read.
	Database string

	global      bool
	schemas     []string // that have roles of their own
	roles       []role
	memberships []membership
	grants      []grant
	remarks     []string // what cannot be written, and a person must know
}

// role is a role as statements have it.
type role struct {
	name       scope.Name
	global     bool     // of no database
	attributes []string // CREATE ROLE's words for all of its attributes
	limit      string   // of connections; -1 for none
	until      string   // when the password ends to be valid; empty for never
	password   string   // a verifier; empty for none, or where it was not asked for
	comment    string
	labels     []label
	settings   []setting
}

// label is what a module of the server's says of a role: SECURITY LABEL.
type label struct{ provider, text string }

type setting struct {
	here  bool // in the database alone
	name  string
	value string // as SQL says it
}

type membership struct {
	role, member string // as SQL says them
	options      string
	maker        scope.Cluster // the member, where it administers the role and is there before it: it may have made it
}

// grant is privileges on what belongs to no database: a parameter, which servers have privileges on from 15 on, or a
// tablespace, which a server may not have.
type grant struct {
	sql       string
	condition string // whether the server can take it
}

// Snapshot begins the transaction that [Database] and [Globals] read in, and returns its name for pg_dump --snapshot.
func Snapshot(ctx context.Context, conn *pgconn.PgConn) (string, error) {
	// Without JIT: queries of catalogs are estimated to be much longer than they are.
	_, err := conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = ''; SET LOCAL jit = off;
		SET LOCAL DateStyle = ISO; SET LOCAL TimeZone = 'UTC'; SET LOCAL client_encoding = 'UTF8'`).ReadAll()
	if err != nil {
		return "", err
	}
	rows, err := provision.Query(ctx, conn, "SELECT pg_export_snapshot()", nil)
	if err != nil {
		return "", err
	}
	return rows[0][0], nil
}

// Database reads the roles that belong to the database that the connection is in, after [Snapshot]. Their password
// verifiers are read only with passwords, which needs a superuser.
func Database(ctx context.Context, conn *pgconn.PgConn, passwords bool) (*Roles, error) {
	c, err := readCluster(ctx, conn, passwords)
	if err != nil {
		return nil, err
	}
	own, err := provision.Inquire(ctx, conn, scope.Inquiry{Database: c.database, Own: true}, "")
	if err != nil {
		return nil, err
	}
	s := newSelection(c)
	s.marker = own.DB.Marker
	for cluster := range own.Roles() {
		name, _ := own.Name(cluster)
		s.names[cluster] = name
		s.own[name] = true
	}
	others, err := provision.Inquire(ctx, conn, scope.Inquiry{Database: c.database, Names: s.others()}, "")
	if err != nil {
		return nil, err
	}
	s.called = func(cluster scope.Cluster) (string, bool) {
		if name, ok := s.names[cluster]; ok {
			return dbonly(name), true
		}
		if s.own[scope.Name{Role: scope.Short(cluster)}] { // the database's role has its name
			return "", false
		}
		_, home, err := others.ResolvePlain(scope.Short(cluster))
		return cluster.Ident(), err == nil && home == scope.Global
	}
	out := s.roles()
	out.User = scope.Short(c.user)
	if name, ok := s.names[c.user]; ok {
		out.User = name.Short()
	}
	return out, nil
}

// others are the roles beside its own that a scope has to do with.
func (s *selection) others() []scope.Cluster {
	found := make(map[scope.Cluster]bool)
	note := func(of, other scope.Cluster) {
		_, own := s.names[of]
		if _, too := s.names[other]; own && !too && len(other) <= scope.MaxName {
			found[other] = true
		}
	}
	for _, m := range s.memberships {
		note(m.group, m.member)
		note(m.member, m.group)
	}
	for _, x := range s.settings {
		if isRole(x.name) {
			note(x.role, scope.Cluster(x.value))
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// isRole tells the setting whose value is a role. (The other, session_authorization, cannot be stored.)
func isRole(setting string) bool { return strings.EqualFold(setting, "role") }

// Globals reads the roles of the cluster that belong to no database, after [Snapshot].
func Globals(ctx context.Context, conn *pgconn.PgConn, passwords bool) (*Roles, error) {
	c, err := readCluster(ctx, conn, passwords)
	if err != nil {
		return nil, err
	}
	scoped, err := provision.AllRoles(ctx, conn)
	if err != nil {
		return nil, err
	}
	s := newSelection(c)
	s.global = true
	for cluster := range c.roles {
		if !strings.HasPrefix(string(cluster), scope.Reserved) && !scope.Predefined(cluster) &&
			!slices.ContainsFunc(scoped, func(l scope.Listed) bool { return l.Cluster == cluster }) {
			s.names[cluster] = scope.Name{Role: scope.Short(cluster)}
		}
	}
	s.called = func(cluster scope.Cluster) (string, bool) {
		_, ok := s.names[cluster]
		return cluster.Ident(), ok || scope.Predefined(cluster)
	}
	return s.roles(), nil
}

// selection picks the roles of a scope out of the cluster's.
type selection struct {
	*cluster
	global bool
	marker scope.Cluster
	names  map[scope.Cluster]scope.Name
	own    map[scope.Name]bool
	// called returns what SQL calls a role that one of the scope has to do with; false where it has no name in the scope.
	called func(scope.Cluster) (string, bool)
}

func newSelection(c *cluster) *selection {
	return &selection{cluster: c, names: make(map[scope.Cluster]scope.Name), own: make(map[scope.Name]bool)}
}

// roles returns all that there is to say of them, in an order that does not depend on the cluster.
func (s *selection) roles() *Roles {
	out := &Roles{global: s.global, Database: s.database}
	clusters := slices.SortedFunc(maps.Keys(s.names), func(a, b scope.Cluster) int {
		x, y := s.names[a], s.names[b]
		return cmp.Or(cmp.Compare(x.Schema, y.Schema), cmp.Compare(x.Role, y.Role))
	})
	for _, c := range clusters {
		name, r := s.names[c], *s.cluster.roles[c]
		r.name, r.global = name, s.global
		if !s.global && strings.HasPrefix(r.password, "md5") {
			r.password = ""
			out.remark("Role %s has an md5 password, which holds for its old name on the server only: set another one.", name.Ident())
		}
		for _, x := range s.settings {
			if x.role != c || s.global && x.here {
				continue // pg_dump --create writes those of global roles in a database
			}
			value, ok := s.value(x.name, x.value)
			if !ok {
				out.remark("Role %s: the value of %s is a role that has no name here.", name.Ident(), x.name)
				continue
			}
			r.settings = append(r.settings, setting{x.here, x.name, value})
		}
		if name.Schema != "" && !slices.Contains(out.schemas, name.Schema) {
			out.schemas = append(out.schemas, name.Schema)
		}
		out.roles = append(out.roles, r)
	}
	s.join(out)
	s.grant(out)
	return out
}

// grant adds what roles of the scope may do with what belongs to no database; of the cluster, what PUBLIC may, too.
func (s *selection) grant(out *Roles) {
	for _, g := range s.grants {
		to, here := "PUBLIC", s.global
		if g.grantee != "" {
			if _, here = s.names[g.grantee]; here {
				to, here = s.called(g.grantee)
			}
		}
		if !here {
			continue
		}
		on, condition := "TABLESPACE "+scope.QuoteIdent(g.name), "EXISTS (SELECT FROM pg_catalog.pg_tablespace WHERE spcname = "+literal(g.name)+")"
		if g.kind == "parameter" {
			on, condition = "PARAMETER "+scope.SettingIdent(g.name), "pg_catalog.current_setting('server_version_num')::int >= 150000"
		}
		sql := "GRANT " + g.privileges + " ON " + on + " TO " + to
		if g.option {
			sql += " WITH GRANT OPTION"
		}
		out.grants = append(out.grants, grant{sql, condition})
	}
	slices.SortFunc(out.grants, func(a, b grant) int { return cmp.Compare(a.sql, b.sql) })
}

// join adds the memberships of the scope.
func (s *selection) join(out *Roles) {
	for _, m := range s.memberships {
		switch admin := strings.HasPrefix(m.options, "ADMIN "); {
		case m.group != s.marker || !s.stranger(m.member):
		case admin:
			out.remark("%s administers the roles of the database: pgscope-proxy init --admin makes it so.", m.member.Ident())
		default:
			out.remark("%s is a member of the marker, but is no role of the database, nor does it administer them.", m.member.Ident())
		}
		if !s.concerns(m.group, m.member) {
			continue
		}
		group, known := s.called(m.group)
		member, knownToo := s.called(m.member)
		if !known || !knownToo {
			out.remark("The membership of %s in %s cannot be written: one of them has no name here.", m.member.Ident(), m.group.Ident())
			continue
		}
		x := membership{role: group, member: member, options: m.options}
		if _, here := s.names[m.member]; strings.HasPrefix(m.options, "ADMIN ") && !here {
			x.maker = m.member
		}
		out.memberships = append(out.memberships, x)
	}
	slices.SortFunc(out.memberships, func(a, b membership) int {
		return cmp.Or(cmp.Compare(a.role, b.role), cmp.Compare(a.member, b.member))
	})
}

// stranger reports whether a role is neither of the scope nor a marker.
func (s *selection) stranger(c scope.Cluster) bool {
	_, here := s.names[c]
	return !here && !strings.HasPrefix(string(c), scope.Reserved)
}

// concerns reports whether a membership is for the scope to write: of a database, those in which a role of it is one side;
// of the cluster, those that no database has.
func (s *selection) concerns(group, member scope.Cluster) bool {
	_, groupHere := s.names[group]
	_, memberHere := s.names[member]
	switch {
	case strings.HasPrefix(string(group), scope.Reserved):
		return false
	case s.global:
		return memberHere && (groupHere || scope.Predefined(group))
	default:
		return groupHere || memberHere
	}
}

// value returns a setting's value as SQL says it.
func (s *selection) value(name, stored string) (string, bool) {
	if isRole(name) && stored != "none" {
		return s.called(scope.Cluster(stored))
	}
	return scope.SettingConstants(name, stored), true
}

// dbonly is what SQL calls a role of a database, in any mode.
func dbonly(n scope.Name) string {
	if n.Schema != "" {
		return n.Ident()
	}
	return "DBONLY " + n.Ident()
}

func (r *Roles) remark(format string, args ...any) {
	r.remarks = append(r.remarks, scope.OneLine(fmt.Sprintf(format, args...)))
}

// Remarks are what cannot be written into the file, and a person must see to.
func (r *Roles) Remarks() []string { return r.remarks }
