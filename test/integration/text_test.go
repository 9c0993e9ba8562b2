package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/rewrite/charset"
)

// connectWith returns a connection that sends texts as they are, with the startup parameters.
func (e endpoint) connectWith(t testing.TB, database, user string, params map[string]string, notices *[]string) (*pgconn.PgConn, error) {
	t.Helper()
	config, err := pgconn.ParseConfig(e.dsn(database, user))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range params {
		config.RuntimeParams[name] = value
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if notices != nil {
			*notices = append(*notices, fmt.Sprintf("%s %s %s (%s)", n.Severity, n.Code, n.Message, n.Detail))
		}
	}
	c, err := pgconn.ConnectConfig(t.Context(), config)
	if err == nil {
		t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) }) // the test may have broken it
	}
	return c, err
}

// told is what a client sees of a text: the tags of what was done, and the error.
func told(t testing.TB, c *pgconn.PgConn, sql string) string {
	t.Helper()
	results, err := c.Exec(t.Context(), sql).ReadAll()
	var seen []string
	for _, r := range results {
		if r.Err == nil {
			seen = append(seen, r.CommandTag.String())
		}
		for _, row := range r.Rows {
			seen = append(seen, string(slices.Concat(row...)))
		}
	}
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		seen = append(seen, fmt.Sprintf("%s %s at %d", failure.Code, failure.Message, failure.Position))
	} else if err != nil {
		t.Fatal(err)
	}
	return strings.Join(seen, ", ")
}

