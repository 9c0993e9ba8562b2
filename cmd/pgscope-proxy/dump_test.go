package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// estate makes a database with roles of its own, through the proxy.
const estate = `
CREATE ROLE reader;
CREATE ROLE "Odd ""name"" é" NOINHERIT CONNECTION LIMIT 3 VALID UNTIL '2031-01-01 12:00+02';
CREATE ROLE app LOGIN PASSWORD 'secret' IN ROLE reader;
GRANT reader TO "Odd ""name"" é" WITH ADMIN OPTION;
GRANT app TO alice;
ALTER ROLE app SET search_path = "$user", public, 'odd, one';
ALTER ROLE app SET role = reader;
ALTER ROLE app SET statement_timeout = '5s';
ALTER ROLE app SET myapp.tenant = 'it''s \ one';
ALTER ROLE app IN DATABASE :"DBNAME" SET work_mem = '8MB';
ALTER ROLE reader SET search_path = '';
COMMENT ON ROLE reader IS E'reads\nand \\reads''';
CREATE SCHEMA sales;
CREATE SCHEMA "Big Sales";
CREATE SCHEMA "two
lines.";
CREATE ROLE "two
lines."."a.b
--";
CREATE ROLE sales.clerk LOGIN;
CREATE ROLE "Big Sales".clerk;
GRANT sales.clerk TO app;
GRANT reader TO sales.clerk;
COMMENT ON ROLE sales.clerk IS 'sells';
CREATE TABLE sales.invoices (id int, text text);
INSERT INTO sales.invoices VALUES (1, 'CREATE SCHEMA sales;');
ALTER TABLE sales.invoices OWNER TO app;
GRANT SELECT ON sales.invoices TO reader, PUBLIC, alice;
ALTER TABLE sales.invoices ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON sales.invoices TO reader USING (text = current_user);
ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA sales GRANT SELECT ON TABLES TO reader;
`

// restore runs a file in psql through a proxy, as the superuser; no statement of it may fail.
func restore(t *testing.T, c *pgtest.Cluster, database, file string) {
	t.Helper()
	restoreAs(t, c, "postgres", database, file)
}

