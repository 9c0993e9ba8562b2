package reconcile

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

var update = flag.Bool("update", false, "write the plans of testdata/plan anew")

// TestPlan runs testdata/plan/*.txtar: what was there (state.sql, as the superuser in database orders), what is desired
// (manifest.yaml), and the plan (plan.sql). The first line of a comment may name the mode. Every plan is applied, too.
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
	if newer := sections["plan.sql from 16"]; newer != nil && cluster.Major >= "16" { // memberships have more to be said of
		golden = newer
	}
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
	if *update {
		golden.Data = []byte(text)
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff(string(golden.Data), text); d != "" {
		t.Error(d)
	}
	if len(plan.Problems) == 0 {
		b.apply(o)
		b.settled(o)
	}
}
