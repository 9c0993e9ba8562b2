package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// naming are statements that name a role: %s, as an identifier.
var naming = []string{
	"ALTER ROLE %s CONNECTION LIMIT 1", "ALTER ROLE %s SET work_mem = '1MB'", "ALTER ROLE %s IN DATABASE orders SET work_mem = '1MB'",
	"ALTER ROLE %s RESET ALL", "ALTER ROLE %s RENAME TO mine", "ALTER USER %s PASSWORD 'mine'", "ALTER ROLE %s SUPERUSER",
	"ALTER GROUP %s ADD USER reader", "ALTER GROUP %s DROP USER reader", "ALTER GROUP reader ADD USER %s", "ALTER GROUP reader DROP USER %s",
	"ALTER GROUP %s RENAME TO mine", "DROP ROLE %s", "DROP USER reader, %s", "DROP GROUP %s",
	"CREATE ROLE x IN ROLE %s", "CREATE ROLE x IN GROUP %s", "CREATE ROLE x ROLE %s", "CREATE ROLE x ADMIN %s", "CREATE GROUP x USER %s",
	"COMMENT ON ROLE %s IS 'mine'", "SECURITY LABEL ON ROLE %s IS 'mine'",
	"GRANT %s TO reader", "GRANT reader TO %s", "GRANT %s, reader TO postgres WITH ADMIN OPTION", "GRANT reader TO postgres GRANTED BY %s",
	"REVOKE %s FROM reader", "REVOKE reader FROM %s", "REVOKE ADMIN OPTION FOR %s FROM postgres",
	"GRANT SELECT ON t TO %s", "GRANT SELECT (a), UPDATE (a) ON t TO reader, %s", "GRANT ALL ON SCHEMA s TO GROUP %s",
	"GRANT USAGE ON SEQUENCE q TO %s", "GRANT EXECUTE ON FUNCTION f() TO %s", "GRANT CONNECT ON DATABASE orders TO %s",
	"GRANT SELECT ON ALL TABLES IN SCHEMA public TO %s", "GRANT SELECT ON t TO reader GRANTED BY %s", "GRANT SELECT ON LARGE OBJECT 4242 TO %s",
	"GRANT USAGE ON TYPE ty TO %s", "GRANT USAGE ON LANGUAGE plpgsql TO %s", "GRANT USAGE ON FOREIGN SERVER srv TO %s",
	"REVOKE ALL ON t FROM %s", "REVOKE GRANT OPTION FOR SELECT ON t FROM %s CASCADE", "REVOKE ALL ON DATABASE billing FROM %s",
	"ALTER DEFAULT PRIVILEGES FOR ROLE %s GRANT SELECT ON TABLES TO reader", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO %s",
	"ALTER DEFAULT PRIVILEGES FOR USER postgres, %s IN SCHEMA s REVOKE ALL ON FUNCTIONS FROM reader",
	"ALTER TABLE t OWNER TO %s", "ALTER TABLE t ADD b int, OWNER TO %s", "ALTER VIEW v OWNER TO %s", "ALTER SEQUENCE q OWNER TO %s",
	"ALTER FUNCTION f() OWNER TO %s", "ALTER SCHEMA s OWNER TO %s", "ALTER TYPE ty OWNER TO %s", "ALTER DOMAIN dom OWNER TO %s",
	"ALTER DATABASE orders OWNER TO %s", "ALTER LARGE OBJECT 4242 OWNER TO %s", "ALTER SERVER srv OWNER TO %s",
	"ALTER FOREIGN DATA WRAPPER fdw OWNER TO %s", "ALTER PUBLICATION pub OWNER TO %s", "ALTER COLLATION coll OWNER TO %s",
	"ALTER AGGREGATE agg(int) OWNER TO %s", "ALTER OPERATOR ===(int, int) OWNER TO %s", "ALTER TEXT SEARCH CONFIGURATION ts OWNER TO %s",
	"ALTER STATISTICS st OWNER TO %s", "ALTER EVENT TRIGGER et OWNER TO %s", "ALTER TABLESPACE pg_default OWNER TO %s",
	"ALTER TABLE ALL IN TABLESPACE pg_default OWNED BY %s SET TABLESPACE pg_default",
	"CREATE SCHEMA x AUTHORIZATION %s", "CREATE SCHEMA AUTHORIZATION %s", "CREATE SCHEMA x CREATE TABLE y (a int) GRANT SELECT ON y TO %s",
	"CREATE DATABASE x OWNER %s", "CREATE DATABASE x WITH OWNER = %s TEMPLATE template0", "CREATE TABLESPACE x OWNER %s LOCATION '/nowhere'",
	"REASSIGN OWNED BY %s TO postgres", "REASSIGN OWNED BY reader TO %s", "DROP OWNED BY %s", "DROP OWNED BY reader, %s CASCADE",
	"CREATE POLICY x ON t TO %s", "CREATE POLICY x ON t TO reader, %s USING (true)", "ALTER POLICY pol ON t TO %s",
	"CREATE USER MAPPING FOR %s SERVER srv", "ALTER USER MAPPING FOR %s SERVER srv OPTIONS (ADD a 'b')", "DROP USER MAPPING FOR %s SERVER srv",
	"SET ROLE %s", "SET LOCAL ROLE %s", "SET SESSION AUTHORIZATION %s", "SET role TO %s", "SET session_authorization = %s",
	`SET "RoLe" = %s`, "SET ROLE %s; SELECT 1", "SELECT 1; SET ROLE %s", "BEGIN; GRANT %s TO reader; COMMIT",
	"/* ; */ SET -- x\n SESSION ROLE %s", "CREATE FUNCTION x() RETURNS int LANGUAGE sql SET role = %s AS 'SELECT 1'",
}

