package integration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// sqlstate runs one message and tells the SQLSTATE.
func sqlstate(t *testing.T, c *pgconn.PgConn, sql string) string {
	t.Helper()
	_, err := c.Exec(t.Context(), sql).ReadAll()
	var failed *pgconn.PgError
	switch {
	case err == nil:
		return "00000"
	case errors.As(err, &failed):
		return failed.Code
	default:
		t.Fatal(err)
		return ""
	}
}

// TestAdministratorsOnly: the roles of a database are changed by its administrators, on every server: from PostgreSQL 16
// on it is the server that says so, before that the policy.
func TestAdministratorsOnly(t *testing.T) {
	database(t, scoped(), "orders")
	database(t, scoped(), "billing")
	scoped().Psql(t, "postgres", "CREATE ROLE dba LOGIN CREATEROLE; CREATE ROLE other LOGIN CREATEROLE; CREATE ROLE alice LOGIN; CREATE ROLE plain LOGIN; GRANT other TO plain")
	e := start(t, scoped())
	for _, name := range []string{"orders", "billing"} {
		if got := sqlstate(t, e.connect(t, name, "postgres").PgConn(), "CREATE ROLE reader; CREATE ROLE writer"); got != "00000" {
			t.Fatalf("setup of database %s: SQLSTATE %s", name, got)
		}
	}
	admin := direct(scoped()).connect(t, "orders", "postgres").PgConn()
	db, err := provision.Enrol(t.Context(), admin, "")
	if err == nil {
		err = provision.Administrator(t.Context(), admin, db, "dba")
	}
	if err != nil {
		t.Fatal(err)
	}
	const denied, fine = "42501", "00000"
	for _, c := range []struct{ database, user, sql, want string }{
		{"orders", "dba", "CREATE ROLE new", fine},
		{"orders", "dba", "CREATE ROLE sales_new IN ROLE new", fine},
		{"orders", "dba", "ALTER ROLE new PASSWORD 'x'", fine},
		{"orders", "dba", "DROP ROLE sales_new", fine},
		{"orders", "dba", "DROP ROLE IF EXISTS nobody", fine},
		{"orders", "dba", "DROP ROLE nobody", "42704"},
		{"orders", "dba", "ALTER ROLE nobody LOGIN", "42704"},
		{"orders", "dba", "GRANT nobody TO reader", "42704"},
		{"orders", "dba", "ALTER ROLE dba PASSWORD 'x'", fine}, // itself
		{"orders", "dba", "ALTER ROLE alice PASSWORD 'x'", denied},
		{"orders", "dba", "GRANT alice TO dba", denied},
		{"orders", "dba", "SET ROLE dba; ALTER ROLE alice PASSWORD 'x'", denied},
		{"orders", "other", "CREATE ROLE mine", denied},
		{"orders", "other", "ALTER ROLE reader PASSWORD 'x'", denied},
		{"orders", "other", "DROP ROLE reader", denied},
		{"orders", "other", "GRANT reader TO other", denied},
		{"orders", "other", "DO $$ BEGIN DROP ROLE reader; END $$", denied},
		{"orders", "plain", "DROP ROLE reader", denied},
		{"orders", "plain", "SET ROLE other; DROP ROLE reader", denied},
		{"billing", "dba", "DROP ROLE reader", denied},
		{"billing", "dba", "CREATE ROLE mine", denied},
	} {
		if got := sqlstate(t, e.connect(t, c.database, c.user).PgConn(), c.sql); got != c.want {
			t.Errorf("%s as %s: %s: %s, want %s", c.database, c.user, c.sql, got, c.want)
		}
	}

	// Prepared while it was allowed, executed when it no longer is.
	c := e.connect(t, "orders", "dba").PgConn()
	if _, err := c.Prepare(t.Context(), "drop", "DROP ROLE reader", nil); err != nil {
		t.Fatal(err)
	}
	scoped().Psql(t, "postgres", "REVOKE pgscope_db_orders FROM dba CASCADE")
	if r := c.ExecPrepared(t.Context(), "drop", nil, nil, nil).Read(); r.Err == nil {
		t.Error("who is no administrator any more has dropped a role")
	}

	// Who makes the first role of a database administers them.
	database(t, scoped(), "fresh")
	mine := e.connect(t, "fresh", "other").PgConn()
	for _, sql := range []string{"CREATE ROLE a", "CREATE ROLE b", "DROP ROLE a"} {
		if got := sqlstate(t, mine, sql); got != fine {
			t.Errorf("%s: %s", sql, got)
		}
	}
}

