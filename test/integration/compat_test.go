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