// namingByText are statements that name a role: %s, as a string.
var namingByText = []string{
	"SET ROLE %s", "SET SESSION AUTHORIZATION %s", "SET role = %s", "SET SESSION session_authorization TO %s", "CREATE DATABASE x OWNER %s",
	"CREATE FUNCTION x() RETURNS int LANGUAGE sql SET role = %s AS 'SELECT 1'",
}

// Statements that a server takes with a role that does not exist, and what takes them back.
var (
	harmless = []string{
		"DROP ROLE IF EXISTS %s", "DROP USER MAPPING IF EXISTS FOR %s SERVER srv", "ALTER ROLE reader SET role = %s",
		"ALTER DATABASE orders SET role TO %s", "ALTER FUNCTION f() SET role TO %s", "REVOKE reader FROM postgres GRANTED BY %s",
		"CREATE POLICY x ON t TO PUBLIC, %s",
	}
	harmlessByText = []string{"ALTER FUNCTION f() SET session_authorization TO %s", "ALTER ROLE reader SET session_authorization = %s"}
)

const takenBack = `ALTER ROLE reader RESET ALL; ALTER DATABASE orders RESET ALL; ALTER FUNCTION f() RESET ALL; DROP POLICY IF EXISTS x ON t`

// objects are what those are about.
const objects = `CREATE ROLE reader; CREATE TABLE t (a int, b2 int); CREATE VIEW v AS SELECT 1; CREATE SEQUENCE q; CREATE SCHEMA s;
	CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE ty AS (a int); CREATE DOMAIN dom AS int;
	SELECT lo_create(4242); CREATE FOREIGN DATA WRAPPER fdw; CREATE SERVER srv FOREIGN DATA WRAPPER fdw; CREATE PUBLICATION pub;
	CREATE COLLATION coll FROM "C"; CREATE AGGREGATE agg(int) (sfunc = int4pl, stype = int);
	CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq); CREATE TEXT SEARCH CONFIGURATION ts (copy = simple);
	CREATE STATISTICS st ON a, b2 FROM t; CREATE POLICY pol ON t;
	CREATE FUNCTION etf() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER et ON sql_drop EXECUTE FUNCTION etf()`

// everythingOf is all that the cluster knows of a role.
func everythingOf(t *testing.T, role string) string {
	t.Helper()
	return scoped().Psql(t, "postgres", strings.NewReplacer("$1", scope.QuoteLiteral(role)).Replace(`
		SELECT to_json(a) FROM pg_authid a WHERE rolname = $1;
		SELECT to_json(m)::jsonb - 'oid' FROM pg_auth_members m WHERE $1::regrole IN (roleid, member, grantor) ORDER BY roleid, member;
		SELECT to_json(d) FROM pg_shdepend d WHERE refobjid = $1::regrole ORDER BY dbid, classid, objid, objsubid, deptype;
		SELECT to_jsonb(s) FROM pg_db_role_setting s WHERE setrole = $1::regrole OR $1 = ANY (setconfig) OR 'role=' || $1 = ANY (setconfig) ORDER BY 1;
		SELECT shobj_description($1::regrole, 'pg_authid');
		SELECT datname, datacl, datdba FROM pg_database WHERE datname IN ('orders', 'billing') ORDER BY 1`))
}