// TestCharsets says the same in many character sets, to a plain server and through the proxy.
func TestCharsets(t *testing.T) {
	via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
	for _, c := range []struct{ set, name string }{
		{"UTF8", "é表"},
		{"LATIN1", "é"},
		{"WIN1252", "Œuvre€"},
		{"WIN1251", "роль"},
		{"SJIS", "表ソ"}, // their second bytes are backslashes
		{"EUC_JP", "表"},
		{"BIG5", "功"},
		{"GBK", "角色"},
		{"GB18030", "角色"},
		{"UHC", "역할"},
		{"SQL_ASCII", "é"},
	} {
		t.Run(c.set, func(t *testing.T) {
			database(t, plain(), "orders")
			database(t, scoped(), "orders")
			set := charset.Of(c.set, "UTF8")
			params := map[string]string{"client_encoding": c.set}
			onPlain, err := direct(plain()).connectWith(t, "orders", "postgres", params, nil)
			if err != nil {
				t.Fatal(err)
			}
			onScoped, err := via.connectWith(t, "orders", "postgres", params, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, sql := range []string{
				`CREATE ROLE "x"`,
				`CREATE ROLE "{}"; COMMENT ON ROLE "{}" IS '{}'; GRANT "{}" TO x`,
				`SET ROLE '{}'; RESET ROLE`,
				`GRANT x TO "{}{}"`,
				`SELECT '{}'; GRANT x TO "{}"; SELECT '{}' nonsense nonsense`,
				`SELECT '{}'; CREATE ROLE "{}"`,
				`DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{}') THEN ALTER ROLE "{}" LOGIN; END IF; END $$`,
				`BEGIN; COMMENT ON ROLE x IS '{}'; SET LOCAL client_encoding TO 'UTF8'`,
				`ROLLBACK`,
				`DROP ROLE x, "nobody {}"`,
			} {
				sql, err := set.Encode(strings.ReplaceAll(sql, "{}", c.name))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(told(t, onPlain, sql), told(t, onScoped, sql)); diff != "" {
					t.Errorf("%q: direct (-) and through the proxy (+):\n%s", sql, diff)
				}
			}
			want := []string{"orders_x", "orders_" + c.name, "pgscope_db_orders"}
			got := roles(t, scoped())
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("roles of the cluster (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUntranslatableName: a database whose prefix cannot be written in the session's character set.
func TestUntranslatableName(t *testing.T) {
	database(t, scoped(), "表")
	via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
	c, err := via.connectWith(t, "表", "postgres", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	const untranslatable = `22P05 character with byte sequence 0xe8 0xa1 0xa8 in encoding "UTF8" has no equivalent in encoding "LATIN1" at 0`
	for _, s := range []struct{ sql, want string }{
		{`CREATE ROLE x`, "CREATE ROLE"},
		{`SET client_encoding TO 'LATIN1'`, "SET"},
		{`DROP ROLE x`, untranslatable},
		{`SELECT 1`, "SELECT 1, 1"},
		{`SET client_encoding TO 'EUC_JP'`, "SET"},
		{`DROP ROLE x`, "DROP ROLE"},
	} {
		if got := told(t, c, s.sql); got != s.want {
			t.Errorf("%s: %s, want %s", s.sql, got, s.want)
		}
	}
}

// TestSettingsInAPipeline changes how texts are read, and sends one that depends on it before the server has answered.
func TestSettingsInAPipeline(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
	c, err := via.connectWith(t, "orders", "postgres", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := c.StartPipeline(t.Context())
	for _, sql := range []string{
		"CREATE ROLE a",
		"SET standard_conforming_strings = off",
		`CREATE ROLE b PASSWORD '\'; GRANT a TO b; --'`,
		"SET client_encoding TO 'SJIS'",
		"CREATE ROLE \"\x95\x5c\"",
	} {
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	if err := p.Sync(); err != nil {
		t.Fatal(err)
	}
	for {
		r, err := p.GetResults()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := r.(*pgconn.PipelineSync); ok {
			break
		}
		if result, ok := r.(*pgconn.ResultReader); !ok {
			t.Errorf("an answer of type %T", r)
		} else if _, err := result.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	got := roles(t, scoped())
	slices.Sort(got)
	if diff := cmp.Diff([]string{"orders_a", "orders_b", "orders_表", "pgscope_db_orders"}, got); diff != "" {
		t.Errorf("roles of the cluster (-want +got):\n%s", diff)
	}
}

// TestNewerSyntax: what the parser does not know, a server may, and both must say the same.
func TestNewerSyntax(t *testing.T) {
	database(t, plain(), "orders")
	database(t, scoped(), "orders")
	via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
	onPlain, err := direct(plain()).connectWith(t, "orders", "postgres", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	onScoped, err := via.connectWith(t, "orders", "postgres", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"CREATE ROLE x; CREATE TABLE t (a int)",
		"ALTER DEFAULT PRIVILEGES FOR ROLE x GRANT SELECT ON LARGE OBJECTS TO x",
		"ALTER TABLE t OWNER TO x, ADD CHECK (a > 0) NOT ENFORCED",
		"CREATE SCHEMA s AUTHORIZATION x CREATE TABLE u (a int, b int GENERATED ALWAYS AS (a) VIRTUAL)",
		"UPDATE t SET a = 1 RETURNING WITH (OLD AS o) o.a; GRANT SELECT ON t TO x",
		"DROP OWNED BY x CASCADE; DROP ROLE x",
	} {
		if diff := cmp.Diff(told(t, onPlain, sql), told(t, onScoped, sql)); diff != "" {
			t.Errorf("%s: direct (-) and through the proxy (+):\n%s", sql, diff)
		}
	}
}

// unread reports whether the proxy says of a syntax error that it cannot read the text, as it does of what it takes for
// its own grammar's where the server's is newer than the parser's.
func unread(t testing.TB, direct, proxied string) bool {
	return major(t, scoped()) >= 18 && strings.Contains(direct, "42601 ") && strings.Contains(proxied, "0A000 this statement could not be read")
}

// TestSyntaxErrors: what the server takes for no SQL, and what the proxy does not know, runs as
// it does on the server, or not at all.
func TestSyntaxErrors(t *testing.T) {
	via := both(t)
	const make = `CREATE ROLE reader; CREATE SCHEMA sales; CREATE SCHEMA hr; CREATE TABLE t (id int, owner text);
		INSERT INTO t SELECT 7, 'postgres' FROM generate_series(1, 3)`
	connect := func(e endpoint) *pgconn.PgConn {
		c, err := e.connectWith(t, "orders", "postgres", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, e := range []endpoint{direct(plain()), via} {
		if got := told(t, connect(e), make); !strings.HasSuffix(got, "INSERT 0 3") {
			t.Fatalf("setup: %q", got)
		}
	}
	if got := told(t, connect(via), "CREATE ROLE sales.buyer"); got != "CREATE ROLE" {
		t.Fatalf("CREATE ROLE sales.buyer: %q", got)
	}
	onPlain, onScoped := connect(direct(plain())), connect(via) // which begin with a list of the roles
	const state = `SELECT current_user::text, string_agg(n, ' ' ORDER BY n) FROM (
		SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' UNION ALL SELECT datname FROM pg_database UNION ALL SELECT t::text FROM t) x (n)`
	many := strings.Repeat("id = 1 OR ", 1000) + "id = 7"
	for _, sql := range []string{
		"DROP SCHEMA billing.sales CASCADE",
		"DROP SCHEMA hr, billing.sales",
		"DROP SCHEMA IF EXISTS sales.sales, hr",
		"DROP SCHEMA DBONLY sales",
		"DROP DATABASE a.orders",
		"DROP DATABASE DBONLY orders",
		"ALTER SCHEMA a.sales RENAME TO b",
		"ALTER SCHEMA sales RENAME TO a.b",
		"ALTER DATABASE a.orders RENAME TO b",
		"CREATE DATABASE a.b",
		"CREATE DATABASE b TEMPLATE a.orders",
		"DELETE FROM t WHERE user.id = 7 AND owner = current_user",
		"DELETE FROM t WHERE é.user.id = 7 AND owner = current_user",
		"SELECT r.rolname r.oid FROM pg_roles r",
		"SELECT current_user DBONLY x",
		"SET search_path TO sales.\"$user\"",
		"SET sales.search_path.x TO DEFAULT",
		"SET hr.pgscope.mode TO 'off'",
		"DO $$ BEGIN DELETE FROM t WHERE user.id = 7 AND owner = current_user; END $$",
		"SELEC 1; GRANT reader TO",
		"COMMENT ON ROLE reader IS ; SELECT 1",
		"INSERT INTO t VALUES (8); COMMIT; DROP SCHEMA a.sales",
		"INSERT INTO t VALUES (8); COMMIT; GRANT reader TO",
		"INSERT INTO t VALUES (8); COMMIT; SET role TO reader, $1",
		"INSERT INTO t VALUES (8); COMMIT; CREATE ROLE x; GRANT SELECT ON t TO sales.public",
		"EXPLAIN (COSTS OFF) SELECT * FROM t WHERE " + many,
		"SELECT count(*) FROM t WHERE owner = current_user AND (" + many + ")",
		"SELECT 'current_user",
		`EXPLAIN (COSTS OFF) UPDATE t SET owner = current_user RETURNING WITH (OLD AS o) o.owner AS "user"`, // SQL from PostgreSQL 18 on
	} {
		for _, sql := range []string{sql, state, "RESET ROLE"} {
			if want, got := told(t, onPlain, sql), told(t, onScoped, sql); want != got && !unread(t, want, got) {
				t.Errorf("%.100s: direct %.200q, through the proxy %.200q", sql, want, got)
			}
		}
	}
}

// TestIdiom runs what every migration says twice in two databases.
func TestIdiom(t *testing.T) {
	const script = `DO $$ BEGIN
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'x') THEN CREATE ROLE x; END IF;
	END $$`
	via := start(t, scoped())
	for _, name := range []string{"orders", "billing"} {
		database(t, scoped(), name)
		c, err := via.connectWith(t, name, "postgres", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := told(t, c, script); got != "DO" {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	want := []string{"billing_x", "orders_x", "pgscope_db_billing", "pgscope_db_orders"}
	if diff := cmp.Diff(want, roles(t, scoped())); diff != "" {
		t.Errorf("roles of the cluster (-want +got):\n%s", diff)
	}
}

// TestBlocksArePoliced: what a block does to roles, the policy decides as it does elsewhere.
func TestBlocksArePoliced(t *testing.T) {
	database(t, scoped(), "orders")
	c, err := start(t, scoped()).connectWith(t, "orders", "postgres", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"DO $$ BEGIN CREATE ROLE x SUPERUSER; END $$",
		"DO $$ BEGIN EXECUTE 'CREATE ROLE x SUPERUSER'; END $$",
		"DO 'BEGIN EXECUTE ''DO $x$ BEGIN CREATE ROLE x SUPERUSER; END $x$''; END'",
	} {
		if got := told(t, c, sql); !strings.HasPrefix(got, "42501 ") {
			t.Errorf("%s: %s", sql, got)
		}
	}
}

// TestNotices: what cannot be seen is said, in the place of the answer.
func TestNotices(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
	var notices []string
	c, err := via.connectWith(t, "orders", "postgres", nil, &notices)
	if err != nil {
		t.Fatal(err)
	}
	body := []string{"NOTICE 00000 role names in the body of a function are not mapped (Line 2: GRANT.)"}
	executed := []string{"NOTICE 00000 role names in a string that is executed are not mapped (Line 1: DROP ROLE.)", `NOTICE 00000 role "nobody" does not exist, skipping ()`}
	for _, s := range []struct {
		sql  string
		want []string
	}{
		{"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN\n GRANT a TO b; END $$", body},
		{"DO $$ DECLARE s text := 'DROP ROLE IF EXISTS '; BEGIN s := s || 'nobody'; EXECUTE s; END $$", executed},
		{"SET pgscope.mode = explicit; DO $$ BEGIN EXECUTE 'SET RO' || 'LE none'; END $$", nil},
		{"CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN\n GRANT a TO b; END $$", nil},
	} {
		notices = nil
		told(t, c, s.sql)
		if diff := cmp.Diff(s.want, notices); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.sql, diff)
		}
	}
	told(t, c, "RESET pgscope.mode")
	notices = nil
	if _, err := c.Prepare(t.Context(), "p", "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN\n GRANT a TO b; END $$", nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(body, notices); diff != "" {
		t.Errorf("after Parse (-want +got):\n%s", diff)
	}
	for range 2 {
		if r := c.ExecPrepared(t.Context(), "p", nil, nil, nil).Read(); r.Err != nil {
			t.Error(r.Err)
		}
	}
	if diff := cmp.Diff(body, notices); diff != "" {
		t.Errorf("after Execute (-want +got):\n%s", diff)
	}
}

// TestStartRole: the names in a startup packet.
func TestStartRole(t *testing.T) {
	database(t, scoped(), "billing") // dropped last: it owns nothing
	database(t, scoped(), "orders")
	via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
	for name, more := range map[string]string{"billing": "", "orders": `; CREATE SCHEMA s; GRANT ALL ON SCHEMA s TO "orders x", app`} {
		c, err := via.connectWith(t, name, "postgres", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		told(t, c, `CREATE ROLE "`+name+` x"; CREATE ROLE app LOGIN`+more)
	}
	const missing = `FATAL: role "%s" does not exist (SQLSTATE 22023)`
	for i, s := range []struct {
		user   string
		params map[string]string
		owner  string // of what the session creates; or the error
	}{
		{"postgres", map[string]string{"role": "orders x"}, "orders_orders x"},
		{"postgres", map[string]string{"ROLE": "orders x"}, "orders_orders x"},
		{"postgres", map[string]string{"options": `-c role=orders\ x`}, "orders_orders x"},
		{"postgres", map[string]string{"options": `-crole=app --role=orders\ x -c geqo=off`}, "orders_orders x"},
		{"postgres", map[string]string{"options": "-c role=app", "role": "none"}, "postgres"},
		{"postgres", map[string]string{"role": "orders_orders x"}, fmt.Sprintf(missing, "orders_orders x")},
		{"postgres", map[string]string{"role": "billing x"}, fmt.Sprintf(missing, "billing x")},
		{"postgres", map[string]string{"role": "billing_billing x"}, fmt.Sprintf(missing, "billing_billing x")},
		{"postgres", map[string]string{"role": ""}, fmt.Sprintf(missing, "")},
		{"postgres", map[string]string{"session_authorization": "app"}, "postgres"},
		{"postgres", map[string]string{"session_authorization": "billing_app"}, fmt.Sprintf(missing, "billing_app")},
		{"app", map[string]string{"role": "orders x"}, `FATAL: permission denied to set role "orders x" (SQLSTATE 42501)`},
		{"app", map[string]string{"role": "app"}, "orders_app"},
		{"postgres", map[string]string{"role": "orders x", "options": "-c pgscope.mode=explicit"}, fmt.Sprintf(missing, "orders x")},
		{"postgres", map[string]string{"role": "orders_orders x", "options": "-c pgscope.mode=explicit"}, "orders_orders x"},
	} {
		table := fmt.Sprintf("t%d", i)
		c, err := via.connectWith(t, "orders", s.user, s.params, nil)
		got := ""
		if err == nil {
			told(t, c, "CREATE TABLE s."+table+" ()")
			got = strings.TrimSpace(scoped().Psql(t, "orders", "SELECT tableowner FROM pg_tables WHERE tablename = '"+table+"'"))
		} else {
			var failure *pgconn.PgError
			if errors.As(err, &failure) {
				got = fmt.Sprintf("%s: %s (SQLSTATE %s)", failure.Severity, failure.Message, failure.Code)
			}
		}
		if got != s.owner {
			t.Errorf("%v: %s (%v), want %s", s.params, got, err, s.owner)
		}
	}
}

// TestFunctionCall: functions that take names of roles cannot be called by OID, the others can.
func TestFunctionCall(t *testing.T) {
	database(t, scoped(), "orders")
	c, err := start(t, scoped()).connectWith(t, "orders", "postgres", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	hijacked, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer hijacked.Conn.Close()
	f := hijacked.Frontend
	const abs, setConfig = 1397, 2078
	f.Send(&pgproto3.FunctionCall{Function: setConfig, ArgFormatCodes: []uint16{0}, Arguments: [][]byte{[]byte("role"), []byte("postgres"), []byte("f")}})
	f.Send(&pgproto3.FunctionCall{Function: abs, ArgFormatCodes: []uint16{0}, Arguments: [][]byte{[]byte("-7")}})
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for len(seen) < 4 {
		m, err := f.Receive()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			seen = append(seen, m.Code+" "+m.Message)
		case *pgproto3.FunctionCallResponse:
			seen = append(seen, string(m.Result))
		case *pgproto3.ReadyForQuery:
			seen = append(seen, "ready "+string(m.TxStatus))
		}
	}
	want := []string{`0A000 function "set_config" cannot be called by its OID`, "ready I", "7", "ready I"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
