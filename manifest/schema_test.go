package manifest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pgscope/pgscope-proxy/manifest"
)

// TestPublished: what is published is what the reader's tables say.
func TestPublished(t *testing.T) {
	schema, err := manifest.Schema()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"../docs/manifest.schema.json": string(schema),
		"../docs/manifest.md":          manifest.Reference(),
	} {
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not up to date: go test ./manifest -update", file)
		}
	}
}

// TestReferenceExample reads the example of the reference.
func TestReferenceExample(t *testing.T) {
	_, example, _ := strings.Cut(manifest.Reference(), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	if _, err := manifest.Parse("example.yaml", []byte(example), manifest.Options{}); err != nil {
		t.Error(err)
	}
}

// TestSchemaAgrees: the schema takes each file that is read without a mistake, and the fragments of bundles.
func TestSchemaAgrees(t *testing.T) {
	schema := compiled(t)
	var files []string
	for _, pattern := range []string{"testdata/*.yaml", "testdata/bundle/*.yaml", "testdata/estate/*.yaml", "../examples/*/*.yaml", "../examples/*/*/*.yaml"} {
		some, err := filepath.Glob(pattern)
		if err != nil || len(some) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(some), err)
		}
		files = append(files, some...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, wrong := manifest.Load(file, optionsOf(string(text)))
		if wrong != nil && !strings.Contains(wrong.Error(), "a fragment of a bundle") {
			continue
		}
		if err := schema.Validate(value(t, text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestSchemaRefuses: what an editor should underline, it does.
func TestSchemaRefuses(t *testing.T) {
	schema := compiled(t)
	for _, text := range []string{
		"rolez: []",
		"roles: [{login: true}]",
		"roles: [{name: a, login: maybe}]",
		"roles: [{name: a, connection_limit: many}]",
		"roles: {name: a}",
		"grants: [{role: a, privileges: [READ], object: {type: table, schema: s, name: t}}]",
		"grants: [{role: a, privileges: [SELECT], object: {type: tabel, schema: s, name: t}}]",
		"schemas: [{name: s, role_pattern: x}]",
		"sources: [{path: a.yaml}]",
		"databases: [{manifest: a.yaml}]",
		"apiVersion: v1",
		"- a",
	} {
		if schema.Validate(value(t, []byte(text))) == nil {
			t.Errorf("the schema takes %s", text)
		}
		if _, err := manifest.Parse("m.yaml", []byte(text), manifest.Options{}); err == nil {
			t.Errorf("the reader takes %s", text)
		}
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := manifest.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(manifest.SchemaID, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(manifest.SchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// value is what another YAML reader makes of a text, as an editor does; null is what is not there.
func value(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(withoutNulls(v))
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func withoutNulls(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, one := range x {
			if one == nil {
				delete(x, k)
			} else {
				x[k] = withoutNulls(one)
			}
		}
	case []any:
		for i := range x {
			x[i] = withoutNulls(x[i])
		}
	}
	return v
}
