package manifest

import (
	"encoding/json"
	"maps"
)

// SchemaID is where the JSON Schema of manifests says that it is.
const SchemaID = "https://github.com/pgscope/pgscope-proxy/docs/manifest.schema.json"

// Schema returns the JSON Schema (draft 2020-12) of all files that [Load] reads, and of the fragments of bundles. It is
// made of the same tables as the reader.
func Schema() ([]byte, error) {
	defs, roots := definitions()
	text, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     SchemaID,
		"title":   "Manifest of access",
		"anyOf":   append(roots, map[string]any{"type": "null"}), // an empty file says nothing
		"$defs":   defs,
	}, "", "  ")
	return append(text, '\n'), err
}

// definitions returns the schemas of all mappings by name, and those of files.
func definitions() (defs map[string]any, roots []any) {
	defs = make(map[string]any)
	for _, schema := range []func(map[string]any) map[string]any{
		manifestForm.schema, bundleForm.schema, fragmentForm.schema, estateForm.schema, resourceForm.schema,
	} {
		roots = append(roots, schema(defs))
	}
	return defs, roots
}

// objectSchema puts the schema of a mapping into defs and refers to it.
func objectSchema[T any](defs map[string]any, name string, keys []key[T]) map[string]any {
	if _, ok := defs[name]; !ok {
		defs[name] = nil // being made
		properties := make(map[string]any, len(keys))
		required := []string{}
		for _, k := range keys {
			property := maps.Clone(k.schema(defs))
			property["description"] = k.doc
			properties[k.name] = property
			if k.required {
				required = append(required, k.name)
			}
		}
		defs[name] = map[string]any{
			"type": "object", "properties": properties, "required": required, "additionalProperties": false,
		}
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}
