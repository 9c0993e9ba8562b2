package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// estate is a cluster of its own for the tests in this file: each begins and ends with no databases and roles but
// PostgreSQL's own and database "work".
var estate = sync.OnceValue(launch)

// households makes databases with roles: a group reader that may read table t, and app, a login in it.
func households(t *testing.T, via endpoint, names ...string) {
	t.Helper()
	c := estate()
	t.Cleanup(func() {
		c.Psql(t, "postgres", `
			SELECT format('DROP DATABASE %I WITH (FORCE)', datname) FROM pg_database WHERE datname !~ '^(postgres|template.)$' \gexec
			SELECT format('DROP OWNED BY %I CASCADE; DROP ROLE %1$I', rolname) FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)' \gexec`)
	})
	for _, name := range append(names, "work") {
		c.Psql(t, "postgres", "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	}
	for _, name := range names {
		via.psql(t, name, "postgres", `CREATE ROLE reader; CREATE USER app IN ROLE reader;
			CREATE TABLE t (a int); GRANT SELECT ON t TO reader;`)
	}
}

// lifecycle runs a proxy in front of that cluster.
func lifecycle(t *testing.T, change ...func(*proxy.Options)) endpoint {
	t.Helper()
	return start(t, estate(), append(change, func(o *proxy.Options) { o.Policy = allowAll(t) })...)
}

// speaker is a connection, with what it was told by notices, and one way to run statements.
type speaker struct {
	*pgx.Conn
	run  func(sql string) error
	said []string
}

// eachProtocol runs a test for each way to run a statement; call makes a connection that runs them so.
func eachProtocol(t *testing.T, f func(t *testing.T, call func(e endpoint, database, user string) *speaker)) {
	var prepared atomic.Int64
	for name, via := range map[string]func(*testing.T, *pgconn.PgConn, string) error{
		"simple": func(t *testing.T, c *pgconn.PgConn, sql string) error {
			_, err := c.Exec(t.Context(), sql).ReadAll()
			return err
		},
		"extended": func(t *testing.T, c *pgconn.PgConn, sql string) error {
			return c.ExecParams(t.Context(), sql, nil, nil, nil, nil).Read().Err
		},
		"prepared": func(t *testing.T, c *pgconn.PgConn, sql string) error {
			name := fmt.Sprint(prepared.Add(1))
			if _, err := c.Prepare(t.Context(), name, sql, nil); err != nil {
				return err
			}
			return c.ExecPrepared(t.Context(), name, nil, nil, nil).Read().Err
		},
	} {
		t.Run(name, func(t *testing.T) {
			f(t, func(e endpoint, database, user string) *speaker {
				s := e.speaker(t, database, user)
				s.run = func(sql string) error { return via(t, s.PgConn(), sql) }
				return s
			})
		})
	}
}

func (e endpoint) speaker(t *testing.T, database, user string) *speaker {
	t.Helper()
	config, err := pgx.ParseConfig(e.dsn(database, user))
	if err != nil {
		t.Fatal(err)
	}
	s := &speaker{}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		s.said = append(s.said, strings.TrimRight(strings.Join([]string{n.Severity, n.Message, n.Detail, n.Where}, "|"), "|"))
	}
	if s.Conn, err = pgx.ConnectConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) }) // the test may have broken it
	return s
}

