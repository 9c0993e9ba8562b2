package main

import (
	"bytes"
	"os"
	"os/exec"
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

// restore runs a file in psql through a proxy; no statement of it may fail.
func restore(t *testing.T, c *pgtest.Cluster, database, file string) {
	t.Helper()
	o := dumpOptions{dsn: c.DSN()}
	err := o.withProxy(t.Context(), func(socket string) error {
		cmd := exec.CommandContext(t.Context(), "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", socket, "-p", socketPort, "-U", "postgres", "-d", database)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C", "PGCLIENTENCODING=UTF8"}
		cmd.Stdin = strings.NewReader(file)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s", out)
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

// restrictKey makes pg_dump's text the same each time, where pg_dump has a key in it.
func restrictKey(t *testing.T) []string {
	t.Helper()
	help, err := exec.CommandContext(t.Context(), "pg_dump", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(help, []byte("--restrict-key")) {
		return nil
	}
	return []string{"--restrict-key=key"}
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

	dumpOf := func(c *pgtest.Cluster, database string, more ...string) string {
		args := append([]string{"dump", "--passwords", "--dsn", c.DSN("dbname=" + database)}, more...)
		return written(t, append(append(args, "--"), restrictKey(t)...)...)
	}
	want := dumpOf(first, "orders")
	restore(t, first, "orders_copy", want)
	same(t, want, dumpOf(first, "orders_copy"))

	all := dumpOf(first, "orders", "--all")
	restore(t, second, "postgres", all)
	same(t, all, dumpOf(second, "postgres", "--all"))
	same(t, want, dumpOf(second, "orders"))
}
