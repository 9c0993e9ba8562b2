package packaging_test

import (
	"os"
	"os/exec"
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

// TestPackageVersion: a package can be installed, whatever the commit that it is made of is called.
func TestPackageVersion(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "1.2.3-4-gab4becb": "1.2.3-4-gab4becb", "ab4becb": "0.0.0-gab4becb", "0123456-dirty": "0.0.0-g0123456-dirty", "unknown": "0.0.0-gunknown",
	} {
		cmd := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-n", "dist", "VERSION="+version)
		cmd.Dir = ".."
		said, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(said), " VERSION="+want+" go run ") {
			t.Errorf("%s: %v, %s", version, err, said)
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