// TestMemberOf: rules about who is a member of what know what the server knows.
func TestMemberOf(t *testing.T) {
	database(t, scoped(), "orders")
	e := start(t, scoped(), withPolicy(t, `
rules:
  - {name: contractors, member-of: "contract*", statement: create role, action: deny}
  - {action: allow}`))
	admin := e.connect(t, "orders", "postgres").PgConn()
	scoped().Psql(t, "postgres", "CREATE ROLE alice LOGIN SUPERUSER; CREATE ROLE bob LOGIN SUPERUSER")
	if got := sqlstate(t, admin, "CREATE ROLE contractors; CREATE ROLE team IN ROLE contractors; GRANT team TO alice"); got != "00000" {
		t.Fatalf("setup: SQLSTATE %s", got)
	}
	for user, want := range map[string]string{"alice": "42501", "bob": "00000"} {
		if got := sqlstate(t, e.connect(t, "orders", user).PgConn(), "CREATE ROLE x"); got != want {
			t.Errorf("%s: %s, want %s", user, got, want)
		}
	}
}

// TestActorInFailedTransaction executes a portal, about whose user the policy wants to know
// more, when the server answers no question.
func TestActorInFailedTransaction(t *testing.T) {
	both(t)
	via := start(t, scoped(), withPolicy(t, `
rules:
  - {name: contractors, member-of: "contract*", statement: create role, action: deny}
  - {action: allow}`))
	compare(t, via, func(d *dialogue) {
		d.say(&query{String: "BEGIN"}, &parse{Name: "s", Query: "CREATE ROLE lost"}, &bind{PreparedStatement: "s", DestinationPortal: "p"}, &pgproto3.Sync{})
		d.say(&query{String: "SELECT 1/0"})
		d.ready(3)
		d.say(&execute{Portal: "p"}, &pgproto3.Sync{}, &query{String: "ROLLBACK"}, &query{String: "SELECT 1"})
		d.ready(3)
	})
}

