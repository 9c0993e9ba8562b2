package reconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
)

// snapshotSQL begins the transaction that an observation is made in. With an empty search_path, types are shown with
// their schemas unless they are the server's own, whatever the session's is.
const snapshotSQL = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO ''"

// Observe reads the access in the connection's database from one snapshot. The connection must not be in a transaction.
func Observe(ctx context.Context, conn *pgconn.PgConn, extent Extent) (_ *State, err error) {
	if err := run(ctx, conn, snapshotSQL); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, run(context.WithoutCancel(ctx), conn, "ROLLBACK")) }()
	return observe(ctx, conn, extent)
}

// observe is Observe within a transaction of the caller's, with the search_path empty.
func observe(ctx context.Context, conn *pgconn.PgConn, extent Extent) (*State, error) {
	intern := make(interner)
	o := &observer{
		conn: conn, extent: extent, intern: intern, acls: newACLReader(intern),
		state: &State{
			Roles: make(map[scope.Cluster]*RoleState), Objects: make(map[access.Kind][]*Object),
			Sessions: make(map[scope.Cluster]int),
		},
	}
	for _, step := range []func(context.Context) error{
		o.server, o.roles, o.settings, o.members, o.names, o.scoped, o.objects, o.columns, o.defaults, o.passwords, o.uses,
	} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("reading the catalogs: %w", err)
		}
	}
	return o.state, nil
}

// observer is an observation on its way.
type observer struct {
	conn     *pgconn.PgConn
	extent   Extent
	intern   interner
	acls     aclReader
	database string
	view     *scope.View
	state    *State
}

// row is a row of text columns, valid until the next one.
type row [][]byte

func (r row) text(i int) string         { return string(r[i]) }
func (r row) flag(i int) bool           { return len(r[i]) == 1 && r[i][0] == 't' }
func (r row) number(i int) (int, error) { return strconv.Atoi(string(r[i])) }

// each runs a query and gives each row of it to take. An array of strings goes as JSON.
func (o *observer) each(ctx context.Context, sql string, take func(row) error, params ...any) error {
	values := make([][]byte, len(params))
	for i, p := range params {
		text, err := json.Marshal(p)
		if err != nil {
			return err
		}
		values[i] = text
	}
	result := o.conn.ExecParams(ctx, sql, values, nil, nil, nil)
	for result.NextRow() {
		if err := take(result.Values()); err != nil {
			_, closeErr := result.Close()
			return errors.Join(err, closeErr)
		}
	}
	_, err := result.Close()
	return err
}

func (o *observer) server(ctx context.Context) error {
	const sql = `SELECT current_setting('server_version_num'), current_database(), r.rolname, r.rolsuper, r.rolcreaterole, pg_current_snapshot(),
  pg_get_userbyid(10), has_database_privilege(current_database(), 'CREATE'), current_setting('createrole_self_grant', true)
FROM pg_roles r WHERE r.rolname = current_user`
	return o.each(ctx, sql, func(r row) error {
		version, err := r.number(0)
		o.state.Version = version / 10000
		o.database, o.state.Snapshot = r.text(1), r.text(5)
		o.state.Executor = Executor{Name: o.intern.name(r[2]), Superuser: r.flag(3), CreateRole: r.flag(4), Schemas: r.flag(7)}
		if self := strings.ToLower(r.text(8)); !r.flag(3) {
			o.state.Executor.SelfInherit, o.state.Executor.SelfSet = strings.Contains(self, "inherit"), strings.Contains(self, "set")
		}
		o.state.Bootstrap = o.intern.name(r[6])
		return err
	})
}

