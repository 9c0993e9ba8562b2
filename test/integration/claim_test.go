package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
)

// TestSetRoleThatIsKnown: a role that the proxy knows is set without a question. What others have done to it meanwhile, on
// direct connections, must show as it does on the server, whether the session is in a transaction or not.
func TestSetRoleThatIsKnown(t *testing.T) {
	for i, name := range []string{"of no database", "of the database"} {
		t.Run(name, func(t *testing.T) {
			via := both(t)
			setRoleThatIsKnown(t, via, sessionUsers(t, via)[i])
		})
	}
}

func setRoleThatIsKnown(t *testing.T, via endpoint, user string) {
	t.Helper()
	const make = "CREATE ROLE reader; CREATE ROLE writer; CREATE ROLE clerk; CREATE ROLE boss; CREATE ROLE late; CREATE ROLE guest; CREATE ROLE host"
	direct(plain()).open(t, "orders", "postgres").query(make)
	via.open(t, "orders", "postgres").query(make)

	// The next session lists the roles at its beginning; from then on the proxy knows them.
	a, b := direct(plain()).open(t, "orders", user), via.open(t, "orders", user)
	same := func(texts ...string) {
		t.Helper()
		for _, sql := range texts {
			want, got := a.query(sql), b.query(sql)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: direct (-) and through the proxy (+):\n%s", sql, diff)
			}
			for _, d := range []*dialogue{a, b} {
				d.say(slices.Concat(statement(sql), syncPoint())...)
				d.ready(1)
			}
			if diff := cmp.Diff(a.take(), b.take()); diff != "" {
				t.Errorf("%s, extended: direct (-) and through the proxy (+):\n%s", sql, diff)
			}
		}
	}
	const who = "SELECT current_user::text"
	same("SET ROLE reader", who, "RESET ROLE", "SET LOCAL ROLE reader", who, "SET ROLE nosuch", who,
		"BEGIN", "SET LOCAL ROLE writer", who, "SET ROLE reader", who, "ROLLBACK", who, "/* as */ SET ROLE 'clerk'", who, "RESET ROLE")

	pipeline := func(texts ...string) {
		t.Helper()
		var messages []pgproto3.FrontendMessage
		for _, sql := range texts {
			messages = append(messages, statement(sql)...)
		}
		for _, d := range []*dialogue{a, b} {
			d.say(append(messages, syncPoint()...)...)
			d.ready(1)
		}
		if diff := cmp.Diff(a.take(), b.take()); diff != "" {
			t.Errorf("pipeline %q: direct (-) and through the proxy (+):\n%s", texts, diff)
		}
	}
	pipeline("BEGIN", "SET LOCAL ROLE writer", who, "SET LOCAL ROLE reader", who, "COMMIT", who)
	pipeline("SELECT 1", "SET ROLE writer", who, "SET ROLE nosuch", who)
	pipeline("SET ROLE writer", "SELECT 1/0", "SET ROLE reader")
	pipeline(who, "SET LOCAL ROLE writer", who)

	same("BEGIN", "ALTER ROLE late RENAME TO later", "SET ROLE late", "ROLLBACK", "SET ROLE late", who, "RESET ROLE")

	both := func(onPlain, onScoped string) {
		t.Helper()
		plain().Psql(t, "orders", onPlain)
		scoped().Psql(t, "orders", onScoped)
	}
	both("DROP ROLE reader", "DROP ROLE orders_reader")
	same("SET ROLE reader", who)
	both("DROP ROLE writer", "ALTER ROLE orders_writer RENAME TO somebody")
	same("BEGIN", "SET LOCAL ROLE writer", who, "ROLLBACK")
	for role, change := range map[string]string{
		"clerk": "REVOKE pgscope_db_orders FROM orders_clerk",
		"late":  "ALTER ROLE orders_late RENAME TO gone; CREATE ROLE orders_late",
		"guest": "GRANT orders_host TO orders_guest; REVOKE pgscope_db_orders FROM orders_guest",
	} {
		both("SELECT", change)
		if got := b.query("SET ROLE " + role); !strings.Contains(got[0], `role "`+role+`" does not exist`) {
			t.Errorf("a role that is none of the database's any more: %q", got)
		}
	}
	both("SELECT", "DROP ROLE orders_boss; CREATE ROLE boss")
	same("SET ROLE boss", who, "RESET ROLE")
	both("DROP ROLE boss", "DROP ROLE boss")
}

// TestSetRoleAmongOthers: only a text that is nothing but SET ROLE goes as a claim, whatever of the rest can be read.
func TestSetRoleAmongOthers(t *testing.T) {
	via := both(t)
	var ends []*pgconn.PgConn
	for _, e := range []endpoint{direct(plain()), via} {
		e.open(t, "orders", "postgres").query("CREATE ROLE reader; GRANT CREATE ON SCHEMA public TO reader; CREATE TABLE t (a int); GRANT ALL ON t TO reader; INSERT INTO t VALUES (1)")
		c, err := e.connectWith(t, "orders", "postgres", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, c)
	}
	for _, sql := range []string{
		"SET ROLE reader",
		"SET ROLE reader; SELEC 1",
		"SET ROLE reader; UPDATE t SET a = 7 RETURNING WITH (OLD AS o) o.a", // SQL from PostgreSQL 18 on
		"SET ROLE reader; SELECT 1 1; SELECT 2",
		"SELEC 1; SET ROLE reader",
		"SET ROLE reader; ; SELECT 'x",
		"SET role TO reader, $1",
		"SET role TO reader, DEFAULT",
		"SET LOCAL ROLE reader; SELEC 1",
		"BEGIN; SET LOCAL ROLE reader; SELEC 1",
		"SET SESSION ROLE reader SELECT",
	} {
		for _, sql := range []string{sql, "SELECT current_user::text, a FROM t", "ROLLBACK; RESET ROLE"} {
			if want, got := told(t, ends[0], sql), told(t, ends[1], sql); want != got && !unread(t, want, got) {
				t.Errorf("%s: direct %q, through the proxy %q", sql, want, got)
			}
		}
	}
}

// TestClaimsOfAList: what the list told of a role's membership is what its claims go by, also when another
// statement has asked about the role since.
func TestClaimsOfAList(t *testing.T) {
	database(t, scoped(), "orders")
	claims := func(o *proxy.Options) { o.LongText = 0 } // of what is read apart there are none
	start(t, scoped(), permissive(t)).open(t, "orders", "postgres").query("CREATE TABLE t (); CREATE ROLE reader")

	want := "FROM pg_catalog.pg_auth_members"
	if scoped().Psql(t, "orders", "SELECT count(*) FROM pg_attribute WHERE attrelid = 'pg_auth_members'::regclass AND attname = 'oid'") == "1\n" {
		want = "pg_catalog.pg_describe_object"
	}
	s := start(t, scoped(), permissive(t), claims).open(t, "orders", "postgres") // the first session of a proxy lists the roles
	for _, sql := range []string{"SET ROLE reader", "SET SESSION ROLE reader"} { // a text that was seen before is remembered
		s.query(sql)
		if sent := scoped().Psql(t, "orders", "SELECT query FROM pg_stat_activity WHERE datname = 'orders' AND query ~ '^SELECT pg_catalog.set_config'"); !strings.Contains(sent, want) {
			t.Errorf("sent %q, want one with %s", sent, want)
		}
		s.query("RESET ROLE; GRANT SELECT ON t TO reader")
	}
}
