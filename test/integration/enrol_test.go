package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// enrolled describes the markers of the scoped cluster: each with its prefix and the roles that it owns.
func enrolled(t *testing.T) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(scoped().Psql(t, "postgres", `
		SELECT regexp_replace(k.rolname, '[0-9]+$', 'N') || ' ' || (shobj_description(k.oid, 'pg_authid')::json ->> 'prefix') || ':' ||
			coalesce((SELECT string_agg(r.rolname, ' ' ORDER BY r.rolname) FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.member
				WHERE a.roleid = k.oid AND r.rolname !~ '^(dba|postgres)'), '')
		FROM pg_roles k WHERE starts_with(k.rolname, 'pgscope_') ORDER BY 1`)), "\n")
}

// wantEnrolled compares that.
func wantEnrolled(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, enrolled(t)); diff != "" {
		t.Errorf("markers (-want +got):\n%s", diff)
	}
}

// TestEnrolTogether has the first role statements of a database come from many sessions at once.
func TestEnrolTogether(t *testing.T) {
	for _, text := range []string{"CREATE ROLE r%d", "BEGIN; CREATE ROLE r%d; COMMIT", "SELECT 1; CREATE ROLE r%d; SELECT 2"} {
		for _, n := range []int{2, 10} {
			t.Run(fmt.Sprintf("%d %s", n, text), func(t *testing.T) {
				database(t, scoped(), "orders")
				via := start(t, scoped(), permissive(t))
				var conns []*pgconn.PgConn
				for range n {
					conns = append(conns, via.connect(t, "orders", "postgres").PgConn())
				}
				results := make(chan error, n)
				for i, c := range conns {
					go func() {
						_, err := c.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf(text, i)).ReadAll()
						results <- err
					}()
				}
				want := "pgscope_db_orders orders:"
				for i := range n {
					if err := <-results; err != nil {
						t.Error(err)
					}
					want += fmt.Sprintf("orders_r%d ", i)
				}
				wantEnrolled(t, strings.TrimSpace(want))
			})
		}
	}
}

// TestEnrolRolledBack loses the marker with the transaction that made it.
func TestEnrolRolledBack(t *testing.T) {
	database(t, scoped(), "orders")
	d := start(t, scoped(), permissive(t)).open(t, "orders", "postgres")
	d.query("BEGIN")
	if got := d.query("CREATE ROLE reader; GRANT reader TO postgres"); got[0] != "done CREATE ROLE" {
		t.Errorf("in the transaction: %q", got)
	}
	d.query("ROLLBACK")
	wantEnrolled(t, "")
	if got := d.query("DROP ROLE reader"); got[0] != `ERROR 42704: role "reader" does not exist` {
		t.Errorf("after the rollback: %q", got)
	}
	d.query("CREATE ROLE reader")
	wantEnrolled(t, "pgscope_db_orders orders:orders_reader")
}

// TestEnrolOwnClauses makes roles with lists of roles of their own.
func TestEnrolOwnClauses(t *testing.T) {
	via := both(t)
	compare(t, via, func(d *dialogue) {
		for _, sql := range []string{
			"CREATE ROLE a", "CREATE ROLE b IN ROLE a", "CREATE USER c ROLE a, b", "CREATE ROLE d LOGIN IN GROUP b, c", "CREATE ROLE dd ADMIN d",
			"CREATE GROUP e USER d", "CREATE ROLE f IN ROLE nobody", "CREATE ROLE g ROLE g", "CREATE ROLE h IN ROLE a IN ROLE b",
			"CREATE ROLE i IN ROLE a, a PASSWORD 'x' IN GROUP b",
		} {
			d.lines = append(d.lines, d.query(sql)...)
		}
		withoutPositions(d)
	})
	wantEnrolled(t, "pgscope_db_orders orders:orders_a orders_b orders_c orders_d orders_dd orders_e")
}