func (s *speaker) must(t *testing.T, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := s.run(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var failed *pgconn.PgError
	if !errors.As(err, &failed) || failed.Code != code {
		t.Errorf("got %v, want SQLSTATE %s", err, code)
	}
}

func wantRoles(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, roles(t, estate()), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

func wantSaid(t *testing.T, s *speaker, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.said); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
	s.said = nil
}

// sweep runs a sweep on a direct connection to a database, and returns what it says.
func sweep(t *testing.T, database string) []string {
	t.Helper()
	s := direct(estate()).speaker(t, database, "postgres")
	warnings, err := provision.Sweep(t.Context(), s.PgConn())
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range s.said {
		s.said[i], _, _ = strings.Cut(line, "||PL/pgSQL function")
	}
	return append(s.said, warnings...)
}

var (
	ordersRoles  = []string{"orders_app", "orders_reader", "pgscope_db_orders"}
	billingRoles = []string{"billing_app", "billing_reader", "pgscope_db_billing"}
	bothRoles    = slices.Sorted(slices.Values(append(slices.Clone(ordersRoles), billingRoles...)))
)

func TestDropDatabaseDropsItsRoles(t *testing.T) {
	via := lifecycle(t)
	eachProtocol(t, func(t *testing.T, call func(endpoint, string, string) *speaker) {
		households(t, via, "orders", "billing")
		s := call(via, "work", "postgres")
		s.must(t, "DROP DATABASE orders")
		wantRoles(t, billingRoles...)
		wantSaid(t, s)
		s.must(t, "DROP DATABASE IF EXISTS orders", "DROP DATABASE billing WITH (FORCE)")
		wantRoles(t)
		wantSaid(t, s, `NOTICE|database "orders" does not exist, skipping`)
	})
}

func TestDropDatabaseTellsWhatStays(t *testing.T) {
	via := lifecycle(t)
	eachProtocol(t, func(t *testing.T, call func(endpoint, string, string) *speaker) {
		households(t, via, "orders")
		estate().Psql(t, "work", "CREATE TABLE kept (a int); ALTER TABLE kept OWNER TO orders_reader")
		s := call(via, "work", "postgres")
		s.must(t, "DROP DATABASE orders")
		wantSaid(t, s, `NOTICE|role "reader" of the dropped database "orders" could not be dropped|`+
			`role "orders_reader" cannot be dropped because some objects depend on it: owner of table kept`)
		wantRoles(t, "orders_reader", "pgscope_db_orders")

		estate().Psql(t, "work", "DROP TABLE kept")
		if diff := cmp.Diff([]string{`NOTICE|the roles of the dropped database "orders" were dropped`}, sweep(t, "work")); diff != "" {
			t.Errorf("the sweep said (-want +got):\n%s", diff)
		}
		wantRoles(t)
		if said := sweep(t, "work"); said != nil {
			t.Errorf("the second sweep says %q", said)
		}
	})
}

// TestNamesakeOfADroppedDatabase: a role that had to stay keeps the marker, which the next database of that name goes on
// with. The markers of its schemas are new. They are one database's all the same, to a sweep, a renaming and a drop.
func TestNamesakeOfADroppedDatabase(t *testing.T) {
	via := lifecycle(t)
	for _, swept := range []bool{false, true} {
		t.Run(fmt.Sprintf("swept=%t", swept), func(t *testing.T) {
			households(t, via, "orders")
			estate().Psql(t, "work", "CREATE TABLE kept (a int); ALTER TABLE kept OWNER TO orders_reader")
			s := via.speaker(t, "work", "postgres")
			s.run = func(sql string) error { _, err := s.Exec(t.Context(), sql); return err }
			s.must(t, "DROP DATABASE orders", "CREATE DATABASE orders")
			via.psql(t, "orders", "postgres", "CREATE SCHEMA sales;\nCREATE ROLE sales.clerk;\nCREATE ROLE app;\n")
			wantRoles(t, sorted(ordersRoles, salesRoles)...)
			if swept {
				want := []string{
					`NOTICE|the markers and roles of database "orders" were made to fit it`,
					`database "work" has objects that depend on role "orders_reader" of database "orders"`,
				}
				if diff := cmp.Diff(want, sweep(t, "work")); diff != "" {
					t.Errorf("the sweep said (-want +got):\n%s", diff)
				}
				wantRoles(t, sorted(ordersRoles, salesRoles)...)
			}
			s.must(t, "ALTER DATABASE orders RENAME TO o")
			wantRoles(t, "o_app", "o_reader", "o_sales_clerk", "pgscope_db_o", "pgscope_schema_o_sales")
			s.must(t, "ALTER DATABASE o RENAME TO orders")
			estate().Psql(t, "work", "DROP TABLE kept")
			s.must(t, "DROP DATABASE orders")
			wantRoles(t)
		})
	}
	t.Run("dropped at once", func(t *testing.T) {
		households(t, via, "orders")
		estate().Psql(t, "work", "CREATE TABLE kept (a int); ALTER TABLE kept OWNER TO orders_reader")
		s := via.speaker(t, "work", "postgres")
		s.run = func(sql string) error { _, err := s.Exec(t.Context(), sql); return err }
		s.must(t, "DROP DATABASE orders", "CREATE DATABASE orders")
		estate().Psql(t, "work", "DROP TABLE kept")
		s.must(t, "DROP DATABASE orders")
		wantRoles(t)
	})
}

// TestDropDatabaseAsAnOwner: who may drop the database, but not its roles, is told so.
func TestDropDatabaseAsAnOwner(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders")
	estate().Psql(t, "work", "CREATE ROLE owner LOGIN; ALTER DATABASE orders OWNER TO owner")
	out := via.psql(t, "work", "owner", "DROP DATABASE orders;")
	for _, want := range []string{`NOTICE:  role "reader" of the dropped database "orders" could not be dropped`, "permission denied to drop role", "DROP DATABASE\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	wantRoles(t, "orders_app", "orders_reader", "owner", "pgscope_db_orders")
}

func TestDropDatabaseThatFailsChangesNothing(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders")
	inside := via.connect(t, "orders", "app")
	s := via.speaker(t, "work", "postgres")
	for sql, code := range map[string]string{
		"DROP DATABASE orders":                    "55006", // object_in_use
		"ALTER DATABASE orders RENAME TO sales":   "55006",
		"BEGIN; DROP DATABASE orders":             "25001", // active_sql_transaction
		"ROLLBACK; SELECT 1; DROP DATABASE work2": "25001",
		"DROP DATABASE work":                      "55006", // the current one
		"DROP DATABASE nosuch":                    "3D000",
	} {
		_, err := s.PgConn().Exec(t.Context(), sql).ReadAll()
		wantCode(t, err, code)
		if _, err := s.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	wantRoles(t, ordersRoles...)
	if _, err := inside.Exec(t.Context(), "SELECT * FROM t"); err != nil {
		t.Error(err)
	}
}

func TestDropDatabaseAsPsqlShowsIt(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders")
	estate().Psql(t, "work", "CREATE TABLE kept (a int); ALTER TABLE kept OWNER TO orders_reader")
	got := via.psql(t, "work", "postgres", "DROP DATABASE orders;\nDROP DATABASE orders;\n\\echo done\n")
	const want = `DROP DATABASE orders;
NOTICE:  role "reader" of the dropped database "orders" could not be dropped
DETAIL:  role "orders_reader" cannot be dropped because some objects depend on it: owner of table kept
HINT:  Remove what keeps it, then run pgscope-proxy init --sweep.
DROP DATABASE
DROP DATABASE orders;
ERROR:  database "orders" does not exist
\echo done
done
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDatabaseWithoutMarker(t *testing.T) {
	via := lifecycle(t)
	eachProtocol(t, func(t *testing.T, call func(endpoint, string, string) *speaker) {
		households(t, via, "orders")
		s := call(via, "work", "postgres")
		s.must(t, "CREATE DATABASE a", "ALTER DATABASE a RENAME TO b", "DROP DATABASE b")
		wantSaid(t, s)
		wantRoles(t, ordersRoles...)
		if _, err := s.PgConn().Exec(t.Context(), "SELECT 1; ALTER DATABASE orders CONNECTION LIMIT 5").ReadAll(); err != nil {
			t.Error(err)
		}
	})
}

func TestRenameDatabaseCarriesItsRoles(t *testing.T) {
	via := lifecycle(t)
	eachProtocol(t, func(t *testing.T, call func(endpoint, string, string) *speaker) {
		households(t, via, "orders", "billing")
		s := call(via, "work", "postgres")
		s.must(t, "BEGIN", "ALTER DATABASE orders RENAME TO sales", "ROLLBACK")
		wantRoles(t, bothRoles...)

		s.must(t, "ALTER DATABASE orders RENAME TO sales")
		wantSaid(t, s)
		wantRoles(t, append(slices.Clone(billingRoles[:2]), "pgscope_db_billing", "pgscope_db_sales", "sales_app", "sales_reader")...)
		in := via.connect(t, "sales", "app")
		if _, err := in.Exec(t.Context(), "SELECT * FROM t"); err != nil {
			t.Error(err)
		}
		via.psql(t, "sales", "postgres", "CREATE ROLE late;")
		if err := in.Close(t.Context()); err != nil {
			t.Error(err)
		}
		// To a name that makes the names of some roles those that others had.
		s.must(t, "BEGIN", "ALTER DATABASE sales RENAME TO sales_x", "COMMIT", "DROP DATABASE sales_x")
		wantRoles(t, billingRoles...)
		if said := sweep(t, "work"); said != nil {
			t.Errorf("the sweep says %q", said)
		}
	})
}

func TestRenameDatabaseTellsOfPasswords(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders")
	estate().Psql(t, "work", "SET password_encryption = 'md5'; ALTER ROLE orders_app PASSWORD 'x'")
	got := via.psql(t, "work", "postgres", "ALTER DATABASE orders RENAME TO sales;\n")
	if want := "ALTER DATABASE orders RENAME TO sales;\nNOTICE:  MD5 password cleared because of role rename\nALTER DATABASE\n"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestRenameDatabaseThatCannotBe(t *testing.T) {
	via := lifecycle(t)
	long := strings.Repeat("l", 60)
	eachProtocol(t, func(t *testing.T, call func(endpoint, string, string) *speaker) {
		households(t, via, "orders", "billing")
		estate().Psql(t, "work", "CREATE ROLE sales_reader")
		s := call(via, "work", "postgres")
		for _, status := range []byte{'I', 'T'} {
			for sql, code := range map[string]string{
				"ALTER DATABASE orders RENAME TO sales":   "42710", // sales_reader exists
				"ALTER DATABASE orders RENAME TO billing": "42P04", // duplicate_database
				"ALTER DATABASE orders RENAME TO pg_x":    "42939",
				"ALTER DATABASE orders RENAME TO " + long: "42622",
			} {
				if status == 'T' {
					s.must(t, "BEGIN")
				}
				wantCode(t, s.run(sql), code)
				if got, want := s.PgConn().TxStatus(), map[byte]byte{'I': 'I', 'T': 'E'}[status]; got != want {
					t.Errorf("%s: status %c", sql, got)
				}
				s.must(t, "ROLLBACK")
				s.said = nil
			}
		}
		wantRoles(t, append(slices.Clone(bothRoles), "sales_reader")...)
		s.must(t, "ALTER DATABASE billing RENAME TO bills")
	})
	households(t, via, "orders")
	s := via.speaker(t, "work", "postgres")
	_, err := s.PgConn().Exec(t.Context(), "SELECT 1; ALTER DATABASE orders RENAME TO sales").ReadAll()
	wantCode(t, err, "0A000")
	wantRoles(t, ordersRoles...)
}

// TestRenameFailsAsTheServerSays: where the server would not rename the database or schema, its own
// error comes, and not one about roles.
func TestRenameFailsAsTheServerSays(t *testing.T) {
	via := lifecycle(t)
	eachProtocol(t, func(t *testing.T, call func(endpoint, string, string) *speaker) {
		households(t, via, "orders", "billing")
		schemaRoles(t)
		estate().Psql(t, "orders", `CREATE ROLE dba LOGIN CREATEDB CREATEROLE; CREATE ROLE owner LOGIN; ALTER DATABASE billing OWNER TO owner;
			CREATE SCHEMA yours AUTHORIZATION dba`)
		for _, c := range []struct{ database, user, sql, want string }{
			{"work", "postgres", "ALTER DATABASE orders RENAME TO billing", `database "billing" already exists`},
			{"work", "dba", "ALTER DATABASE orders RENAME TO billing", "must be owner of database orders"},
			{"work", "dba", "ALTER DATABASE orders RENAME TO sales", "must be owner of database orders"},
			{"work", "owner", "ALTER DATABASE billing RENAME TO sales", "permission denied to rename database"},
			{"orders", "postgres", "ALTER DATABASE orders RENAME TO sales", "current database cannot be renamed"},
			{"orders", "postgres", "ALTER SCHEMA sales RENAME TO shop", `schema "shop" already exists`},
			{"orders", "dba", "ALTER SCHEMA sales RENAME TO trade", "must be owner of schema sales"},
			{"orders", "dba", "ALTER SCHEMA yours RENAME TO shop", `schema "shop" already exists`},
		} {
			s := call(via, c.database, c.user)
			err := s.run(c.sql)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, as %s: %v, want %s", c.sql, c.user, err, c.want)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		wantRoles(t, sorted(bothRoles, salesRoles, shopRoles, []string{"dba", "owner"})...)
	})
}

// TestRenameCarriesSettings: a role that settings of roles and databases set is set under its new name.
func TestRenameCarriesSettings(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders", "billing")
	estate().Psql(t, "work", "CREATE ROLE guest LOGIN; ALTER ROLE guest IN DATABASE billing SET role = 'billing_reader'")
	via.psql(t, "orders", "postgres", `ALTER ROLE app SET role = 'reader'; GRANT reader TO guest; ALTER ROLE guest IN DATABASE orders SET role = 'reader';
		ALTER DATABASE orders SET role = 'reader'`)
	s := via.speaker(t, "work", "postgres")
	s.run = func(sql string) error { _, err := s.Exec(t.Context(), sql); return err }
	s.must(t, "ALTER DATABASE orders RENAME TO sales")
	wantSaid(t, s)
	got := estate().Psql(t, "work", `SELECT coalesce(d.datname, '-'), coalesce(r.rolname, '-'), c.setconfig FROM pg_db_role_setting c
		LEFT JOIN pg_roles r ON r.oid = c.setrole LEFT JOIN pg_database d ON d.oid = c.setdatabase ORDER BY 1, 2`)
	if want := "-|sales_app|{role=sales_reader}\nbilling|guest|{role=billing_reader}\nsales|-|{role=sales_reader}\nsales|guest|{role=sales_reader}\n"; got != want {
		t.Errorf("settings\n%swant\n%s", got, want)
	}
	in := via.speaker(t, "sales", "app")
	wantSaid(t, in)
	var role string
	if err := in.QueryRow(t.Context(), "SELECT current_user").Scan(&role); err != nil || role != "reader" {
		t.Errorf("works as %q: %v", role, err)
	}
}

func TestRenameErrorsReadWell(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders")
	estate().Psql(t, "work", "CREATE ROLE sales_reader")
	got := via.psql(t, "work", "postgres", "ALTER DATABASE orders RENAME TO sales;\nSELECT 1 \\; ALTER DATABASE orders RENAME TO x;\n")
	const want = `ALTER DATABASE orders RENAME TO sales;
ERROR:  role "sales_reader" already exists
DETAIL:  With database "orders", its roles get new names: "orders_..." becomes "sales_...".
HINT:  Choose another name, or rename that role first.
SELECT 1 \; ALTER DATABASE orders RENAME TO x;
 ?column? 
----------
        1
(1 row)

ERROR:  "orders", which has roles of its own, cannot be renamed by one of several statements in a string
LINE 1: SELECT 1 ; ALTER DATABASE orders RENAME TO x;
                   ^
HINT:  Send the statement by itself. It may stand in a transaction.
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCopyOfAnEnrolledDatabaseIsRefused(t *testing.T) {
	via := lifecycle(t)
	eachProtocol(t, func(t *testing.T, call func(endpoint, string, string) *speaker) {
		households(t, via, "orders")
		s := call(via, "work", "postgres")
		wantCode(t, s.run("CREATE DATABASE copy TEMPLATE orders"), "0A000")
		wantCode(t, s.run("CREATE DATABASE copy TEMPLATE nosuch"), "3D000")
		s.must(t, "CREATE DATABASE copy TEMPLATE template0", "CREATE DATABASE pg_other TEMPLATE copy")
	})
}

// TestSweep: what direct connections did is repaired when the proxy starts.
func TestSweep(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders", "billing", "copied")
	c := estate()
	c.Psql(t, "postgres", "CREATE ROLE dba CREATEROLE; GRANT pgscope_db_billing TO dba WITH ADMIN OPTION")
	c.Psql(t, "postgres", "CREATE DATABASE copy TEMPLATE copied")
	c.Psql(t, "postgres", "ALTER DATABASE orders RENAME TO sales")
	c.Psql(t, "postgres", "DROP DATABASE billing")
	restored := c.Psql(t, "postgres", `SELECT format('COMMENT ON ROLE pgscope_db_copied IS %L', regexp_replace(
		shobj_description('pgscope_db_copied'::regrole, 'pg_authid'), '[0-9]+', '4000000000')) \gexec
		SELECT oid FROM pg_database WHERE datname = 'copied'`)

	want := []string{
		`NOTICE|the markers and roles of database "copied" were made to fit it`,
		`NOTICE|the markers and roles of database "sales" were made to fit it`,
		`NOTICE|the roles of the dropped database "billing" were dropped`,
		`database "copy" has objects that depend on role "copied_reader" of database "copied"`,
	}
	got := sweep(t, "work")
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("the sweep said (-want +got):\n%s", diff)
	}
	wantRoles(t, "copied_app", "copied_reader", "dba", "pgscope_db_copied", "pgscope_db_sales", "sales_app", "sales_reader")
	if comment := c.Psql(t, "postgres", "SELECT shobj_description('pgscope_db_copied'::regrole, 'pg_authid')"); !strings.Contains(comment, `"oid":`+strings.TrimSpace(restored)+",") {
		t.Errorf("comment %s, OID %s", comment, restored)
	}
	if said := sweep(t, "work"); len(said) != 1 || said[0] != want[3] {
		t.Errorf("the second sweep says %q", said)
	}
}

// schemaRoles gives database orders schemas with roles of their own: sales.clerk and shop.clerk.
func schemaRoles(t *testing.T) {
	t.Helper()
	for _, schema := range []string{"sales", "shop"} {
		estate().Psql(t, "orders", fmt.Sprintf(`
			CREATE SCHEMA %[1]s;
			CREATE ROLE pgscope_schema_orders_%[1]s IN ROLE pgscope_db_orders;
			CREATE ROLE orders_%[1]s_clerk IN ROLE pgscope_schema_orders_%[1]s;
			SELECT format('COMMENT ON ROLE pgscope_schema_orders_%[1]s IS %%L',
				'{"oid":' || d.oid || ',"database":"orders","prefix":"orders","schema":"%[1]s","schemaoid":' || n.oid || ',"version":1}')
			FROM pg_database d, pg_namespace n WHERE datname = 'orders' AND nspname = '%[1]s' \gexec
			CREATE TABLE %[1]s.t (a int); GRANT SELECT ON %[1]s.t TO orders_%[1]s_clerk;`, schema))
	}
}

var (
	salesRoles = []string{"orders_sales_clerk", "pgscope_schema_orders_sales"}
	shopRoles  = []string{"orders_shop_clerk", "pgscope_schema_orders_shop"}
)

func sorted(lists ...[]string) []string { return slices.Sorted(slices.Values(slices.Concat(lists...))) }

func TestDropSchemaDropsItsRoles(t *testing.T) {
	via := lifecycle(t)
	eachProtocol(t, func(t *testing.T, call func(endpoint, string, string) *speaker) {
		households(t, via, "orders")
		schemaRoles(t)
		s := call(via, "orders", "postgres")
		s.must(t, "BEGIN", "DROP SCHEMA sales CASCADE")
		inside := "SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles WHERE rolname = 'orders_sales_clerk'"
		var n int
		if err := s.QueryRow(t.Context(), inside).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d roles of the schema in the transaction, %v", n, err)
		}
		s.must(t, "ROLLBACK")
		wantRoles(t, sorted(ordersRoles, salesRoles, shopRoles)...)

		s.must(t, "BEGIN", "SAVEPOINT a", "DROP SCHEMA sales CASCADE", "ROLLBACK TO a", "COMMIT")
		wantRoles(t, sorted(ordersRoles, salesRoles, shopRoles)...)
		wantCode(t, s.run("DROP SCHEMA sales"), "2BP01") // it has a table

		s.must(t, "DROP SCHEMA sales CASCADE")
		wantRoles(t, sorted(ordersRoles, shopRoles)...)
		s.must(t, "CREATE SCHEMA other", "DROP SCHEMA IF EXISTS shop, other, nosuch CASCADE")
		wantRoles(t, ordersRoles...)
	})
}

func TestDropSchemaTellsWhatStays(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders")
	schemaRoles(t)
	estate().Psql(t, "orders", "GRANT SELECT ON t TO orders_sales_clerk")
	s := via.speaker(t, "orders", "postgres")
	if _, err := s.PgConn().Exec(t.Context(), "BEGIN; DROP SCHEMA sales, shop CASCADE; COMMIT").ReadAll(); err != nil {
		t.Fatal(err)
	}
	want := `NOTICE|role "sales.clerk" of the dropped schema "sales" could not be dropped|` +
		`role "orders_sales_clerk" cannot be dropped because some objects depend on it: privileges for table t`
	if !slices.Contains(s.said, want) {
		t.Errorf("said %q", s.said)
	}
	wantRoles(t, sorted(ordersRoles, salesRoles)...)
}

func TestRenameSchemaCarriesItsRoles(t *testing.T) {
	via := lifecycle(t)
	eachProtocol(t, func(t *testing.T, call func(endpoint, string, string) *speaker) {
		households(t, via, "orders")
		schemaRoles(t)
		s := call(via, "orders", "postgres")
		s.must(t, "BEGIN", "ALTER SCHEMA sales RENAME TO trade", "ROLLBACK")
		wantRoles(t, sorted(ordersRoles, salesRoles, shopRoles)...)
		s.must(t, "ALTER SCHEMA sales RENAME TO trade")
		trade := []string{"orders_trade_clerk", "pgscope_schema_orders_trade"}
		wantRoles(t, sorted(ordersRoles, trade, shopRoles)...)
		s.must(t, "DROP SCHEMA trade CASCADE")
		wantRoles(t, sorted(ordersRoles, shopRoles)...)
		s.must(t, "CREATE SCHEMA plain", "ALTER SCHEMA plain RENAME TO plainer")
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := call(via, "work", "postgres")
		w.must(t, "ALTER DATABASE orders RENAME TO sales")
		wantRoles(t, "pgscope_db_sales", "pgscope_schema_sales_shop", "sales_app", "sales_reader", "sales_shop_clerk")
		w.must(t, "DROP DATABASE sales")
		wantRoles(t)
	})
}

// TestPipelinedAround: what the client sends without waiting is answered in order, around a statement with an aftermath.
func TestPipelinedAround(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders")
	schemaRoles(t)
	s := via.speaker(t, "orders", "postgres")
	p := s.PgConn().StartPipeline(t.Context())
	statements := []string{
		"SELECT 1", "DROP SCHEMA sales CASCADE", "SELECT 2", "sync", "ALTER SCHEMA shop RENAME TO store", "CREATE ROLE late", "sync",
		"SELECT 3", "DROP SCHEMA store CASCADE", "SELECT nosuch", "SELECT 4", "sync", "SELECT 5", "sync",
	}
	for _, sql := range statements {
		if sql == "sync" {
			if err := p.Sync(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range statements {
		switch r, err := p.GetResults(); r := r.(type) {
		case *pgconn.ResultReader:
			tag, err := r.Close()
			got = append(got, fmt.Sprint(tag, err))
		case *pgconn.PipelineSync:
			got = append(got, "sync")
		default:
			got = append(got, fmt.Sprint(err))
		}
	}
	if err := p.Close(); err != nil {
		got = append(got, err.Error())
	}
	want := []string{
		"SELECT 1 <nil>", "DROP SCHEMA <nil>", "SELECT 1 <nil>", "sync", "ALTER SCHEMA <nil>", "CREATE ROLE <nil>", "sync",
		"SELECT 1 <nil>", "DROP SCHEMA <nil>", `ERROR: column "nosuch" does not exist (SQLSTATE 42703)`, "sync", "SELECT 1 <nil>", "sync", "<nil>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	wantRoles(t, sorted(ordersRoles, []string{"orders_late", "orders_store_clerk", "pgscope_schema_orders_store"})...)
}

// TestCopyBehindDropSchema: a client that must wait for an aftermath may still send what the server asks it for before.
func TestCopyBehindDropSchema(t *testing.T) {
	via := lifecycle(t)
	households(t, via, "orders")
	schemaRoles(t)
	d := via.open(t, "orders", "postgres")
	d.say(&query{String: "DROP SCHEMA sales, shop CASCADE; COPY t FROM STDIN"})
	until[*pgproto3.CopyInResponse](d)
	d.say(&copyData{Data: []byte("1\n2\n")}, &pgproto3.CopyDone{}, &query{String: "SELECT count(*) FROM t"})
	d.ready(2)
	if said := strings.Join(d.take(), "\n"); !strings.Contains(said, "done COPY 2\nready I\n") || !strings.Contains(said, `row "2"`) {
		t.Errorf("heard %s", said)
	}
	wantRoles(t, ordersRoles...)
}

// interrupted drops database orders through a proxy, and returns when the proxy is about to drop its roles and cannot go
// on. release ends what the server still does, and lets the roles be dropped.
func interrupted(t *testing.T, via endpoint, c *pgtest.Cluster) (release func()) {
	t.Helper()
	c.Psql(t, "postgres", "CREATE DATABASE orders")
	via.psql(t, "orders", "postgres", "CREATE ROLE reader; CREATE USER app IN ROLE reader;")
	other := direct(c).connect(t, "postgres", "postgres")
	// A role that a transaction grants something to cannot be dropped until its end.
	if _, err := other.Exec(t.Context(), "CREATE TABLE t (a int); BEGIN; GRANT SELECT ON t TO orders_reader, orders_app, pgscope_db_orders"); err != nil {
		t.Fatal(err)
	}
	s := via.speaker(t, "postgres", "postgres")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = s.PgConn().Exec(t.Context(), "DROP DATABASE orders").ReadAll() // it is cut off
	}()
	t.Cleanup(func() { <-ended })
	watcher := direct(c).connect(t, "postgres", "postgres") // the other's transaction has one view of the activity
	for waiting := false; !waiting; {
		err := watcher.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ '^DO ')").Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Psql(t, "postgres", "SELECT count(*) FROM pg_database WHERE datname = 'orders'"); n != "0\n" {
		t.Error("the database is not dropped yet")
	}
	if got := roles(t, c); len(got) != 3 {
		t.Errorf("roles %v", got)
	}
	return func() {
		c.Psql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
		if _, err := other.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
	}
}

// repaired starts a proxy with an admin connection, and waits until it has swept.
func repaired(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	sweepers(t, c)
	swept(t, c)
}

func sweepers(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	admin, err := pgconn.ParseConfig(c.DSN("sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	start(t, c, func(o *proxy.Options) { o.Admin = admin })
	start(t, c, func(o *proxy.Options) { o.Admin = admin }) // side by side
}

func swept(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	for len(roles(t, c)) > 0 {
		if t.Context().Err() != nil {
			t.Fatal("never swept")
		}
	}
}

func TestServerDiesBeforeTheRolesAreDropped(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	via := start(t, c)
	interrupted(t, via, c)
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	sweepers(t, c) // which wait for it
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	swept(t, c)
}

func TestProxyDiesBeforeTheRolesAreDropped(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	via, kill := run(t, c, func(o *proxy.Options) { o.Grace = time.Nanosecond })
	release := interrupted(t, via, c)
	kill()
	release()
	repaired(t, c)
}
