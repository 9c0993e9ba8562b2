package integration

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgscope/pgscope-proxy/proxy"
)

// pgDump returns what pg_dump says of a database, without what differs from server to server.
func (e endpoint) pgDump(t testing.TB, database, user string, options ...string) string {
	t.Helper()
	cmd := exec.Command("pg_dump", append(options, "-d", e.dsn(database, user))...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C", "PGCLIENTENCODING=UTF8"}
	out, err := cmd.CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	return randomInDump.ReplaceAllString(string(out), "")
}

// randomInDump are the lines of psql's \restrict, the key of which is another each time.
var randomInDump = regexp.MustCompile(`(?m)^\\(un)?restrict .*$`)

// TestDump compares what pg_dump makes of the same database on a plain server and through the proxy.
func TestDump(t *testing.T) {
	script, err := os.ReadFile("testdata/compat/catalog_psql.sql")
	if err != nil {
		t.Fatal(err)
	}
	objects, _, ok := strings.Cut(string(script), `\du`)
	if !ok {
		t.Fatal("no objects in the script")
	}
	via := start(t, scoped(), func(o *proxy.Options) { o.Policy = allowAll(t) })
	database(t, plain(), "orders")
	database(t, scoped(), "orders")
	direct(plain()).psql(t, "orders", "postgres", objects)
	via.psql(t, "orders", "postgres", objects)
	for _, options := range [][]string{nil, {"--create"}, {"--schema-only", "--use-set-session-authorization"}} {
		want := direct(plain()).pgDump(t, "orders", "postgres", options...)
		got := via.pgDump(t, "orders", "postgres", options...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pg_dump %v, direct (-) and through the proxy (+):\n%s", options, diff)
		}
		if strings.Contains(want, "error") {
			t.Logf("pg_dump does not know this server: %s", want)
		} else if !strings.Contains(got, "TO reader") || strings.Contains(got, "orders_") {
			t.Errorf("this is no dump of the database:\n%s", got)
		}
	}
}