// TestHarden closes the direct way between two databases, by privileges first and by pg_hba.conf then.
func TestHarden(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	e := start(t, c, permissive(t))
	enter := func(e endpoint, database, user string) string {
		conn, err := pgconn.Connect(t.Context(), e.dsn(database, user))
		var failed *pgconn.PgError
		switch {
		case err == nil:
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
			return "in"
		case errors.As(err, &failed):
			return failed.Code
		default:
			t.Fatal(err)
			return ""
		}
	}
	c.Psql(t, "postgres", "CREATE ROLE dba LOGIN CREATEROLE; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN")
	for _, name := range []string{"orders", "billing"} {
		c.CreateDatabase(t, name)
		sql := "CREATE ROLE app LOGIN; CREATE ROLE strict LOGIN NOINHERIT; GRANT app TO alice"
		if got := sqlstate(t, e.connect(t, name, "postgres").PgConn(), sql); got != "00000" {
			t.Fatalf("setup of database %s: SQLSTATE %s", name, got)
		}
	}
	if got := enter(direct(c), "billing", "orders_app"); got != "in" {
		t.Fatal("closed already:", got)
	}
	for range 2 {
		for _, name := range []string{"orders", "billing"} {
			admin := direct(c).connect(t, name, "postgres").PgConn()
			db, err := provision.Enrol(t.Context(), admin, "")
			if err == nil && name == "orders" {
				err = provision.Administrator(t.Context(), admin, db, "dba")
			}
			if err != nil {
				t.Fatal(err)
			}
			h, err := provision.Harden(t.Context(), admin)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Apply(t.Context(), admin); err != nil {
				t.Fatal(err)
			}
		}
	}
	type entry struct {
		through        endpoint
		database, user string
		want           string
	}
	const noPrivilege = "42501"
	for _, x := range []entry{
		{direct(c), "orders", "orders_app", "in"},
		{direct(c), "orders", "orders_strict", "in"},
		{direct(c), "orders", "alice", "in"},
		{direct(c), "orders", "dba", "in"},
		{direct(c), "billing", "billing_app", "in"},
		{direct(c), "billing", "orders_app", noPrivilege},
		{direct(c), "billing", "orders_strict", noPrivilege},
		{direct(c), "billing", "dba", noPrivilege},
		{direct(c), "orders", "bob", noPrivilege},
		{e, "orders", "app", "in"},
		{e, "orders", "strict", "in"},
		{e, "billing", "app", "in"},
		{e, "orders", "alice", "in"},
	} {
		if got := enter(x.through, x.database, x.user); got != x.want {
			t.Errorf("%s at %s: %s, want %s", x.user, x.database, got, x.want)
		}
	}

	h, err := provision.Harden(t.Context(), direct(c).connect(t, "orders", "postgres").PgConn())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]scope.Cluster{"dba"}, h.Administrators); diff != "" {
		t.Errorf("administrators (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]scope.Cluster{"alice"}, h.Guests); diff != "" {
		t.Errorf("guests (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]scope.Cluster{"bob"}, h.Shut); diff != "" {
		t.Errorf("shut (-want +got)\n%s", diff)
	}
	if !strings.Contains(strings.Join(h.HBA(), "\n"), `+"pgscope_db_orders"`) {
		t.Errorf("lines for pg_hba.conf without the marker: %q", h.HBA())
	}
	other, err := provision.Harden(t.Context(), direct(c).connect(t, "billing", "postgres").PgConn())
	if err != nil {
		t.Fatal(err)
	}
	file := strings.TrimSpace(c.Psql(t, "postgres", "SHOW hba_file"))
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.ReplaceAll(strings.Join(append(h.HBA(), other.HBA()...), "\n"), "scram-sha-256", "trust") // the test has no passwords
	if err := os.WriteFile(filepath.Clean(file), []byte(lines+"\n"+string(before)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Reload(t)
	c.Psql(t, "postgres", "GRANT CONNECT ON DATABASE postgres TO PUBLIC")
	const byHBA = "28000"
	for _, x := range []entry{
		{direct(c), "orders", "orders_app", "in"},
		{direct(c), "postgres", "orders_app", byHBA},
		{direct(c), "billing", "orders_strict", byHBA},
		{direct(c), "orders", "billing_app", byHBA},
		{direct(c), "postgres", "dba", "in"},
		{direct(c), "postgres", "bob", "in"},
		{direct(c), "postgres", "alice", "in"}, // a member of roles of both
		{direct(c), "orders", "alice", "in"},
		{direct(c), "billing", "alice", "in"},
		{e, "billing", "app", "in"},
		{e, "orders", "app", "in"},
	} {
		if got := enter(x.through, x.database, x.user); got != x.want {
			t.Errorf("%s at %s: %s, want %s", x.user, x.database, got, x.want)
		}
	}
	if list := c.Psql(t, "postgres", "SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL"); strings.TrimSpace(list) != "" {
		t.Errorf("the server does not take lines of pg_hba.conf: %s", list)
	}
}

// TestSetConfigIsAsked: set_config of a role is asked about as SET ROLE is, however it is called. What the text does not
// tell holds for a rule that denies. And it reaches no role of another database.
func TestSetConfigIsAsked(t *testing.T) {
	database(t, scoped(), "orders")
	database(t, scoped(), "orders_eu")
	rules := `
rules:
  - {name: not-q2, statement: [set role, set session authorization], role: q2, action: deny}
  - {action: allow}`
	e := start(t, scoped(), withPolicy(t, rules))
	scoped().Psql(t, "postgres", "CREATE ROLE app LOGIN SUPERUSER")
	for name, sql := range map[string]string{"orders": "CREATE ROLE q1; CREATE ROLE q2", "orders_eu": "CREATE ROLE vic"} {
		if got := sqlstate(t, e.connect(t, name, "postgres").PgConn(), sql); got != "00000" {
			t.Fatalf("setup of database %s: SQLSTATE %s", name, got)
		}
	}
	const denied, fine, none, undefined, unsupported, badName = "42501", "00000", "22023", "42704", "0A000", "42602"
	allowed := start(t, scoped(), permissive(t))
	for _, c := range []struct{ sql, want, permitted string }{
		{"SET ROLE q2", denied, fine},
		{"SELECT set_config('role', 'q2', false)", denied, fine},
		{"SELECT pg_catalog.set_config('Session_Authorization'::text, CAST('q2' AS text), false)", denied, fine},
		{"SELECT * FROM set_config('role', 'q2', false)", denied, fine},
		{"SELECT set_config(setting_name => 'role', new_value => 'q2', is_local => false)", denied, ""},
		{"DO $$ BEGIN PERFORM set_config('role', 'q2', false); END $$", denied, fine},
		{"SELECT set_config('role', 'q1', false)", fine, fine},
		{"SELECT set_config('role', 'none', false), set_config('app.x', lower('q2'), true)", fine, fine},
		{"SELECT set_config('role', lower('Q1'), false)", denied, fine},
		{"SELECT set_config('ro' || 'le', 'q1', false)", denied, fine},
		{"SELECT set_config($$role$$, 'q2', false)", denied, fine},
		{"SELECT * FROM (VALUES ('role')) v (s), set_config(s, 'q1', false)", denied, fine},
		{"PREPARE p AS SELECT set_config($1, $2, false)", denied, fine},
		{"COPY (SELECT set_config(lower('role'), 'q1', false)) TO STDOUT", denied, fine},
		{"SELECT * FROM ROWS FROM (set_config('role', lower('Q1'), false))", denied, fine},
		{"SELECT * FROM ROWS FROM (set_config('role', lower('orders_eu_vic'), false))", denied, none},
		{"SELECT * FROM ROWS FROM (set_config(lower('Role'), 'orders_eu_vic', false)) x", denied, undefined},
		{"SELECT set_config(unnest(ARRAY['work_mem', 'ROLE']), unnest(ARRAY['1MB', 'orders_eu_vic']), false)", denied, undefined},
		{"SELECT set_config('role', unnest(ARRAY['orders_eu_vic']), false)", denied, unsupported},
		{"DO $$ BEGIN PERFORM set_config('role', lower('Q1'), false); PERFORM set_config(lower('ROLE'), lower('Q1'), false); END $$", denied, fine},
		{"DO $$ BEGIN PERFORM set_config(lower('ROLE'), 'orders_eu_vic', false); END $$", denied, none},
		{"DO $$ BEGIN PERFORM set_config(lower('ROLE'), 'orders_eu_vic', false); EXCEPTION WHEN OTHERS THEN PERFORM set_config(lower('ROLE'), 'q1', false); END $$", denied, fine},
		{"CREATE PROCEDURE pg_temp.p(text) LANGUAGE sql AS ''; CALL pg_temp.p(set_config('role', lower('orders_eu_vic'), false))", denied, unsupported},
		{"CREATE PROCEDURE pg_temp.p(text) LANGUAGE sql AS ''; CALL pg_temp.p(set_config(lower('role'), 'orders_eu_vic', false))", denied, undefined},
		{"CREATE PROCEDURE pg_temp.p(text) LANGUAGE sql AS ''; CALL pg_temp.p(set_config(lower('work_mem'), '1MB', false))", denied, fine},
		{"CREATE PROCEDURE pg_temp.p(text) LANGUAGE sql AS ''; CALL pg_temp.p(set_config('role', current_user, false))", denied, fine},
		{"SELECT set_config(s, 'explicit', false) FROM (VALUES ('pgscope.mode')) v (s)", denied, badName},
		{"SELECT set_config(s, '1MB', false) FROM (VALUES ('work_mem')) v (s); SELECT set_config(s, 'orders_eu_vic', false) FROM (VALUES ('role')) v (s)", denied, none},
		{"SELECT set_config(s, 'orders_eu_vic', false) FROM (VALUES ('role')) v (s)", denied, none},
		{"SELECT set_config('role', 'orders_eu_vic', false)", fine, none},
		{"SET pgscope.mode = explicit; SELECT set_config('role', 'orders_eu_vic', false)", undefined, undefined},
		{"SET pgscope.mode = explicit; SELECT set_config('role', 'orders_q1', false)", fine, fine},
	} {
		if got := sqlstate(t, e.connect(t, "orders", "app").PgConn(), c.sql); got != c.want && c.want != fine || got == denied && c.want == fine {
			t.Errorf("%s: %s, want %s", c.sql, got, c.want)
		}
		if got := sqlstate(t, allowed.connect(t, "orders", "app").PgConn(), c.sql); c.permitted != "" && got != c.permitted {
			t.Errorf("%s, permitted: %s, want %s", c.sql, got, c.permitted)
		}
	}
	// What a text became is remembered: the policy is asked about all of it, each time.
	c := start(t, scoped(), withPolicy(t, `
rules:
  - {name: not-that, statement: set session authorization, action: deny}
  - {action: allow}`)).connect(t, "orders", "app").PgConn()
	for range 3 {
		if got := sqlstate(t, c, "SELECT set_config('role', lower('Q1'), true), set_config('session_authorization', lower('Q1'), true)"); got != denied {
			t.Errorf("%s, want %s", got, denied)
		}
	}
	// The parameters of a driver.
	for _, user := range []string{"q1", "none"} {
		r := allowed.connect(t, "orders", "app").PgConn().ExecParams(t.Context(), "SELECT set_config($1, $2, $3)",
			[][]byte{[]byte("role"), []byte(user), []byte("f")}, nil, nil, nil).Read()
		if r.Err != nil || string(r.Rows[0][0]) != user {
			t.Errorf("%s: %v", user, r.Err)
		}
	}
}
