package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// goldenCase matches a case of rewrite/testdata that is about a row of docs/reference-coverage.md: its name, the settings
// that it needs, and its text.
var goldenCase = regexp.MustCompile(`(?m)^== (a\d+_\S+)(.*)\n((?s:.*?))\n----\n`)

// otherSession matches settings that make a session another one: the tests of texts have those.
var otherSession = regexp.MustCompile(`\b(encoding|strings|server|version|unenrolled|deny)\b`)

// leaves matches statements that reach beyond the session's database, or may not stand in a transaction.
var leaves = regexp.MustCompile(`(?i)\b(database|tablespace|subscription|system)\b|\b(commit|rollback|prepare transaction|vacuum|discard)\b`)

// row is a golden case that is sent to a real server.
type row struct{ name, number, sql string }

// goldenRows returns the cases that stay in the session's database, or those that leave it.
func goldenRows(t *testing.T, leaving bool) (list []row) {
	t.Helper()
	files, err := filepath.Glob("../../rewrite/testdata/*.sqltest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range goldenCase.FindAllStringSubmatch(string(text), -1) {
			if otherSession.MatchString(c[2]) || leaves.MatchString(c[3]) != leaving {
				continue
			}
			number, _, _ := strings.Cut(c[1], "_")
			list = append(list, row{c[1], number, strings.ReplaceAll(c[3], "<CR>", "\r")})
		}
	}
	return list
}

// protocols are the two ways to send a text.
var protocols = map[string]func(d *dialogue, sql string) []string{
	"simple": (*dialogue).query,
	"extended": func(d *dialogue, sql string) []string {
		d.take()
		d.say(pipeline(statement(sql), syncPoint())...)
		d.ready(1)
		return d.take()
	},
}

// answered checks that a text had an answer of its own.
func answered(t testing.TB, what string, heard []string) {
	t.Helper()
	if broken.MatchString(strings.Join(heard, "\n")) || !strings.HasPrefix(heard[len(heard)-1], "ready ") {
		t.Errorf("%s: heard %q", what, heard)
	}
}

// TestRows sends what the golden cases rewrite to a real server, in both modes and both protocols: each text is answered,
// by success or by an error of its own, and after the transaction the roles are what they were. That the names in it are
// right, the golden cases say.
func TestRows(t *testing.T) {
	for _, mode := range []scope.Mode{scope.Transparent, scope.Explicit} {
		t.Run(string(mode), func(t *testing.T) {
			database(t, scoped(), "orders")
			via := start(t, scoped(), quiet, permissive(t), func(o *proxy.Options) { o.Mode = mode })
			d := via.open(t, "orders", "postgres")
			d.query("CREATE DBONLY ROLE customer; CREATE DBONLY ROLE reader; CREATE TABLE t (a int, b int); CREATE SCHEMA sales")
			before := memberships(t, scoped(), "")
			rows := make(map[string]bool)
			for _, r := range goldenRows(t, false) {
				rows[r.number] = true
				tryRow(d, r)
			}
			if len(rows) < 70 {
				t.Errorf("only %d rows", len(rows))
			}
			if diff := cmp.Diff(before, memberships(t, scoped(), "")); diff != "" {
				t.Errorf("roles before (-) and after (+):\n%s", diff)
			}
		})
	}
}