func (o *observer) roles(ctx context.Context) error {
	set := "SET"
	if o.state.Version < 16 {
		set = "MEMBER"
	}
	sql := `SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolreplication, r.rolbypassrls,
  r.rolinherit, r.rolconnlimit, CASE WHEN isfinite(r.rolvaliduntil) THEN extract(epoch FROM r.rolvaliduntil)::bigint WHEN r.rolvaliduntil = '-infinity' THEN 0 END,
  d.description, pg_has_role(r.oid, 'USAGE'), pg_has_role(r.oid, '` + set + `')
FROM pg_roles r LEFT JOIN pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass`
	return o.each(ctx, sql, func(r row) error {
		limit, err := r.number(8)
		if err != nil {
			return err
		}
		role := &RoleState{
			Name: o.intern.name(r[0]), Login: r.flag(1), Superuser: r.flag(2), CreateDB: r.flag(3), CreateRole: r.flag(4),
			Replication: r.flag(5), BypassRLS: r.flag(6), Inherit: r.flag(7), ConnectionLimit: limit,
			Comment: r.text(10), Acts: r.flag(11), Set: r.flag(12),
		}
		if r[9] != nil {
			seconds, err := strconv.ParseInt(r.text(9), 10, 64)
			if err != nil {
				return err
			}
			role.ValidUntil = time.Unix(seconds, 0).UTC()
		}
		o.state.Roles[role.Name] = role
		return nil
	})
}

func (o *observer) settings(ctx context.Context) error {
	const sql = `SELECT r.rolname, s.setdatabase <> 0, c.setting
FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS c(setting)
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY 1, 2, 3`
	return o.each(ctx, sql, func(r row) error {
		if role := o.state.Roles[o.intern.name(r[0])]; role != nil && (!o.extent.Cluster || !r.flag(1)) {
			name, value, _ := strings.Cut(r.text(2), "=")
			role.Settings = append(role.Settings, access.Setting{Name: name, Value: value, InDatabase: r.flag(1)})
		}
		return nil
	})
}

func (o *observer) members(ctx context.Context) error {
	options := `a.inherit_option, a.set_option, a.grantor = 10 AND a.admin_option AND NOT a.inherit_option AND NOT a.set_option`
	if o.state.Version < 16 {
		options = `m.rolinherit, true, false`
	}
	sql := `SELECT g.rolname, m.rolname, coalesce(b.rolname, ''), a.admin_option, ` + options + `
FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member LEFT JOIN pg_roles b ON b.oid = a.grantor
ORDER BY g.rolname, m.rolname, b.rolname`
	return o.each(ctx, sql, func(r row) error {
		o.state.Members = append(o.state.Members, Edge{
			Role: o.intern.name(r[0]), Member: o.intern.name(r[1]), Grantor: o.intern.name(r[2]),
			Admin: r.flag(3), Inherit: r.flag(4), Set: r.flag(5), Creator: r.flag(6),
		})
		return nil
	})
}

// scoped reads which roles belong to databases.
func (o *observer) scoped(ctx context.Context) error {
	if !o.extent.Cluster && !o.extent.All {
		return nil
	}
	list, err := provision.AllRoles(ctx, o.conn)
	o.state.Scoped = make(map[scope.Cluster]bool, len(list))
	for _, r := range list {
		o.state.Scoped[r.Cluster] = true
	}
	return err
}

// objects reads what privileges are granted on: one query for all catalogs that are wanted. Rows are (kind, schema, name,
// arguments, owner, ACL), the kind by its name in manifests.
func (o *observer) objects(ctx context.Context) error {
	var wanted []string
	for _, c := range catalogs {
		if c.since <= o.state.Version && o.wants(c) {
			wanted = append(wanted, c.sql)
		}
	}
	err := o.each(ctx, strings.Join(wanted, "\nUNION ALL"), func(r row) error {
		kind, ok := access.ParseKind(r.text(0))
		if !ok {
			return fmt.Errorf("unknown kind %q", r[0])
		}
		object := &Object{Kind: kind, Schema: o.text(r[1]), Name: r.text(2), Args: r.text(3), Owner: o.intern.name(r[4])}
		o.state.Objects[kind] = append(o.state.Objects[kind], object)
		return o.acls.read(r[5], &object.ACL)
	}, o.extent.schemas()...)
	if err == nil {
		err = o.acls.complete()
	}
	if err != nil {
		return err
	}
	for _, list := range o.state.Objects {
		slices.SortFunc(list, compareObjects)
	}
	return nil
}

func (o *observer) text(b []byte) string { return string(o.intern.name(b)) }

func (o *observer) wants(c catalog) bool {
	return c.always || o.extent.All || slices.ContainsFunc(c.kinds, func(k access.Kind) bool {
		return o.extent.Kinds[k] || k.Info().InSchema && len(o.extent.Schemas) > 0
	})
}

