package packaging_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/spf13/pflag"

	"github.com/pgscope/pgscope-proxy/config"
)

// object is what this test reads of a Kubernetes object.
type object struct {
	Kind string
	Data map[string]string
}

// The settings that the packages and the Kubernetes objects bring are settings that the program takes.
func TestSettings(t *testing.T) {
	settings := map[string]string{"systemd/pgscope.yaml": read(t, "systemd/pgscope.yaml")}
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for part := range strings.SplitSeq(read(t, file), "\n---\n") {
			var o object
			if err := yaml.Unmarshal([]byte(part), &o); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			if text, ok := o.Data["pgscope.yaml"]; ok {
				settings[file] = text
			}
		}
	}
	if len(settings) != 3 {
		t.Errorf("settings in %d files", len(settings))
	}
	for file, text := range settings {
		path := filepath.Join(t.TempDir(), "pgscope.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
		config.AddFlags(flags)
		if err := flags.Parse([]string{"--config", path}); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(flags); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