// TestRowsOfTheCluster is TestRows for texts that reach beyond the database: each begins with the same cluster, and what it
// leaves behind is removed on a direct connection. The owners that it has made are those of the database's role.
func TestRowsOfTheCluster(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Config: map[string]string{"wal_level": "logical", "allow_in_place_tablespaces": "on"}})
	c.Psql(t, "postgres", "CREATE DATABASE orders;\nCREATE DATABASE billing;")
	start(t, c, permissive(t)).open(t, "orders", "postgres").query(`CREATE ROLE customer SUPERUSER; CREATE ROLE "Mixed Case"; CREATE ROLE admin;
		CREATE TABLE t (a int, b int); CREATE SCHEMA sales; CREATE ROLE clerk;
		CREATE SUBSCRIPTION s CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)`)
	for _, name := range []string{"a", "b", "t"} {
		c.Psql(t, "postgres", "CREATE TABLESPACE "+name+" LOCATION ''")
	}
	server := direct(c).connect(t, "orders", "postgres").PgConn()
	restore := func() string {
		t.Helper()
		for _, sql := range []string{
			"DROP DATABASE IF EXISTS d", "DROP DATABASE IF EXISTS e", "DROP DATABASE IF EXISTS x",
			"ALTER DATABASE orders OWNER TO postgres; ALTER DATABASE orders RESET ALL; ALTER DATABASE billing RESET ALL",
			"ALTER TABLESPACE t OWNER TO postgres; ALTER SUBSCRIPTION s OWNER TO postgres", "ALTER SYSTEM RESET ALL",
			"ALTER ROLE ALL IN DATABASE orders RESET ALL; ALTER ROLE orders_customer IN DATABASE orders RESET ALL",
			"DROP OWNED BY orders_customer, orders_clerk",
		} {
			if _, err := server.Exec(t.Context(), sql).ReadAll(); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		return rowsOf(t, server, `
			SELECT rolname::text FROM pg_roles UNION ALL SELECT datname FROM pg_database
			UNION ALL SELECT format('%s in %s', member, roleid) FROM pg_auth_members UNION ALL SELECT s::text FROM pg_db_role_setting s ORDER BY 1`)
	}
	const owners = `
		SELECT DISTINCT 'database' FROM pg_database WHERE datdba = 'orders_customer'::regrole UNION ALL
		SELECT 'tablespace' FROM pg_tablespace WHERE spcowner = 'orders_customer'::regrole UNION ALL
		SELECT 'subscription' FROM pg_subscription WHERE subowner = 'orders_customer'::regrole`
	before := restore()
	owned := make(map[string]bool)
	for _, mode := range []scope.Mode{scope.Transparent, scope.Explicit} {
		for protocol, say := range protocols {
			t.Run(fmt.Sprintf("%s %s", mode, protocol), func(t *testing.T) {
				via := start(t, c, quiet, permissive(t), func(o *proxy.Options) { o.Mode = mode })
				d := via.open(t, "orders", "postgres")
				for _, r := range goldenRows(t, true) {
					answered(t, r.name, say(d, r.sql))
					for _, line := range d.query("ROLLBACK; RESET SESSION AUTHORIZATION; RESET ALL") {
						if isError(line) {
							t.Errorf("%s: afterwards %q", r.name, line)
						}
					}
					for _, line := range strings.Fields(rowsOf(t, server, owners)) {
						owned[string(mode)+" "+r.number+" "+line] = true
					}
					if after := restore(); after != before {
						t.Errorf("%s: before (-) and after (+):\n%s", r.name, cmp.Diff(before, after))
					}
				}
			})
		}
	}
	want := map[string]bool{
		"transparent a41 database": true, "transparent a53 tablespace": true, "transparent a61 subscription": true,
		"transparent a68 database": true, "explicit a68 database": true, // what says DBONLY
	}
	if diff := cmp.Diff(want, owned); diff != "" {
		t.Errorf("what orders_customer has owned (-want +got):\n%s", diff)
	}
}

// rowsOf returns the one column of a query, a line for each row.
func rowsOf(t testing.TB, c *pgconn.PgConn, sql string) string {
	t.Helper()
	result := c.ExecParams(t.Context(), sql, nil, nil, nil, nil).Read()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	var b strings.Builder
	for _, row := range result.Rows {
		b.Write(row[0])
		b.WriteByte('\n')
	}
	return b.String()
}

// broken matches what no client shall be told.
var broken = regexp.MustCompile(`pgscope_refused|ERROR (XX000|08P01): `)

// tryRow sends a text by both protocols, in a transaction that is rolled back.
func tryRow(d *dialogue, r row) {
	d.t.Helper()
	for protocol, say := range protocols {
		d.query("BEGIN")
		answered(d.t, r.name+", "+protocol, say(d, r.sql))
		for _, line := range d.query("ROLLBACK; RESET SESSION AUTHORIZATION; RESET ALL") {
			if isError(line) {
				d.t.Errorf("%s, %s: afterwards %q", r.name, protocol, line)
			}
		}
	}
}
