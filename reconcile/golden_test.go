package reconcile

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

var update = flag.Bool("update", false, "write the plans of testdata/plan anew")

// TestPlan runs testdata/plan/*.txtar: what was there (state.sql, as the superuser in database orders), what is desired
// (manifest.yaml), and the plan (plan.sql, as it is from PostgreSQL 16 on). The first line of a comment may name the
// mode. Every plan is applied, too.
func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	cluster := pgtest.Start(t, pgtest.Options{})
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { testPlan(t, cluster, file) })
	}
}

// saidFrom16 is what statements about memberships say in addition from PostgreSQL 16 on.
var saidFrom16 = regexp.MustCompile(` WITH INHERIT TRUE, SET TRUE| GRANTED BY "postgres"`)

func testPlan(t *testing.T, cluster *pgtest.Cluster, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t, cluster, "orders"}
	t.Cleanup(b.dropRoles)
	b.CreateDatabase(t, "orders")
	sections := make(map[string]*txtar.File)
	for i := range archive.Files {
		sections[archive.Files[i].Name] = &archive.Files[i]
	}
	b.sql(string(sections["state.sql"].Data))
	o := b.options(b.manifest(string(sections["manifest.yaml"].Data)))
	if word, ok := strings.CutPrefix(strings.SplitN(string(archive.Comment), "\n", 2)[0], "mode "); ok {
		if o.Mode, err = ParseMode(word); err != nil {
			t.Fatal(err)
		}
	}
	golden := sections["plan.sql"]
	var got strings.Builder
	plan := b.plan(o)
	for _, c := range plan.Changes {
		where := ""
		if len(c.Places) > 0 {
			where = " " + c.Places[0].String()
		}
		got.WriteString("-- " + c.String() + where + "\n" + c.SQL + ";\n")
	}
	for _, p := range plan.Problems {
		got.WriteString("-- problem: " + p.String() + "\n")
	}
	oid := strings.TrimSpace(b.sql(`SELECT oid FROM pg_database WHERE datname = current_database()`))
	text := strings.ReplaceAll(got.String(), oid, "OID")
	want := string(golden.Data)
	if b.major() < 16 {
		want = saidFrom16.ReplaceAllString(want, "")
	}
	if *update {
		if b.major() < 16 {
			t.Fatal("plans are written with PostgreSQL 16 or later")
		}
		want, golden.Data = text, []byte(text)
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(want, text); d != "" {
		t.Error(d)
	}
	if len(plan.Problems) == 0 {
		b.apply(o)
		b.settled(o)
	}
}
