package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Hardening is what closes the way to a database that does not lead through its own roles.
type Hardening struct {
	Database scope.Database
	// SQL are the statements for the server, in order. They may be run again.
	SQL []string
	// Administrators are the roles that administer the database's roles: members of its marker with the
	// admin option that are none of them.
	Administrators []scope.Cluster
	// Guests are the global roles with LOGIN that are members of the database's roles.
	Guests []scope.Cluster
	// Warnings tell of other members of the marker that are none of them: like them they cannot
	// connect to other databases any more.
	Warnings []string
	// Shut are the global roles with LOGIN that could connect to the database, and cannot after SQL.
	Shut []scope.Cluster
}

// hardenSQL lists the members of the marker, and the global roles that may log in: kind, name, whether CONNECT of the
// marker's is theirs (or all of the database), whether they are members of the marker by whatever way. Of members the kind
// tells whether they administer it.
//
// From 16 on, whether a member inherits stands in the membership, before that in the member (roles_is_member_of, acl.c);
// of roles that CREATE ROLE … IN ROLE makes, the one is taken from the other.
const hardenSQL = `
WITH members AS (SELECT member, roleid, pg_catalog.bool_or(admin_option) AS admin FROM pg_catalog.pg_auth_members GROUP BY member, roleid)
SELECT CASE WHEN a.admin THEN 'administrator' WHEN a.member IS NOT NULL THEN 'member' ELSE 'global' END, r.rolname::pg_catalog.text,
       (pg_catalog.pg_has_role(r.oid, m.oid, 'USAGE') OR a.member IS NULL AND r.oid = d.datdba)::pg_catalog.text,
       pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER')::pg_catalog.text
FROM pg_catalog.pg_roles m CROSS JOIN pg_catalog.pg_roles r
JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
LEFT JOIN members a ON a.roleid = m.oid AND a.member = r.oid
WHERE m.rolname = $1::pg_catalog.name AND r.oid <> m.oid
  AND (a.member IS NOT NULL OR r.rolcanlogin AND NOT r.rolsuper
       AND NOT EXISTS (SELECT FROM members o JOIN pg_catalog.pg_roles p ON p.oid = o.roleid
                       WHERE o.member = r.oid AND NOT o.admin AND pg_catalog.starts_with(p.rolname::pg_catalog.text, 'pgscope_')))
ORDER BY 2`

// Harden tells what closes the direct way into the database that the connection is in. It changes nothing.
func Harden(ctx context.Context, conn *pgconn.PgConn) (*Hardening, error) {
	db, err := database(ctx, conn, "")
	if err != nil {
		return nil, err
	}
	if !db.Enrolled {
		return nil, fmt.Errorf("database %q is not enrolled: pgscope-proxy init", db.Name)
	}
	rows, err := Query(ctx, conn, hardenSQL, []string{string(db.Marker)})
	if err != nil {
		return nil, err
	}
	h := &Hardening{Database: db}
	if h.Warnings, err = Mistaken(ctx, conn, db); err != nil {
		return nil, err
	}
	name := scope.QuoteIdent(db.Name)
	grant := []string{db.Marker.Ident()}
	for _, r := range rows {
		c := scope.Cluster(r[1])
		_, own := db.Localize(c)
		switch {
		case r[0] == "global":
			if r[2] != "true" {
				h.Shut = append(h.Shut, c)
			}
			if r[3] == "true" {
				h.Guests = append(h.Guests, c)
			}
		case strings.HasPrefix(r[1], scope.Reserved): // the marker of a schema
		case !own && r[0] == "administrator":
			h.Administrators = append(h.Administrators, c)
			grant = append(grant, c.Ident())
		case own && r[2] != "true": // NOINHERIT
			grant = append(grant, c.Ident())
		}
	}
	h.SQL = []string{
		fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", name, strings.Join(grant, ", ")), // first: nobody is shut out in between
		fmt.Sprintf("REVOKE CONNECT ON DATABASE %s FROM PUBLIC", name),
	}
	return h, nil
}

// openSQL tells by whom everyone has been given CONNECT on the database.
const openSQL = `
SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantor)::pg_catalog.text), pg_catalog.quote_ident(current_user::pg_catalog.text)
FROM pg_catalog.pg_database d, pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
WHERE d.datname = pg_catalog.current_database() AND a.grantee = 0 AND a.privilege_type = 'CONNECT'`

// Apply runs the statements, all or none. Of what the role that runs them may not do the server only
// warns: so it is asked what came of them.
func (h *Hardening) Apply(ctx context.Context, conn *pgconn.PgConn) error {
	if err := run(ctx, conn, "BEGIN; "+strings.Join(h.SQL, "; ")); err != nil {
		return err
	}
	rows, err := Query(ctx, conn, openSQL, nil)
	if err == nil && len(rows) > 0 {
		err = fmt.Errorf("nothing was changed: everyone has CONNECT on database %q from role %s, and role %s may not take that away", h.Database.Name, rows[0][0], rows[0][1])
	}
	if err != nil {
		return errors.Join(err, run(ctx, conn, "ROLLBACK"))
	}
	return run(ctx, conn, "COMMIT")
}

// HBA returns lines for the beginning of pg_hba.conf, without which the roles of the database may try other ones. "+"
// means the members of a role, by whatever way and whether they inherit or not. So those that belong to no database,
// administrators and guests, stand before: what they may connect to, the databases themselves say.
func (h *Hardening) HBA() []string {
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	var list []string
	line := func(database, user, method string) {
		list = append(list,
			fmt.Sprintf("%-8s%-20s %-28s %-10s%s", "host", database, user, "all", method),
			fmt.Sprintf("%-8s%-20s %-28s %-10s%s", "local", database, user, "", method))
	}
	for _, c := range slices.Sorted(slices.Values(slices.Concat(h.Administrators, h.Guests))) {
		line("all", quote(string(c)), "scram-sha-256")
	}
	members := "+" + quote(string(h.Database.Marker)) // with the + in the quotes it would be a part of the name
	line(quote(h.Database.Name), members, "scram-sha-256")
	line("all", members, "reject")
	return list
}
