package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"
)

// TestCompat runs each script in testdata/compat, and what tools send in testdata/tools, through psql, on a plain
// server and through the proxy, and compares what psql prints. A script runs in database "orders" as the
// superuser. To add a case is to add a file.
func TestCompat(t *testing.T) {
	var files []string
	for _, dir := range []string{"compat", "tools"} {
		found, err := filepath.Glob("testdata/" + dir + "/*.sql")
		if err != nil || len(found) == 0 {
			t.Fatalf("no scripts in %s: %v", dir, err)
		}
		files = append(files, found...)
	}
	via := start(t, scoped(), permissive(t))
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".sql"), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			database(t, plain(), "orders")
			database(t, scoped(), "orders")
			want := direct(plain()).psql(t, "orders", "postgres", string(script))
			got := via.psql(t, "orders", "postgres", string(script))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("direct (-) and through the proxy (+):\n%s", diff)
			}
		})
	}
}

// TestUnreadable sends what the proxy's parser refuses, by both protocols: the client hears what the server says of it.
// Where a newer server takes it, nothing of it runs.
func TestUnreadable(t *testing.T) {
	via := both(t)
	texts := []string{
		"CREATE POLICY p ON t AS LAX TO postgres USING (true)", "CREATE ROLE x NONSENSE", "GRANT é TO TO x", "ALTER ROLE x PASSWORD 'secret",
		"SELECT 1; CREATE ROLE x; GRANT x TO", "ROLLBACK; GRANT x y", "ALTER ROLE x UNENCRYPTED PASSWORD 'x'",
	}
	compare(t, via, func(d *dialogue) {
		var heard []string
		for _, sql := range texts {
			for _, before := range []string{"SELECT 1", "BEGIN", "BEGIN; SELECT 1/0"} {
				for _, say := range [][]pgproto3.FrontendMessage{{&pgproto3.Query{String: sql}}, pipeline(statement(sql), statement("CREATE ROLE y"), syncPoint())} {
					heard = append(heard, d.query(before)...)
					d.say(say...)
					d.ready(1)
					heard = append(heard, d.take()...)
					heard = append(heard, d.query("ROLLBACK")...)
				}
			}
		}
		d.lines = heard
	})
	if major(t, scoped()) < 18 {
		return
	}
	d := via.open(t, "orders", "postgres")
	const newer, refused = "CREATE ROLE z; ALTER TABLE t ALTER CONSTRAINT c NO INHERIT, OWNER TO z", "ERROR 0A000: this statement could not be read"
	const prepared = "UPDATE t SET a = 1 RETURNING WITH (OLD AS o) set_config('role', 'x', false)"
	heard := d.query(newer)
	d.say(pipeline(statement(prepared), syncPoint())...)
	d.ready(1)
	heard = append(heard, d.take()...)
	if len(heard) != 4 || !strings.HasPrefix(heard[0], refused) || !strings.HasPrefix(heard[2], refused) {
		t.Errorf("heard %q", heard)
	}
	if got := roles(t, scoped()); len(got) > 0 {
		t.Errorf("roles: %q", got)
	}
}