// isolated makes two databases, orders and billing, with roles reader and clerk; clerk may log in.
func isolated(t *testing.T, change ...func(*proxy.Options)) endpoint {
	t.Helper()
	database(t, scoped(), "orders")
	database(t, scoped(), "billing")
	first := start(t, scoped(), permissive(t))
	for name, sql := range map[string]string{
		"orders": objects,
		"billing": `CREATE ROLE clerk LOGIN REPLICATION PASSWORD 'secret'; CREATE ROLE boss; GRANT clerk TO boss; CREATE TABLE ledger (a int);
			GRANT SELECT ON ledger TO clerk; CREATE SCHEMA AUTHORIZATION clerk; ALTER ROLE clerk SET work_mem = '5MB'; COMMENT ON ROLE clerk IS 'bills'`,
	} {
		if got := first.open(t, name, "postgres").query(sql); slices.ContainsFunc(got, isError) {
			t.Fatalf("database %s: %q", name, got)
		}
	}
	return start(t, scoped(), append([]func(*proxy.Options){permissive(t), quiet}, change...)...)
}

func isError(line string) bool { return strings.HasPrefix(line, "ERROR ") }

// TestIsolation tries, in database orders, to reach a role of database billing, in every statement that takes a role and
// under every spelling. In transparent mode a role's own name in the cluster is no name either.
func TestIsolation(t *testing.T) {
	spellings := []string{"billing_clerk", `"billing_clerk"`, `U&"billing\005fclerk"`, `U&"billing!005fcler!006b" UESCAPE '!'`, "BILLING_Clerk", "clerk"}
	texts := []string{"'billing_clerk'", `E'billing\x5fclerk'`, `U&'billing\005fclerk'`, "$$billing_clerk$$", "'billing_'\n'clerk'", "'clerk'"}
	for _, c := range []struct {
		mode             scope.Mode
		spellings, texts []string
		victim           string
	}{
		{scope.Transparent, spellings, texts, "billing_clerk"},
		{scope.Explicit, spellings, texts, "billing_clerk"},
		{scope.Explicit, []string{"DBONLY billing_clerk", "DBONLY clerk"}, nil, "billing_clerk"},
		{scope.Transparent, []string{"orders_reader", `"orders_reader"`}, []string{"'orders_reader'"}, "orders_reader"},
		{scope.Transparent, []string{"pgscope_db_billing", "pgscope_db_orders"}, []string{"'pgscope_db_orders'"}, "pgscope_db_orders"},
		{scope.Explicit, []string{"pgscope_db_billing", "pgscope_db_orders"}, []string{"'pgscope_db_orders'"}, "pgscope_db_orders"},
	} {
		t.Run(fmt.Sprintf("%s %s", c.mode, c.spellings[0]), func(t *testing.T) {
			via := isolated(t, func(o *proxy.Options) { o.Mode = c.mode })
			if c.mode == scope.Explicit {
				scoped().Psql(t, "orders", "CREATE ROLE reader") // what the statements say besides
			}
			d := via.open(t, "orders", "postgres")
			before := everythingOf(t, c.victim)
			try := func(template, spelling string, mayPass bool) {
				t.Helper()
				sql := fmt.Sprintf(template, spelling)
				got := d.query(sql)
				if !mayPass && !slices.ContainsFunc(got, isError) {
					t.Errorf("%s: %q", sql, got)
				}
				if got := d.query("ROLLBACK; SELECT current_user, session_user; RESET SESSION AUTHORIZATION"); !slices.Contains(got, `row "postgres" "postgres"`) {
					t.Errorf("after %s: %q", sql, got)
				}
				if mayPass {
					d.query(takenBack)
				}
			}
			for _, s := range c.spellings {
				for _, template := range naming {
					try(template, s, false)
				}
				for _, template := range harmless {
					try(template, s, true)
				}
			}
			for _, s := range c.texts {
				for _, template := range namingByText {
					try(template, s, false)
				}
				for _, template := range harmlessByText {
					try(template, s, true)
				}
			}
			if diff := cmp.Diff(before, everythingOf(t, c.victim)); diff != "" {
				t.Errorf("%s before (-) and after (+):\n%s", c.victim, diff)
			}
		})
	}
}

