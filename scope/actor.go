package scope

import (
	"fmt"
	"slices"
	"strings"
)

// Actor is what an [Inquiry] tells of the session that it is asked in.
type Actor struct {
	Attributes []string // of its current role, upper case: SUPERUSER, CREATEROLE …
	// Members are the roles that its user is a member of, by whatever way, as this database calls them. The user stays the
	// same through SET ROLE.
	Members []Short
}

// standingSQL asks what the current role is, and which of the roles in question, and which markers, it administers. ADMIN
// on the marker of a database is ADMIN on its roles, and on those of its schemas. Superusers have it on every role.
const standingSQL = `
UNION ALL
SELECT 'actor', r.rolname::pg_catalog.text, pg_catalog.concat_ws(' ',
         CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
         CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolinherit THEN 'INHERIT' END,
         CASE WHEN r.rolcanlogin THEN 'LOGIN' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
         CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END), NULL
FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT
UNION ALL
SELECT 'administered', r.rolname::pg_catalog.text, NULL, NULL
FROM (
  SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.name[])
  UNION ALL SELECT oid, rolname FROM marker
  UNION ALL SELECT oid, rolname FROM marked) r
WHERE pg_catalog.pg_has_role(CURRENT, r.oid, 'MEMBER WITH ADMIN OPTION')`

// membersSQL asks what the session's user is a member of, and not what a superuser counts as a member of. The planner
// cannot know how many roles that are, and would read all memberships: so those of one role are in subqueries, too.
const membersSQL = `
UNION ALL
SELECT 'member', pg_catalog.pg_get_userbyid(up.oid)::pg_catalog.text, m.rolname::pg_catalog.text, NULL
FROM (
  WITH RECURSIVE up(oid) AS (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) SESSION
    UNION
    SELECT pg_catalog.unnest(ARRAY(SELECT a.roleid FROM pg_catalog.pg_auth_members a WHERE a.member OPERATOR(pg_catalog.=) up.oid)) FROM up
  ) SELECT oid FROM up) up
LEFT JOIN LATERAL pg_catalog.unnest(ARRAY(
  SELECT m.rolname FROM pg_catalog.pg_auth_members a
  JOIN (SELECT oid, rolname FROM marker UNION ALL SELECT oid, rolname FROM marked) m ON m.oid OPERATOR(pg_catalog.=) a.roleid
  WHERE a.member OPERATOR(pg_catalog.=) up.oid)) m(rolname) ON true`

// actorSQL is what the inquiry asks about the session itself.
func (q Inquiry) actorSQL() (sql string, params []string) {
	if q.Standing {
		sql += standingSQL
	}
	if q.Members {
		sql += membersSQL
	}
	current, session := "current_user", "session_user"
	if q.As != "" && sql != "" {
		current, session = "$6::pg_catalog.name", "$6::pg_catalog.name"
		params = []string{string(q.As)}
	}
	return strings.NewReplacer("CURRENT", current, "SESSION", session).Replace(sql), params
}

// actor reads the rows about the session.
func (a *answer) actor() error {
	if !a.q.Standing && !a.q.Members {
		return nil
	}
	v := a.view
	v.Actor = &Actor{}
	if a.q.Standing {
		actors := a.rows["actor"]
		if len(actors) != 1 {
			return fmt.Errorf("scope: %d current roles", len(actors))
		}
		v.Actor.Attributes = strings.Fields(actors[0].a)
		v.administered = map[Cluster]bool{Cluster(actors[0].name): true} // itself
		for _, r := range a.rows["administered"] {
			v.administered[Cluster(r.name)] = true
		}
	}
	for _, r := range a.rows["member"] {
		c, marker := Cluster(r.name), Cluster(r.a)
		name := Short(c)
		s, ofSchema := a.marked[marker]
		switch {
		case markerRole(c):
			continue
		case ofSchema:
			if own, ok := ownRole(c, s.Prefix, s.Marker, s.Name); ok {
				name = own.name.Short()
			}
		case marker == v.DB.Marker && marker != "":
			if own, ok := ownRole(c, v.DB.Prefix, v.DB.Marker, ""); ok {
				name = own.name.Short()
			}
		}
		v.Actor.Members = append(v.Actor.Members, name)
	}
	return nil
}

// Administers reports whether the session's current role administers a role that it may name: it has ADMIN on it, or on the
// marker of its scope, or is that role. A missing role counts as the database's own, so that its administrators hear what
// the server says of it. For a global role that does not exist yet, everybody counts as administrator, and so for the first
// role of a database: who makes its marker administers it. Only an inquiry with Standing tells.
func (v *View) Administers(c Cluster, home Home) bool {
	r := v.roles[c]
	switch {
	case v.administered == nil:
		return false
	case v.administered[c], home == Global && r.home == Missing, home != Global && !v.DB.Enrolled, slices.Contains(v.Actor.Attributes, "SUPERUSER"):
		return true
	default:
		return home != Global && (v.administered[v.DB.Marker] || v.administered[r.in])
	}
}
