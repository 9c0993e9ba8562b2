package manifest_test

import (
	"path/filepath"
	"testing"

	"github.com/pgscope/pgscope-proxy/manifest"
)

// TestExamples reads the examples without a word against them.
func TestExamples(t *testing.T) {
	for _, file := range []string{"single/manifest.yaml", "services/bootstrap.yaml", "services/bundle.yaml", "estate/estate.yaml"} {
		m, err := manifest.Load(filepath.Join("..", "examples", file), manifest.Options{})
		if err != nil {
			t.Errorf("%s:\n%v", file, err)
			continue
		}
		for _, w := range m.Warnings {
			t.Errorf("%s: %v", file, w)
		}
	}
}
