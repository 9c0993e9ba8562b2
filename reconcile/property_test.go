package reconcile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/provision"
)

// Whatever is desired, and whatever was there before: after a run nothing is left to be done. And what a run did, its undo
// takes back.
func TestAnyDesireIsMet(t *testing.T) {
	b := newBench(t, "rec_any")
	b.sql(someObjects)
	conn, err := b.connect("postgres")(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	rapid.Check(t, func(rt *rapid.T) {
		o := b.options(desires(rt, b.major() >= 16))
		before := b.everything(conn)
		o.Undo = true
		done, err := Run(b.Context(), o)
		if err != nil {
			rt.Fatalf("%v\n%+v", err, o.Desired)
		}
		o.DryRun = true
		if r, err := Run(b.Context(), o); err != nil || len(r.Plan.Changes) > 0 {
			rt.Fatalf("%v\n%v", err, r.Plan.Changes)
		}
		after := b.everything(conn)
		b.undo("postgres", done)
		if d := cmp.Diff(before, b.everything(conn)); d != "" {
			rt.Fatalf("undone:\n%s\n%v\n%s", d, done.Plan.Changes, strings.Join(done.Undo, ";\n"))
		}
		o.DryRun, o.Undo = false, false
		if _, err := Run(b.Context(), o); err != nil {
			rt.Fatal(err)
		}
		if d := cmp.Diff(after, b.everything(conn)); d != "" {
			rt.Fatalf("done again:\n%s", d)
		}
	})
}

// someObjects are those that privileges are drawn on.
const someObjects = `CREATE SCHEMA s0; CREATE SCHEMA s1;
CREATE TABLE s0.t0 (a int, b int); CREATE TABLE s0.t1 (a int, b int); CREATE TABLE s1.t0 (a int, b int);
CREATE VIEW s0.v AS SELECT 1 AS a; CREATE SEQUENCE s1.q;
CREATE FUNCTION s0.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE s0.f(text, numeric) LANGUAGE sql AS 'SELECT 1';
CREATE TYPE s1.mood AS ENUM ('ok'); CREATE TYPE s1.pair AS (a int, b int); CREATE DOMAIN s1.d AS int; CREATE DOMAIN s1.e AS text`

// everythingSQL is the access that the tests are about, one right in a line.
const everythingSQL = `WITH acl(what, owner, acl) AS (
  SELECT 'relation ' || oid::regclass, relowner, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) FROM pg_class WHERE relnamespace IN ('s0'::regnamespace, 's1'::regnamespace)
  UNION ALL SELECT 'column ' || attrelid::regclass || '.' || attname, relowner, attacl FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relnamespace IN ('s0'::regnamespace, 's1'::regnamespace)
  UNION ALL SELECT 'routine ' || oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc WHERE pronamespace = 's0'::regnamespace
  UNION ALL SELECT 'type ' || oid::regtype, typowner, coalesce(typacl, acldefault('T', typowner)) FROM pg_type WHERE typname IN ('mood', 'pair', 'd', 'e')
  UNION ALL SELECT 'schema ' || nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname IN ('s0', 's1')
  UNION ALL SELECT 'database', datdba, coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = current_database()
  UNION ALL SELECT 'language ' || lanname, lanowner, coalesce(lanacl, acldefault('l', lanowner)) FROM pg_language WHERE lanname = 'plpgsql'
  UNION ALL SELECT 'default ' || defaclrole::regrole || defaclnamespace || defaclobjtype::text, defaclrole, defaclacl FROM pg_default_acl
)
SELECT what || ' of ' || owner::regrole, x.grantor::regrole || ' gives ' || x.grantee::regrole || ' ' || x.privilege_type || (x.is_grantable AND x.grantee <> owner) FROM acl, aclexplode(acl) x
UNION ALL SELECT 'member', (to_jsonb(m) - 'oid' || jsonb_build_object('roleid', roleid::regrole, 'member', member::regrole))::text FROM pg_auth_members m WHERE starts_with(member::regrole::text, 'rec_any')
UNION ALL SELECT 'role', (to_jsonb(r) - 'oid' - 'rolconfig' - 'rolvaliduntil' || jsonb_build_object('until', coalesce(rolvaliduntil, 'infinity'), 'comment', shobj_description(oid, 'pg_authid')))::text FROM pg_roles r WHERE starts_with(rolname, 'rec_any')
UNION ALL SELECT 'setting', setdatabase || setrole::regrole::text || s FROM pg_db_role_setting, unnest(setconfig) s
ORDER BY 1, 2`

func (b *bench) everything(conn *pgconn.PgConn) [][]string {
	b.Helper()
	rows, err := provision.Query(b.Context(), conn, everythingSQL, nil)
	if err != nil {
		b.Fatal(err)
	}
	return rows
}

var roleNames = []string{"r0", "r1", "r2", "r3"}

// desires draws what is desired; options: of memberships too.
func desires(rt *rapid.T, options bool) *access.Desired {
	chance := func(label string) bool { return rapid.Bool().Draw(rt, label) }
	ref := func() access.Ref { return own(rapid.SampledFrom(roleNames).Draw(rt, "role")) }
	some := func(all access.Privileges) access.Privileges {
		p := all &^ access.Maintain & access.Privileges(rapid.Uint16().Draw(rt, "privileges"))
		if p == 0 {
			p = all & -all
		}
		return p
	}
	d := &access.Desired{}
	for _, name := range roleNames {
		r := role(name)
		r.Login, r.CreateDB, r.Inherit = chance("login"), chance("createdb"), chance("inherit")
		r.ConnectionLimit = rapid.IntRange(-1, 3).Draw(rt, "limit")
		r.Comment = rapid.SampledFrom([]string{"", `a '\ comment`}).Draw(rt, "comment")
		r.ValidUntil = rapid.SampledFrom([]string{"", "2099-01-31T12:00:00Z"}).Draw(rt, "until")
		r.PreserveGrants = rapid.IntRange(0, 9).Draw(rt, "preserve") == 0
		for _, s := range []access.Setting{
			{Name: "search_path", Value: `"$user", s0, "odd, 'name"`},
			{Name: "my.setting", Value: `a\b'c`},
			{Name: "work_mem", Value: "1MB", InDatabase: true},
		} {
			if chance("setting") {
				r.Settings = append(r.Settings, s)
			}
		}
		d.Roles = append(d.Roles, r)
	}
	for _, s := range []string{"s0", "s1"} {
		spec := access.SchemaSpec{Name: s}
		if chance("owned") {
			spec.Owner = ref()
		}
		d.Schemas = append(d.Schemas, spec)
	}
	type key struct {
		on access.Selector
		to access.Ref
	}
	seen := make(map[key]bool)
	targets := []access.Selector{
		{Kind: access.Table, Schema: "s0", Pattern: "%"},
		{Kind: access.Table, Schema: "s0", Name: "t0"},
		{Kind: access.Table, Schema: "s1", Name: "t0"},
		{Kind: access.Table, Schema: "s0", Pattern: `t\_%`},
		{Kind: access.Table, Schema: "s0", Name: "t1", Column: "a"},
		{Kind: access.Table, Schema: "s0", Name: "t1", Column: "b"},
		{Kind: access.View, Schema: "s0", Name: "v"},
		{Kind: access.Sequence, Schema: "s1", Pattern: "%"},
		{Kind: access.Routine, Schema: "s0", Name: "f(int4)"},
		{Kind: access.Routine, Schema: "s0", Pattern: "%"},
		{Kind: access.Type, Schema: "s1", Name: "mood"},
		{Kind: access.Type, Schema: "s1", Pattern: "%"},
		{Kind: access.Domain, Schema: "s1", Name: "d"},
		{Kind: access.Domain, Schema: "s1", Pattern: "%"},
		{Kind: access.Schema, Name: "s0"},
		{Kind: access.Schema, Name: "s1"},
		{Kind: access.Database, Name: "rec_any"},
		{Kind: access.Language, Name: "plpgsql"},
	}
	// What is present by one rule and absent by another, also by one for all objects and one for a single one, manifests
	// refuse. So all rules about PUBLIC say the same here, and nobody else has any that says absent.
	closed := chance("closed")
	for range rapid.IntRange(0, 12).Draw(rt, "grants") {
		on := rapid.SampledFrom(targets).Draw(rt, "on")
		to := ref()
		if rapid.IntRange(0, 5).Draw(rt, "public") == 0 {
			to = access.Ref{Kind: access.Public}
		}
		if seen[key{on, to}] {
			continue
		}
		seen[key{on, to}] = true
		all := on.Kind.Info().Privileges
		if on.Column != "" {
			all = on.Kind.Info().Columns
		}
		g := access.Grant{Grantee: to, On: on, Privileges: some(all), GrantOption: to.Kind == access.Own && chance("option")}
		g.Absent = to.Kind == access.Public && closed
		d.Grants = append(d.Grants, g)
	}
	for range rapid.IntRange(0, 4).Draw(rt, "defaults") {
		kind := rapid.SampledFrom([]access.Kind{access.Table, access.Sequence, access.Routine, access.Type}).Draw(rt, "kind")
		p := access.DefaultPrivilege{
			Owner: ref(), Schema: rapid.SampledFrom([]string{"", "s0", "s1"}).Draw(rt, "schema"), Kind: kind, Grantee: ref(),
			Privileges: some(kind.Info().Privileges), GrantOption: chance("option"),
		}
		d.Defaults = append(d.Defaults, p)
	}
	for i := range roleNames { // a role's members have greater numbers: no circles
		m := access.Membership{Role: own(roleNames[i]), Exclusive: true}
		for j, name := range roleNames[i+1:] {
			if chance("member") {
				m.Members = append(m.Members, access.Member{
					Ref: own(name), Admin: chance("admin"), Set: !options || chance("set"),
					Inherit: !options && d.Roles[i+1+j].Inherit || options && chance("inherits"),
				})
			}
		}
		d.Memberships = append(d.Memberships, m)
	}
	return d
}
