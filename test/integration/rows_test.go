package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// goldenCase matches a case of rewrite/testdata that is about a row of docs/reference-coverage.md: its name, the settings
// that it needs, and its text.
var goldenCase = regexp.MustCompile(`(?m)^== (a\d+_\S+)(.*)\n((?s:.*?))\n----\n`)

// otherSession matches settings that make a session another one: the tests of texts have those.
var otherSession = regexp.MustCompile(`\b(encoding|strings|server|version|unenrolled|deny)\b`)

// leaves matches statements that reach beyond the session's database, and may not stand in a transaction: the tests of the
// life of a database have those.
var leaves = regexp.MustCompile(`(?i)\b(database|tablespace|subscription|system)\b|\b(commit|rollback|prepare transaction|vacuum|discard)\b`)

// TestRows sends what the golden cases rewrite to a real server, in both modes and both protocols: each text is answered,
// by success or by an error of its own, and after the transaction the roles are what they were. That the names in it are
// right, the golden cases say.
func TestRows(t *testing.T) {
	files, err := filepath.Glob("../../rewrite/testdata/*.sqltest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, mode := range []scope.Mode{scope.Transparent, scope.Explicit} {
		t.Run(string(mode), func(t *testing.T) {
			database(t, scoped(), "orders")
			via := start(t, scoped(), quiet, permissive(t), func(o *proxy.Options) { o.Mode = mode })
			d := via.open(t, "orders", "postgres")
			d.query("CREATE DBONLY ROLE customer; CREATE DBONLY ROLE reader; CREATE TABLE t (a int, b int); CREATE SCHEMA sales")
			before := memberships(t, scoped(), "")
			rows := make(map[string]bool)
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range goldenCase.FindAllStringSubmatch(string(text), -1) {
					if otherSession.MatchString(c[2]) || leaves.MatchString(c[3]) {
						continue
					}
					row, _, _ := strings.Cut(c[1], "_")
					rows[row] = true
					tryRow(d, c[1], strings.ReplaceAll(c[3], "<CR>", "\r"))
				}
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

// broken matches what no client shall be told.
var broken = regexp.MustCompile(`pgscope_refused|ERROR (XX000|08P01): `)

// tryRow sends a text by both protocols, in a transaction that is rolled back.
func tryRow(d *dialogue, name, sql string) {
	d.t.Helper()
	for protocol, say := range map[string]func() []string{
		"simple": func() []string { return d.query(sql) },
		"extended": func() []string {
			d.say(pipeline(statement(sql), syncPoint())...)
			d.ready(1)
			return d.take()
		},
	} {
		d.query("BEGIN")
		heard := say()
		if broken.MatchString(strings.Join(heard, "\n")) || !strings.HasPrefix(heard[len(heard)-1], "ready ") {
			d.t.Errorf("%s, %s: heard %q", name, protocol, heard)
		}
		for _, line := range d.query("ROLLBACK; RESET SESSION AUTHORIZATION; RESET ALL") {
			if isError(line) {
				d.t.Errorf("%s, %s: afterwards %q", name, protocol, line)
			}
		}
	}
}
