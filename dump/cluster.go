package dump

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
)

// cluster is what the catalogs have, by the server's names.
type cluster struct {
	database    string
	user        scope.Cluster
	roles       map[scope.Cluster]*role
	memberships []storedMembership
	settings    []storedSetting
	grants      []storedGrant
}

// Rows of the catalogs, as the queries below return them.
type (
	storedMembership struct {
		group, member scope.Cluster
		options       string
	}
	storedSetting struct {
		role        scope.Cluster
		here        bool // in the database alone
		name, value string
	}
	storedGrant struct {
		grantee    scope.Cluster // empty for PUBLIC
		kind, name string        // "tablespace" or "parameter", and which
		privileges string
		option     bool // WITH GRANT OPTION
	}
)

const (
	rolesSQL = `
SELECT r.rolname, concat_ws(' ',
    CASE WHEN r.rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
    CASE WHEN r.rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END, CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
    CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN r.rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
    CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END),
  r.rolconnlimit, r.rolvaliduntil, shobj_description(r.oid, 'pg_authid')
FROM pg_roles r`

	verifiersSQL = `SELECT rolname, rolpassword FROM pg_authid WHERE rolpassword IS NOT NULL`

	// A membership may be granted by many; what holds is the most that one of them gave.
	membershipsSQL = `
SELECT r.rolname, m.rolname, concat_ws(', ', CASE WHEN bool_or(a.admin_option) THEN 'ADMIN OPTION' END)
FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
GROUP BY r.rolname, m.rolname`
	memberships16SQL = `
SELECT r.rolname, m.rolname, concat_ws(', ', CASE WHEN bool_or(a.admin_option) THEN 'ADMIN TRUE' END,
    concat('INHERIT ', CASE WHEN bool_or(a.inherit_option) THEN 'TRUE' ELSE 'FALSE' END),
    CASE WHEN NOT bool_or(a.set_option) THEN 'SET FALSE' END)
FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
GROUP BY r.rolname, m.rolname`

	settingsSQL = `
SELECT r.rolname, s.setdatabase <> 0, split_part(c.setting, '=', 1), substr(c.setting, strpos(c.setting, '=') + 1)
FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) WITH ORDINALITY c (setting, i)
WHERE s.setdatabase = 0 OR s.setdatabase = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
ORDER BY 1, 2, c.i`

	labelsSQL = `
SELECT r.rolname, l.provider, l.label FROM pg_shseclabel l JOIN pg_roles r ON r.oid = l.objoid AND l.classoid = 'pg_authid'::regclass ORDER BY 1, 2`

	// As with memberships, several may have given the same. A grantee whose name is empty is PUBLIC.
	grantsSQL = `
SELECT coalesce(r.rolname, ''), x.kind, x.name, string_agg(x.privilege, ', ' ORDER BY x.privilege), x.option
FROM (SELECT o.kind, o.name, a.grantee, a.privilege_type AS privilege, bool_or(a.is_grantable) AS option
      FROM (%s) o, aclexplode(o.acl) a WHERE a.grantee <> o.owner GROUP BY 1, 2, 3, 4) x
  LEFT JOIN pg_roles r ON r.oid = x.grantee
WHERE x.grantee = 0 OR r.oid IS NOT NULL GROUP BY 1, 2, 3, 5 ORDER BY 2, 3, 1, 5`
	tablespacesSQL = `SELECT 'tablespace' AS kind, spcname::text AS name, spcowner AS owner, spcacl AS acl FROM pg_tablespace`
	parametersSQL  = tablespacesSQL + ` UNION ALL SELECT 'parameter', parname, 10, paracl FROM pg_parameter_acl`
)

func readCluster(ctx context.Context, conn *pgconn.PgConn, passwords bool) (*cluster, error) {
	var failed error // the first: the transaction is over then
	query := func(sql string) [][]string {
		if failed != nil {
			return nil
		}
		var rows [][]string
		rows, failed = provision.Query(ctx, conn, sql, nil)
		return rows
	}
	c := &cluster{roles: make(map[scope.Cluster]*role)}
	for _, r := range query("SELECT current_database(), session_user") {
		c.database, c.user = r[0], scope.Cluster(r[1])
	}
	for _, r := range query(rolesSQL) {
		c.roles[scope.Cluster(r[0])] = &role{attributes: strings.Fields(r[1]), limit: r[2], until: r[3], comment: r[4]}
	}
	if passwords {
		for _, r := range query(verifiersSQL) {
			if found := c.roles[scope.Cluster(r[0])]; found != nil {
				found.password = r[1]
			}
		}
	}
	for _, r := range query(labelsSQL) {
		if found := c.roles[scope.Cluster(r[0])]; found != nil {
			found.labels = append(found.labels, label{r[1], r[2]})
		}
	}
	members := membershipsSQL
	if provision.MajorVersion(conn) >= 16 {
		members = memberships16SQL
	}
	objects := tablespacesSQL
	if provision.MajorVersion(conn) >= 15 {
		objects = parametersSQL
	}
	for _, r := range query(members) {
		c.memberships = append(c.memberships, storedMembership{scope.Cluster(r[0]), scope.Cluster(r[1]), r[2]})
	}
	for _, r := range query(settingsSQL) {
		c.settings = append(c.settings, storedSetting{scope.Cluster(r[0]), r[1] == "t", r[2], r[3]})
	}
	for _, r := range query(fmt.Sprintf(grantsSQL, objects)) {
		c.grants = append(c.grants, storedGrant{scope.Cluster(r[0]), r[1], r[2], r[3], r[4] == "t"})
	}
	return c, failed
}