// TestIsolationOfNewNames makes roles whose names another database's roles have.
func TestIsolationOfNewNames(t *testing.T) {
	for _, c := range []struct {
		mode  scope.Mode
		sql   string
		want  string
		roles []string
	}{
		{scope.Transparent, "CREATE ROLE billing_clerk", "done CREATE ROLE", []string{"orders_billing_clerk"}},
		{scope.Transparent, "CREATE ROLE clerk", "done CREATE ROLE", []string{"orders_clerk"}},
		{scope.Transparent, "ALTER ROLE reader RENAME TO clerk", "done ALTER ROLE", []string{"orders_clerk"}},
		{scope.Explicit, "CREATE ROLE billing_clerk", "ERROR 42710", nil},
		{scope.Explicit, "ALTER ROLE orders_reader RENAME TO billing_clerk", "ERROR ", nil},
		{scope.Explicit, "CREATE DBONLY ROLE clerk", "done CREATE ROLE", []string{"orders_clerk"}},
	} {
		t.Run(fmt.Sprintf("%s %s", c.mode, c.sql), func(t *testing.T) {
			via := isolated(t, func(o *proxy.Options) { o.Mode = c.mode })
			before := everythingOf(t, "billing_clerk")
			if got := via.open(t, "orders", "postgres").query(c.sql); !strings.HasPrefix(got[0], c.want) {
				t.Errorf("heard %q, want %s", got, c.want)
			}
			if diff := cmp.Diff(before, everythingOf(t, "billing_clerk")); diff != "" {
				t.Errorf("before (-) and after (+):\n%s", diff)
			}
			all := roles(t, scoped())
			for _, r := range c.roles {
				if !slices.Contains(all, r) {
					t.Errorf("roles %q, want %s", all, r)
				}
			}
		})
	}
}

// TestIsolationOfLogins logs in to database orders as a role of database billing.
func TestIsolationOfLogins(t *testing.T) {
	for name, options := range map[string][]func(*proxy.Options){
		"without admin": nil,
		"with admin":    {withAdmin(t, scoped())},
		"explicit":      {func(o *proxy.Options) { o.Mode = scope.Explicit }},
	} {
		t.Run(name, func(t *testing.T) {
			via := isolated(t, options...)
			for _, user := range []string{"billing_clerk", "clerk"} {
				for _, params := range [][]string{
					nil,
					{"replication", "database"},
					{"replication", "f"},
					{"options", "-c statement_timeout=1"},
					{"options", "-c pgscope.mode=off"},
					{"pgscope.mode", "explicit"},
				} {
					d := via.dial(t)
					d.say(startup(pgproto3.ProtocolVersion30, append([]string{"user", user, "database", "orders"}, params...)...))
					if d.hear(1) == nil {
						t.Errorf("%s logs in to orders with %q", user, params)
					}
					d.conn.Close()
				}
			}
			d := via.open(t, "billing", "clerk")
			want := `row "clerk"`
			if name == "explicit" { // as PostgreSQL
				want = `row "billing_clerk"`
			}
			if got := d.query("SELECT session_user"); got[1] != want {
				t.Errorf("clerk in billing: %q", got)
			}
		})
	}
}

// TestIsolationOfStartup names a role of database billing in the parameters that begin a session.
func TestIsolationOfStartup(t *testing.T) {
	via := isolated(t)
	for _, params := range [][]string{
		{"role", "billing_clerk"},
		{"ROLE", "billing_clerk"},
		{"session_authorization", "billing_clerk"},
		{"options", "-c role=billing_clerk"},
		{"options", "-crole=billing_clerk"},
		{"options", "--role=billing_clerk"},
		{"options", `-c Session\_Authorization=billing_clerk`},
		{"options", "--session-authorization=billing_clerk"},
	} {
		d := via.dial(t)
		d.say(startup(pgproto3.ProtocolVersion30, append([]string{"user", "postgres", "database", "orders"}, params...)...))
		if d.hear(1) == nil {
			if got := d.query("SELECT current_user, session_user"); got[1] != `row "postgres" "postgres"` {
				t.Errorf("%q: %q", params, got)
			}
		}
		d.conn.Close()
	}
}
