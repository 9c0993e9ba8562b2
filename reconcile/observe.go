package reconcile

import (
	"cmp"
	"context"
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
// their schemas unless they are the server's own, whatever the session's is. Without JIT: queries of catalogs are
// estimated to be much longer than they are.
const snapshotSQL = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO ''; SET LOCAL jit TO off; SELECT pg_backend_pid()"

// beginSnapshot begins it, and notes whether the session's process is the one that the login told of: a pooler tells of
// none.
func beginSnapshot(ctx context.Context, conn *pgconn.PgConn) error {
	results, err := conn.Exec(ctx, snapshotSQL).ReadAll()
	if err != nil {
		return err
	}
	process := string(results[len(results)-1].Rows[0][0])
	preparedBy(conn).stays = process == strconv.FormatUint(uint64(conn.PID()), 10)
	return nil
}

// Observe reads the access in the connection's database from one snapshot. The connection must not be in a
// transaction.
func Observe(ctx context.Context, conn *pgconn.PgConn, extent Extent) (state *State, err error) {
	err = inSnapshot(ctx, conn, func() error {
		state, err = observe(ctx, conn, extent)
		return err
	})
	return state, err
}

func inSnapshot(ctx context.Context, conn *pgconn.PgConn, f func() error) error {
	if err := beginSnapshot(ctx, conn); err != nil {
		return err
	}
	return errors.Join(f(), rollBack(ctx, conn))
}

// rollBack ends a transaction. Of a connection that is closed there is nothing to be said beside why.
func rollBack(ctx context.Context, conn *pgconn.PgConn) error {
	if conn.IsClosed() {
		return nil
	}
	return run(context.WithoutCancel(ctx), conn, "ROLLBACK")
}

// observe is Observe within a transaction of the caller's, with the search_path empty.
func observe(ctx context.Context, conn *pgconn.PgConn, extent Extent) (*State, error) {
	o := newObserver(conn, extent, &State{
		Version: provision.MajorVersion(conn), Roles: make(map[scope.Cluster]*RoleState), Objects: make(map[access.Kind][]*Object),
		Sessions: make(map[scope.Cluster]int),
	})
	err := o.ask(ctx, o.server(), o.roles(), o.access())
	for _, step := range []func(context.Context) error{o.names, o.scoped, o.barred, o.passwords, o.uses} {
		if err == nil {
			err = step(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the catalogs: %w", err)
	}
	o.arrange()
	o.state.standings()
	return o.state, nil
}

// listed returns a state of the same snapshot that has each of the things of which this one has some that stand for
// others.
func (s *State) listed(ctx context.Context, conn *pgconn.PgConn, extent Extent) (*State, error) {
	state := *s
	state.Objects, state.Defaults = make(map[access.Kind][]*Object), nil
	o := newObserver(conn, extent, &state)
	if err := o.ask(ctx, o.access()); err != nil {
		return nil, fmt.Errorf("reading the catalogs: %w", err)
	}
	o.arrange()
	return &state, nil
}

// observer is an observation on its way.
type observer struct {
	conn      *pgconn.PgConn
	extent    Extent
	intern    interner
	acls      aclReader
	database  string
	oid       uint32
	verifiers bool // passwords may be read
	all       []scope.Known
	columns   []columnACL // until their relations are known
	view      *scope.View
	state     *State
}

func newObserver(conn *pgconn.PgConn, extent Extent, state *State) *observer {
	intern := make(interner)
	return &observer{conn: conn, extent: extent, intern: intern, acls: newACLReader(intern), state: state}
}

func (o *observer) server() question {
	const sql = `SELECT oid, datname, current_user, pg_current_snapshot(), pg_get_userbyid(10),
concat(has_database_privilege(oid, 'CREATE'), has_table_privilege('pg_authid', 'SELECT')), lower(current_setting('createrole_self_grant', true)),
coalesce(current_setting('scram_iterations', true), '0')
FROM pg_database WHERE datname = current_database()`
	return question{sql, nil, func(r row) error {
		is := flags(r.text(5))
		oid, err := strconv.ParseUint(r.text(0), 10, 32)
		o.oid, o.database, o.verifiers = uint32(oid), r.text(1), is[1]
		o.state.Snapshot, o.state.Bootstrap = r.text(3), o.intern.name(r[4])
		rounds, err2 := r.number(7)
		o.state.Rounds = cmp.Or(rounds, iterations)
		o.state.Executor = Executor{
			Name: o.intern.name(r[2]), Schemas: is[0],
			SelfInherit: strings.Contains(r.text(6), "inherit"), SelfSet: strings.Contains(r.text(6), "set"),
		}
		return errors.Join(err, err2)
	}}
}

// rolesSQL reads the roles of the cluster, each with its settings and with what it is a member of. Before PostgreSQL
// 16 SET is the privilege of every member, and memberships have no options.
const rolesSQL = `SELECT r.rolname, concat(rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit,
pg_has_role(r.oid, 'USAGE'), pg_has_role(r.oid, '{set}')), nullif(rolconnlimit, -1),
CASE WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil)::bigint WHEN rolvaliduntil = '-infinity' THEN 0 END,
description, rolconfig::text, setconfig::text, roles::text, grantors::text, options::text
FROM pg_roles r LEFT JOIN pg_shdescription ON objoid = r.oid AND classoid = 'pg_authid'::regclass
LEFT JOIN pg_db_role_setting ON setrole = r.oid AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
LEFT JOIN (SELECT member, array_agg(pg_get_userbyid(roleid)) AS roles, array_agg(pg_get_userbyid(grantor)) AS grantors,
array_agg(concat(admin_option{options})) AS options FROM pg_auth_members GROUP BY 1) a ON member = r.oid`

// memberOptions are inherit, set, and whether the server itself gave the membership.
const memberOptions = `, inherit_option, set_option, grantor = 10 AND admin_option AND NOT inherit_option AND NOT set_option`

func (o *observer) roles() question {
	set, options := "MEMBER", ""
	if o.state.Version >= 16 {
		set, options = "SET", memberOptions
	}
	return question{strings.NewReplacer("{set}", set, "{options}", options).Replace(rolesSQL), nil, o.role}
}

func (o *observer) role(r row) error {
	is := flags(r.text(1))
	role := &RoleState{
		Name: o.intern.name(r[0]), Login: is[0], Superuser: is[1], CreateDB: is[2], CreateRole: is[3], Replication: is[4], BypassRLS: is[5],
		Inherit: is[6], Acts: is[7], Set: is[8], ConnectionLimit: fresh.ConnectionLimit, Comment: r.text(4),
	}
	o.state.Roles[role.Name] = role
	if executor := &o.state.Executor; executor.Name == role.Name {
		executor.Superuser, executor.CreateRole = role.Superuser, role.CreateRole
		executor.SelfInherit, executor.SelfSet = executor.SelfInherit && !role.Superuser, executor.SelfSet && !role.Superuser
	}
	if r[2] != nil {
		limit, err := r.number(2)
		if err != nil {
			return err
		}
		role.ConnectionLimit = limit
	}
	if r[3] != nil {
		seconds, err := strconv.ParseInt(r.text(3), 10, 64)
		if err != nil {
			return err
		}
		role.ValidUntil = time.Unix(seconds, 0).UTC()
	}
	for column, here := range map[int]bool{5: false, 6: true} {
		list, err := r.list(column)
		if err != nil {
			return err
		}
		for _, s := range list {
			if name, value, _ := strings.Cut(s, "="); !here || !o.extent.Cluster {
				role.Settings = append(role.Settings, access.Setting{Name: name, Value: value, InDatabase: here})
			}
		}
	}
	slices.SortFunc(role.Settings, compareSettings)
	return o.memberships(role, r)
}

// memberships reads what a role is a member of.
func (o *observer) memberships(role *RoleState, r row) error {
	roles, err := r.list(7)
	grantors, err2 := r.list(8)
	options, err3 := r.list(9)
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	known := scope.Known{Name: role.Name, Comment: role.Comment}
	for i := range roles {
		is := flags(options[i])
		e := Edge{
			Role: o.intern.name([]byte(roles[i])), Member: role.Name, Grantor: o.intern.name([]byte(grantors[i])),
			Admin: is[0], Inherit: is[1], Set: is[2], Creator: is[3],
		}
		if o.state.Version < 16 {
			e.Inherit, e.Set = role.Inherit, true
		}
		o.state.Members = append(o.state.Members, e)
		known.In = append(known.In, e.Role)
	}
	o.all = append(o.all, known)
	return nil
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

// barredSQL reads which of the parameters $1 the executor may not set for roles: those that only a superuser sets, and
// those that no module has defined, which may be anything (validate_option_array_item, src/backend/utils/misc/guc.c).
const barredSQL = `SELECT lower(n) FROM unnest($1::text[]) n LEFT JOIN pg_settings s ON lower(s.name) = lower(n)
WHERE coalesce(s.context = 'superuser', n LIKE '%.%')`

// barred finds out what the executor may not set of the roles that were asked about.
func (o *observer) barred(ctx context.Context) error {
	names := slices.Clone(o.extent.Settings)
	for _, n := range o.state.Names {
		if r := o.state.role(n.Cluster); r != nil {
			for _, s := range r.Settings {
				names = append(names, s.Name)
			}
		}
	}
	if len(names) == 0 || o.state.Executor.Superuser {
		return nil
	}
	sql := barredSQL
	if o.state.Version >= 15 {
		sql += " AND NOT has_parameter_privilege(n, 'SET')"
	}
	slices.Sort(names)
	o.state.Barred = make(map[string]bool)
	return o.ask(ctx, question{sql, []string{scope.Array(slices.Compact(names)...)}, func(r row) error {
		o.state.Barred[r.text(0)] = true
		return nil
	}})
}

type relation struct{ schema, name string }

type columnACL struct {
	relation
	column string
	acl    ACL
}

// access reads what privileges are granted on, and default privileges.
func (o *observer) access() question {
	sql, params := accessQuery(o.extent, o.state.Version)
	return question{sql, params, func(r row) error {
		schema, owner := o.text(r[1]), o.intern.name(r[2])
		acl, err := o.acls.parse(r[3])
		names, err2 := r.list(4)
		args, err3 := r.list(5)
		others, err4 := r.number(6)
		if err := errors.Join(err, err2, err3, err4); err != nil {
			return err
		}
		kind, isKind := access.ParseKind(r.text(0))
		for i, name := range names {
			switch {
			case r.text(0) == columnRow:
				o.columns = append(o.columns, columnACL{relation{schema, name}, args[i], acl})
			case r.text(0) == defaultRow:
				if kind := access.KindOfDefault(name); kind != 0 {
					o.state.Defaults = append(o.state.Defaults, DefaultACL{Owner: owner, Schema: schema, Kind: kind, ACL: acl})
				}
			case isKind:
				object := &Object{Kind: kind, Schema: schema, Name: name, Owner: owner, ACL: acl, Others: others}
				if i < len(args) {
					object.Args = args[i]
				}
				o.state.Objects[kind] = append(o.state.Objects[kind], object)
			default:
				return fmt.Errorf("unknown kind %q", r[0])
			}
		}
		return nil
	}}
}

// arrange puts what was read in order, and columns to their relations.
func (o *observer) arrange() {
	relations := make(map[relation]*Object)
	for kind, list := range o.state.Objects {
		slices.SortFunc(list, compareObjects)
		for i, object := range list {
			if i > 0 && kind == access.Routine && list[i-1].Schema == object.Schema && list[i-1].Name == object.Name {
				list[i-1].Shared, object.Shared = true, true
			}
			if kind.Info().Columns != 0 {
				relations[relation{object.Schema, object.Name}] = object
			}
		}
	}
	for _, c := range o.columns {
		if object := relations[c.relation]; object != nil {
			if object.Columns == nil {
				object.Columns = make(map[string]ACL)
			}
			object.Columns[c.column] = c.acl
		}
	}
	slices.SortFunc(o.state.Defaults, func(a, b DefaultACL) int {
		return compareLayers(layer{a.Owner, a.Schema, a.Kind}, layer{b.Owner, b.Schema, b.Kind})
	})
	slices.SortFunc(o.state.Members, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Member, b.Member), cmp.Compare(a.Grantor, b.Grantor))
	})
}

func (o *observer) text(b []byte) string { return string(o.intern.name(b)) }

func compareObjects(a, b *Object) int {
	return cmp.Or(cmp.Compare(a.Schema, b.Schema), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Args, b.Args))
}
