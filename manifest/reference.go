package manifest

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed reference.md
var referenceHead string

// Reference returns docs/manifest.md: every key, from the tables.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("\n## Keys\n")
	defs, _ := definitions()
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		fmt.Fprintf(&b, "\n### %s\n\n| Key | Value | |\n|---|---|---|\n", name)
		def, _ := defs[name].(map[string]any) // as objectSchema makes it
		properties, _ := def["properties"].(map[string]any)
		required, _ := def["required"].([]string)
		for _, key := range slices.Sorted(maps.Keys(properties)) {
			property, _ := properties[key].(map[string]any)
			must := ""
			if slices.Contains(required, key) {
				must = " Required."
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s%s |\n", key, valueOf(property), property["description"], must)
		}
	}
	return b.String()
}

// valueOf tells in words what a schema takes.
func valueOf(schema map[string]any) string {
	if ref, ok := schema["$ref"].(string); ok {
		name := ref[strings.LastIndex(ref, "/")+1:]
		return fmt.Sprintf("[%s](#%s)", name, name)
	}
	if words, ok := schema["enum"].([]string); ok {
		return "`" + strings.Join(words, "`, `") + "`"
	}
	switch schema["type"] {
	case "array":
		item, _ := schema["items"].(map[string]any)
		return "list: " + valueOf(item)
	case "object":
		if item, ok := schema["additionalProperties"].(map[string]any); ok && item["$ref"] != nil {
			return "mapping: name to " + valueOf(item)
		}
		return "mapping: name to text"
	case "boolean":
		return fmt.Sprintf("`true`, `false`; default `%v`", schema["default"])
	case "integer":
		return fmt.Sprintf("number; default `%v`", schema["default"])
	case nil:
		if c, ok := schema["const"]; ok {
			return fmt.Sprintf("`%v`", c)
		}
		return "anything"
	default:
		return "text"
	}
}
