package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCompat runs each script in testdata/compat, and what tools send in testdata/tools, through psql, on a plain server and through the proxy, and compares what
// psql prints. A script runs in database "orders" as the superuser. To add a case is to add a file.
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

// TestUnreadable sends what the proxy's parser refuses. A server that has the same grammar says so in the same words. A newer
// one may read more than that: what it would say is not known.
func TestUnreadable(t *testing.T) {
	via := both(t)
	const sql = "CREATE POLICY p ON t AS LAX TO postgres USING (true)"
	if major(t, scoped()) < 18 {
		compare(t, via, func(d *dialogue) { d.lines = d.query(sql) })
		return
	}
	d := via.open(t, "orders", "postgres")
	d.lines = d.query(sql)
	d.wants("ERROR 0A000: this statement could not be read, and the roles that it may name could not be mapped"+
		` | detail: The reader of role names says: unrecognized row security option "lax".`+
		" | hint: If the server takes the statement, send the parts that are newer than PostgreSQL 17 without role names. | at 25", "ready I")
}