// schemas are the parameters of a catalog's query: the schemas to read, and whether to read all.
func (e Extent) schemas() []any { return []any{append([]string{}, e.Schemas...), e.All} }

func compareObjects(a, b *Object) int {
	return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Args, b.Args))
}

// columns reads the columns that have privileges of their own, and those that were asked about.
func (o *observer) columns(ctx context.Context) error {
	if !o.extent.All && len(o.extent.Schemas) == 0 {
		return nil
	}
	type key struct{ schema, name string }
	relations := make(map[key]*Object)
	for kind, list := range o.state.Objects {
		if kind.Info().Columns != 0 {
			for _, r := range list {
				relations[key{r.Schema, r.Name}] = r
			}
		}
	}
	asked := append([][2]string{}, o.extent.Columns...)
	return o.each(ctx, columnsSQL, func(r row) error {
		object := relations[key{r.text(0), r.text(1)}]
		if object == nil {
			return nil
		}
		acl, err := o.acls.parse(r[3])
		if object.Columns == nil {
			object.Columns = make(map[string]ACL)
		}
		object.Columns[r.text(2)] = acl
		return err
	}, append(o.extent.schemas(), asked)...)
}

func (o *observer) defaults(ctx context.Context) error {
	const sql = `SELECT pg_get_userbyid(d.defaclrole), coalesce(n.nspname, ''), d.defaclobjtype, d.defaclacl::text
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace ORDER BY 1, 2, 3`
	return o.each(ctx, sql, func(r row) error {
		for _, kind := range access.Kinds() {
			if letter := kind.Info().Default; letter == 0 || r.text(2) != string(letter) {
				continue
			}
			acl, err := o.acls.parse(r[3])
			if err != nil {
				return err
			}
			o.state.Defaults = append(o.state.Defaults, DefaultACL{Owner: o.intern.name(r[0]), Schema: r.text(1), Kind: kind, ACL: acl})
		}
		return nil
	})
}

// uses reads what keeps the roles from being dropped that shall be retired.
func (o *observer) uses(ctx context.Context) error {
	var retired []scope.Cluster
	for _, ref := range o.extent.Retired {
		if n := o.state.Names[ref]; n.Is == Present {
			retired = append(retired, n.Cluster)
		}
	}
	if len(retired) == 0 {
		return nil
	}
	// REASSIGN OWNED passes over what is personal (shdepReassignOwned, src/backend/catalog/pg_shdepend.c).
	const uses = `SELECT r.rolname, coalesce(d.datname, ''), count(*) FILTER (WHERE u.deptype = 'o'), count(*) FILTER (WHERE u.deptype <> 'o'),
  count(*) FILTER (WHERE u.deptype = 'o' AND u.classid IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)),
  NOT bool_and(coalesce(d.datallowconn AND has_database_privilege(d.oid, 'CONNECT'), true))
FROM pg_shdepend u JOIN pg_roles r ON r.oid = u.refobjid AND u.refclassid = 'pg_authid'::regclass LEFT JOIN pg_database d ON d.oid = u.dbid
WHERE r.rolname IN (SELECT jsonb_array_elements_text($1::jsonb)) GROUP BY 1, 2 ORDER BY 1, 2`
	err := o.each(ctx, uses, func(r row) error {
		owned, err := r.number(2)
		granted, err2 := r.number(3)
		personal, err3 := r.number(4)
		o.state.Uses = append(o.state.Uses, Use{
			Role: o.intern.name(r[0]), Database: r.text(1), Owned: owned, Granted: granted, Personal: personal, Shut: r.flag(5),
		})
		return errors.Join(err, err2, err3)
	}, retired)
	if err != nil {
		return err
	}
	const sessions = `SELECT usename, count(*) FROM pg_stat_activity
WHERE usename IN (SELECT jsonb_array_elements_text($1::jsonb)) AND pid <> pg_backend_pid() GROUP BY 1`
	return o.each(ctx, sessions, func(r row) error {
		n, err := r.number(1)
		o.state.Sessions[o.intern.name(r[0])] = n
		return err
	}, retired)
}

// run runs statements that return nothing.
func run(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := conn.Exec(ctx, sql).ReadAll()
	return err
}