// TestEnrolByOthers has sessions enrol that are no superuser's.
func TestEnrolByOthers(t *testing.T) {
	const people = "CREATE ROLE dba LOGIN CREATEROLE; CREATE ROLE dba2 LOGIN CREATEROLE; CREATE ROLE app LOGIN"
	via := both(t)
	for _, c := range []*pgtest.Cluster{plain(), scoped()} {
		c.Psql(t, "postgres", people)
	}
	hear := func(e endpoint, user string, texts ...string) (heard []string) {
		d := e.open(t, "orders", user)
		for _, sql := range texts {
			heard = append(heard, d.query(sql)...)
		}
		return heard
	}
	same := func(user string, texts ...string) {
		t.Helper()
		if diff := cmp.Diff(hear(direct(plain()), user, texts...), hear(via, user, texts...)); diff != "" {
			t.Errorf("as %s, direct (-) and through the proxy (+):\n%s", user, diff)
		}
	}
	same("app", "CREATE ROLE reader", "BEGIN", "CREATE ROLE reader", "SELECT 1", "ROLLBACK")
	wantEnrolled(t, "")
	same("dba", "CREATE ROLE reader", "CREATE ROLE writer LOGIN IN ROLE reader", "GRANT writer TO reader", "ALTER ROLE writer NOLOGIN",
		"REVOKE reader FROM writer", "ALTER ROLE writer RENAME TO author", "COMMENT ON ROLE author IS 'x'")
	wantEnrolled(t, "pgscope_db_orders orders:orders_author orders_reader")
	same("app", "CREATE ROLE other", "DROP ROLE reader", "GRANT reader TO app")

	got := hear(via, "dba2", "CREATE ROLE other")
	if major(t, scoped()) < 16 { // CREATEROLE is for all roles there
		if got[0] != "done CREATE ROLE" {
			t.Errorf("another administrator: %q", got)
		}
		return
	}
	for _, part := range []string{"ERROR 42501: permission denied to create role", `database "orders"`, `GRANT "pgscope_db_orders" TO`} {
		if !strings.Contains(got[0], part) {
			t.Errorf("another administrator: %q, want %q in it", got, part)
		}
	}
	scoped().Psql(t, "postgres", "GRANT pgscope_db_orders TO dba2 WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
	if got := hear(via, "dba2", "CREATE ROLE other"); got[0] != "done CREATE ROLE" {
		t.Errorf("another administrator of this database: %q", got)
	}
}

// TestAdministratorsAreNotTakenForRoles: who administers the roles of a database, and would be one of them by the name,
// is refused: at the first role, where the database gets another name, and where the administrator does.
func TestAdministratorsAreNotTakenForRoles(t *testing.T) {
	database(t, scoped(), "shop")
	database(t, scoped(), "orders")
	scoped().Psql(t, "postgres", `CREATE ROLE shop_admin LOGIN CREATEDB CREATEROLE; ALTER DATABASE shop OWNER TO shop_admin;
		CREATE ROLE zeta_dba LOGIN CREATEDB CREATEROLE; ALTER DATABASE orders OWNER TO zeta_dba; CREATE ROLE gdba LOGIN CREATEROLE`)
	via := start(t, scoped(), permissive(t))
	hear := func(database, user string, texts ...string) (heard []string) {
		t.Helper()
		d := via.open(t, database, user)
		for _, sql := range texts {
			heard = append(heard, d.query(sql)[0])
		}
		return heard
	}
	refused := func(got, role, what string) {
		t.Helper()
		if want := "ERROR 55000: role \"" + role + "\" cannot administer the roles of " + what + ": it would be taken for one of them, by its name"; !strings.HasPrefix(got, want) ||
			!strings.Contains(got, " | hint: ") {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
	refused(hear("shop", "shop_admin", "CREATE ROLE clerk")[0], "shop_admin", `database "shop"`)
	wantEnrolled(t, "")
	if got := hear("orders", "zeta_dba", "CREATE ROLE reader"); got[0] != "done CREATE ROLE" {
		t.Errorf("heard %q", got)
	}
	refused(hear("shop", "zeta_dba", "ALTER DATABASE orders RENAME TO zeta")[0], "zeta_dba", `database "zeta"`)

	scoped().Psql(t, "postgres", "GRANT pgscope_db_orders TO gdba WITH ADMIN OPTION; ALTER ROLE zeta_dba RENAME TO dba")
	for _, mode := range []string{"transparent", "explicit"} {
		refused(hear("shop", "postgres", "SET pgscope.mode = "+mode, "ALTER ROLE gdba RENAME TO orders_gdba")[1], "orders_gdba", `database "orders"`)
	}
	refused(hear("orders", "postgres", "SET pgscope.mode = explicit", "ALTER ROLE gdba RENAME TO orders_gdba")[1], "orders_gdba", `database "orders"`)
	if got := hear("shop", "postgres", "ALTER ROLE gdba RENAME TO shop_gdba", "ALTER ROLE shop_gdba RENAME TO gdba"); got[0] != "done ALTER ROLE" || got[1] != "done ALTER ROLE" {
		t.Errorf("heard %q", got)
	}

	// A schema's roles have their own administrators.
	if got := hear("orders", "postgres", "CREATE SCHEMA s", "CREATE ROLE s.clerk"); got[1] != "done CREATE ROLE" {
		t.Errorf("heard %q", got)
	}
	scoped().Psql(t, "postgres", "CREATE ROLE orders_t_dba; GRANT pgscope_schema_orders_s TO orders_t_dba WITH ADMIN OPTION")
	refused(hear("orders", "postgres", "ALTER SCHEMA s RENAME TO t")[0], "orders_t_dba", `schema "t"`)
	scoped().Psql(t, "postgres", "DROP ROLE gdba, orders_t_dba; ALTER DATABASE shop OWNER TO postgres; DROP ROLE shop_admin")
}

// TestEnrolForeignMarker finds a role of the marker's name that is no marker of this database.
func TestEnrolForeignMarker(t *testing.T) {
	for name, sql := range map[string]string{
		"no comment":         "",
		"a comment":          "COMMENT ON ROLE pgscope_db_orders IS 'mine'",
		"another database's": `COMMENT ON ROLE pgscope_db_orders IS '{"oid":1,"database":"template1","prefix":"orders","version":1}'`,
		"not JSON":           `COMMENT ON ROLE pgscope_db_orders IS '{"oid":1,"database":"orders"'`,
	} {
		t.Run(name, func(t *testing.T) {
			database(t, scoped(), "orders")
			scoped().Psql(t, "postgres", "CREATE ROLE pgscope_db_orders; "+sql)
			d := start(t, scoped(), permissive(t)).open(t, "orders", "postgres")
			got := d.query("CREATE ROLE reader")
			if !strings.HasPrefix(got[0], `ERROR 42501: database "orders" is not enrolled | detail: `) || !strings.Contains(got[0], " | hint: ") {
				t.Errorf("heard %q", got)
			}
			if got := d.query("CREATE TABLE t (a int); GRANT SELECT ON t TO postgres"); got[1] != "done GRANT" {
				t.Errorf("other statements: %q", got)
			}
		})
	}
}

// TestDatabaseNames enrols databases of strange names.
func TestDatabaseNames(t *testing.T) {
	long := strings.Repeat("d", 60)
	for _, name := range []string{"Orders", "my orders", `or"ders`, "or'ders", "ördérs", `or\ders`, "or%ders", "orders.", long} {
		t.Run(name, func(t *testing.T) {
			database(t, scoped(), name)
			d := start(t, scoped(), permissive(t)).open(t, name, "postgres")
			for _, c := range [][2]string{
				{"CREATE ROLE r", "done CREATE ROLE"},
				{"CREATE ROLE r", `ERROR 42710: role "r" already exists`},
				{"CREATE TABLE t (a int); GRANT SELECT ON t TO r; SET ROLE r; SELECT a FROM t; RESET ROLE", "done CREATE TABLE"},
				{"DROP ROLE r", `ERROR 2BP01: role "r" cannot be dropped because some objects depend on it | detail: privileges for table t`},
				{"SHOW pgscope.database", "columns pgscope.database:25:0"},
			} {
				if got := d.query(c[0]); got[0] != c[1] {
					t.Errorf("%s: %q, want %q", c[0], got, c[1])
				}
			}
			marker := "pgscope_db_" + name
			if name == long {
				marker = "pgscope_db_N"
				if got := d.query("CREATE ROLE reader"); !strings.HasPrefix(got[0], `ERROR 42622: role name "reader" is too long | detail: `) ||
					!strings.Contains(got[0], "at most 2 bytes") {
					t.Errorf("a role name of 67 bytes: %q", got)
				}
			}
			wantEnrolled(t, fmt.Sprintf("%s %s:%[2]s_r", marker, name))
		})
	}
}

// TestReservedPrefix is for a database whose name would make roles look like PostgreSQL's own.
func TestReservedPrefix(t *testing.T) {
	database(t, scoped(), "pg_x")
	d := start(t, scoped(), permissive(t)).open(t, "pg_x", "postgres")
	if got := d.query("CREATE ROLE reader"); !strings.HasPrefix(got[0], `ERROR 42939: role name "reader" is reserved`) ||
		!strings.Contains(got[0], "hint: Configure another prefix") {
		t.Errorf("heard %q", got)
	}
	d = start(t, scoped(), permissive(t), func(o *proxy.Options) {
		o.Prefixes = map[string]string{"pg_x": "x"}
	}).open(t, "pg_x", "postgres")
	d.query("CREATE ROLE reader")
	wantEnrolled(t, "pgscope_db_pg_x x:x_reader")
	// The marker says the prefix, to every proxy.
	d = start(t, scoped(), permissive(t)).open(t, "pg_x", "postgres")
	d.query("CREATE ROLE writer; DROP ROLE reader")
	wantEnrolled(t, "pgscope_db_pg_x x:x_writer")
}

// TestPrefixCollision has two databases whose roles would get the same name.
func TestPrefixCollision(t *testing.T) {
	database(t, scoped(), "a")
	database(t, scoped(), "a_b")
	via := start(t, scoped(), permissive(t))
	a, ab := via.open(t, "a", "postgres"), via.open(t, "a_b", "postgres")
	a.query("CREATE ROLE b_c")
	ab.query("CREATE ROLE other")
	for _, sql := range []string{"CREATE ROLE c", "ALTER ROLE other RENAME TO c"} {
		got := ab.query(sql)
		if !strings.HasPrefix(got[0], `ERROR 42710: role "c" already exists`) || !strings.Contains(got[0], `role of database "a"`) {
			t.Errorf("%s: %q", sql, got)
		}
	}
	for _, sql := range []string{"DROP ROLE c", "SET ROLE c", "GRANT c TO other", "DROP ROLE b_c", "GRANT other TO a_b_c"} {
		if got := ab.query(sql); !strings.Contains(got[0], "does not exist") {
			t.Errorf("%s: %q", sql, got)
		}
	}
	wantEnrolled(t, "pgscope_db_a a:a_b_c", "pgscope_db_a_b a_b:a_b_other")
	if got := a.query("DROP ROLE b_c"); got[0] != "done DROP ROLE" {
		t.Errorf("heard %q", got)
	}
	if got := ab.query("CREATE ROLE c"); got[0] != "done CREATE ROLE" {
		t.Errorf("heard %q", got)
	}
}
