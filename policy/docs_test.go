package policy

import (
	"os"
	"strings"
	"testing"
)

// TestDocumented: docs/policy.md has each word that a rule can be made of.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for key := range conditions {
		words = append(words, key)
	}
	for _, k := range kinds {
		words = append(words, string(k))
	}
	words = append(words, attributes...)
	words = append(words, homes...)
	for _, w := range words {
		if !strings.Contains(string(text), "`"+w+"`") {
			t.Errorf("docs/policy.md says nothing of %s", w)
		}
	}
}
