package manifest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgscope/pgscope-proxy/manifest"
)

// FuzzLoad: no text makes the reader fail in another way than by telling what is wrong, and what it takes it takes
// again when it has been written.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "../examples/single/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text, true)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, short bool) {
		if bytes.Contains(text, []byte("sources")) || bytes.Contains(text, []byte("databases")) {
			return // names other files
		}
		o := manifest.Options{Scope: manifest.None}
		if short {
			o.Scope = manifest.Database
		}
		m, err := manifest.Parse("m.yaml", text, o)
		if err != nil || len(m.Databases) != 1 || m.Cluster.Roles != nil {
			return
		}
		var written bytes.Buffer
		if err := manifest.Write(&written, &m.Databases[0]); err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Parse("m.yaml", written.Bytes(), o)
		if err != nil {
			t.Fatalf("%v\nwritten:\n%s", err, &written)
		}
		d := m.Databases[0]
		d.Database, d.Prefix, d.Surface = "", "", nil
		if diff := cmp.Diff(d, again.Databases[0], sameDesired); diff != "" {
			t.Fatalf("%s\nwritten:\n%s", diff, &written)
		}
	})
}

// FuzzBundle: nor does one of the fragments of a bundle, beside another that is as it should be.
func FuzzBundle(f *testing.F) {
	files, err := filepath.Glob("testdata/bundle/*.yaml")
	if err != nil || len(files) < 2 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	dir := f.TempDir()
	write := func(t testing.TB, name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		f.Fatal(err)
	}
	write(f, "good.yaml", good)
	write(f, "bundle.yaml", []byte("sources: [{file: good.yaml}, {file: other.yaml}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		write(t, "other.yaml", text)
		m, err := manifest.LoadBundle(filepath.Join(dir, "bundle.yaml"), manifest.Options{})
		if err == nil && len(m.Databases) != 1 {
			t.Errorf("%d databases", len(m.Databases))
		}
	})
}

// BenchmarkLoad reads 10,000 grants to 100 roles, 1 MB: 0.39 s, 201 MB and 2.7 million allocations, 97 % of them the YAML
// parser's (median of five on 2 cores of an Intel Xeon that others used too).
func BenchmarkLoad(b *testing.B) {
	var text bytes.Buffer
	text.WriteString("roles:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  - name: role%d\n", i)
	}
	text.WriteString("grants:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - role: role%d\n    privileges: [SELECT, INSERT]\n    object: { type: table, schema: s%d, name: t%d }\n", i%100, i%7, i)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, err := manifest.Parse("m.yaml", text.Bytes(), manifest.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
