package manifest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/manifest"
)

var update = flag.Bool("update", false, "write the .golden files anew")

// TestLoad reads testdata/*.yaml and compares what they mean, or what is wrong in them, with the .golden file beside
// each. A file that begins with "# scope: none" is read so; with "# database: name" it is for that database. The
// fragments of bundles, and the manifests of estates, are in folders.
func TestLoad(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no manifests", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := show(manifest.Load(file, optionsOf(string(text))))
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func optionsOf(text string) manifest.Options {
	var o manifest.Options
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "# ") {
			break
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line[2:]), ": ")
		switch key {
		case "scope":
			o.Scope = manifest.Scope(value)
		case "database":
			o.Database = value
		}
	}
	return o
}

// show prints what was read, one thing in a line, or the mistakes.
func show(m *manifest.Manifest, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, w := range m.Warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	fmt.Fprintf(&b, "files: %s\ncounts: %+v\n", strings.Join(m.Files, " "), m.Counts)
	if m.Cluster.Roles != nil {
		b.WriteString("cluster:\n")
		showDesired(&b, &m.Cluster)
	}
	for i := range m.Databases {
		fmt.Fprintf(&b, "database %q prefix %q:\n", m.Databases[i].Database, m.Databases[i].Prefix)
		showDesired(&b, &m.Databases[i])
	}
	return b.String()
}

func showDesired(b *strings.Builder, d *access.Desired) {
	list(b, "role", d.Roles)
	list(b, "schema", d.Schemas)
	list(b, "grant", d.Grants)
	list(b, "default", d.Defaults)
	list(b, "membership", d.Memberships)
	list(b, "retirement", d.Retirements)
	if d.Surface != nil {
		fmt.Fprintf(b, "  surface %v\n", *d.Surface)
	}
}

// list prints each of a list by its fields, leaving out those that are zero.
func list[T any](b *strings.Builder, what string, all []T) {
	for _, one := range all {
		fmt.Fprintf(b, "  %s", what)
		for _, f := range fieldsOf(one) {
			fmt.Fprintf(b, " %s", f)
		}
		b.WriteByte('\n')
	}
}