func restoreAs(t *testing.T, c *pgtest.Cluster, user, database, file string) {
	t.Helper()
	o := dumpOptions{dsn: c.DSN()}
	err := o.withProxy(t.Context(), func(socket string) error {
		cmd := exec.CommandContext(t.Context(), "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", socket, "-p", socketPort, "-U", user, "-d", database)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C", "PGCLIENTENCODING=UTF8"}
		cmd.Stdin = strings.NewReader(file)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("psql: %v\n%s", err, out)
		}
		return err
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
}

// written runs a command, and returns what it writes.
func written(t *testing.T, args ...string) string {
	t.Helper()
	var out, diagnostics bytes.Buffer
	if code := execute(t.Context(), args, &out, &diagnostics); code != exitOK {
		t.Fatalf("%s: %d\n%s", strings.Join(args, " "), code, &diagnostics)
	}
	return out.String()
}

// same compares two dumps.
func same(t *testing.T, want, got string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// pgDump asks the installed pg_dump what version it is of, and whether there is a key in its text that must be the same
// each time.
func pgDump(t *testing.T) (major int, args []string) {
	t.Helper()
	help, err := exec.CommandContext(t.Context(), "pg_dump", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.CommandContext(t.Context(), "pg_dump", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(version), "pg_dump (PostgreSQL) %d", &major); err != nil {
		t.Fatalf("%s: %v", version, err)
	}
	if bytes.Contains(help, []byte("--restrict-key")) {
		args = []string{"--restrict-key=key"}
	}
	return major, args
}

// Who is no superuser makes a copy, and administers the roles of that as those of the first: from PostgreSQL 16 on by making
// them. So it is for a superuser's copy.
func TestDumpOfAnAdministrators(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.Psql(t, "postgres", `CREATE ROLE adm LOGIN CREATEROLE CREATEDB; CREATE DATABASE one OWNER adm; CREATE DATABASE two OWNER adm; CREATE DATABASE three`)
	restoreAs(t, c, "adm", "one", `CREATE ROLE reader; CREATE ROLE app LOGIN; GRANT reader TO app; GRANT reader TO adm; COMMENT ON ROLE app IS 'x';`)
	dumped := func(database string) string {
		return written(t, "dump-roles", "--dsn", c.DSN("user=adm", "dbname="+database))
	}
	want := dumped("one")
	restoreAs(t, c, "adm", "two", want)
	same(t, want, dumped("two"))
	restore(t, c, "three", want)
	if got := strings.Count(c.Psql(t, "postgres", `SELECT DISTINCT roleid::regrole FROM pg_auth_members WHERE member = 'adm'::regrole AND roleid::regrole::text ~ '^(two|three)_' AND admin_option`), "\n"); c.Major >= "16" && got != 4 {
		t.Errorf("administers %d of the copies' roles", got)
	}
}

// TestDump takes a database with its roles to another database of the cluster, and to another cluster, and back.
func TestDump(t *testing.T) {
	first, second := pgtest.Start(t, pgtest.Options{}), pgtest.Start(t, pgtest.Options{})
	for _, name := range []string{"orders", "orders_copy", "Odd 'base'"} {
		first.CreateDatabase(t, name)
	}
	first.Psql(t, "postgres", `CREATE ROLE alice LOGIN CREATEDB; COMMENT ON ROLE alice IS 'a person'; CREATE ROLE team; GRANT team TO alice;
		ALTER ROLE alice SET work_mem = '5MB'`)
	restore(t, first, "orders", estate)
	restore(t, first, "Odd 'base'", estate)
	restore(t, first, "postgres", `CREATE ROLE clerk; COMMENT ON ROLE clerk IS 'of a database that is there already'`)

	major, restrict := pgDump(t)
	server, err := strconv.Atoi(first.Major)
	if err != nil {
		t.Fatal(err)
	}
	if server >= 15 {
		first.Psql(t, "postgres", `GRANT SET ON PARAMETER log_statement TO alice, PUBLIC; GRANT ALL ON PARAMETER myapp.tenant TO orders_app WITH GRANT OPTION`)
	}
	args := func(c *pgtest.Cluster, database string, more ...string) []string {
		list := append([]string{"dump", "--passwords", "--dsn", c.DSN("dbname=" + database)}, more...)
		return append(append(list, "--"), restrict...)
	}
	if major < server { // which pg_dump does not take
		var out, diagnostics bytes.Buffer
		code := execute(t.Context(), args(first, "orders"), &out, &diagnostics)
		if code != exitFailure || !strings.Contains(diagnostics.String(), "server version mismatch") {
			t.Errorf("pg_dump %d of a server %s: %d, %s", major, first.Major, code, &diagnostics)
		}
		return
	}
	want := written(t, args(first, "orders")...)
	restore(t, first, "orders_copy", want)
	same(t, want, written(t, args(first, "orders_copy")...))

	all := written(t, args(first, "orders", "--all")...)
	for _, grant := range []string{`GRANT SET ON PARAMETER "log_statement" TO "alice"`, `GRANT SET ON PARAMETER "log_statement" TO PUBLIC`, `GRANT ALTER SYSTEM, SET ON PARAMETER "myapp"."tenant" TO DBONLY "app" WITH GRANT OPTION`} {
		if server >= 15 && !strings.Contains(all, grant) {
			t.Errorf("no %s", grant)
		}
	}
	if major > 14 && server == 14 { // which does not know LOCALE_PROVIDER, that pg_dump writes for every database since 15
		return
	}
	restore(t, second, "postgres", all)
	same(t, all, written(t, args(second, "postgres", "--all")...))
	same(t, want, written(t, args(second, "orders")...))
}

// TestDumpRoles takes the roles of a database to another one.
func TestDumpRoles(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.CreateDatabase(t, "orders")
	c.CreateDatabase(t, "orders_copy")
	c.Psql(t, "postgres", "CREATE ROLE alice LOGIN; CREATE ROLE hidden")
	restore(t, c, "orders", estate)
	c.Psql(t, "orders", `CREATE ROLE orders_hidden IN ROLE pgscope_db_orders; GRANT orders_reader TO hidden;
		SET password_encryption = md5; ALTER ROLE orders_reader PASSWORD 'x'; GRANT pgscope_db_orders TO alice WITH ADMIN OPTION; CREATE ROLE hand IN ROLE pgscope_db_orders;
		SET allow_in_place_tablespaces = on; CREATE TABLESPACE "fast 'one'" LOCATION ''; CREATE ROLE "or
phan"; GRANT orders_reader TO "or
phan";
		GRANT CREATE ON TABLESPACE "fast 'one'" TO orders_reader WITH GRANT OPTION; GRANT CREATE ON TABLESPACE "fast 'one'" TO orders_sales_clerk, alice`)

	var out, diagnostics bytes.Buffer
	if code := execute(t.Context(), []string{"dump-roles", "--passwords", "--dsn", c.DSN("dbname=orders")}, &out, &diagnostics); code != exitOK {
		t.Fatal(diagnostics.String())
	}
	remarks := `WARNING:  Role "reader" has an md5 password, which holds for its old name on the server only: set another one.
WARNING:  The membership of "hidden" in "orders_reader" cannot be written: one of them has no name here.
WARNING:  "alice" administers the roles of the database: pgscope-proxy init --admin makes it so.
WARNING:  "hand" is a member of the marker, but is no role of the database, nor does it administer them.
`
	if diff := cmp.Diff(sorted(remarks), sorted(diagnostics.String())); diff != "" {
		t.Errorf("remarks (-want +got):\n%s", diff)
	}

	c.Psql(t, "postgres", "DROP ROLE hidden")
	restore(t, c, "orders_copy", out.String())
	statements := func(file string) (list []string) {
		for line := range strings.Lines(file) {
			if !strings.HasPrefix(line, "--") {
				list = append(list, line)
			}
		}
		return list
	}
	copied := written(t, "dump-roles", "--passwords", "--dsn", c.DSN("dbname=orders_copy"))
	if diff := cmp.Diff(statements(out.String()), statements(copied)); diff != "" {
		t.Errorf("the copy's roles (-want +got):\n%s", diff)
	}
	for _, want := range []string{`CREATE DBONLY ROLE "app" LOGIN PASSWORD 'SCRAM-SHA-256$`, `GRANT DBONLY "app" TO "alice"`, `TABLESPACE "fast ''one''" TO DBONLY "reader" WITH GRANT OPTION`, `TO "sales"."clerk"' WHERE`} {
		if !strings.Contains(copied, want) {
			t.Errorf("no %s in\n%s", want, copied)
		}
	}

	c.Psql(t, "postgres", `REVOKE ALL ON TABLESPACE "fast 'one'" FROM orders_reader, orders_sales_clerk, orders_copy_reader, orders_copy_sales_clerk, alice`)
	c.Psql(t, "postgres", `DROP TABLESPACE "fast 'one'"`)
	c.CreateDatabase(t, "orders_slow") // on a server that has no such tablespace
	restore(t, c, "orders_slow", out.String())
}

// TestDumpLabels: security labels go with the roles. No module that gives them need be there: they are in the catalog.
func TestDumpLabels(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.CreateDatabase(t, "orders")
	restore(t, c, "orders", "CREATE ROLE reader; CREATE ROLE writer")
	c.Psql(t, "orders", `CREATE ROLE alice; SET allow_system_table_mods = on;
INSERT INTO pg_shseclabel SELECT oid, 'pg_authid'::regclass, 'the "mac"', 'it''s ' || rolname FROM pg_roles WHERE rolname IN ('orders_reader', 'alice')`)
	for _, test := range []struct{ args, want string }{
		{"", `SECURITY LABEL FOR "the ""mac""" ON DBONLY ROLE "reader" IS 'it''s orders_reader';`},
		{"--all", `SECURITY LABEL FOR "the ""mac""" ON ROLE "alice" IS 'it''s alice';`},
	} {
		args := append([]string{"dump-roles", "--dsn", c.DSN("dbname=orders")}, strings.Fields(test.args)...)
		if text := written(t, args...); !strings.Contains(text, test.want) || strings.Count(text, "SECURITY LABEL") != len(strings.Fields(test.args))+1 {
			t.Errorf("no %s in\n%s", test.want, text)
		}
	}
}

func sorted(lines string) []string {
	list := strings.Split(lines, "\n")
	slices.Sort(list)
	return list
}
