package packaging_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildContext: what .dockerignore lets through has every file that the program is made of.
func TestBuildContext(t *testing.T) {
	want, got := sources(t, ".."), sources(t, buildContext(t))
	if want != got {
		t.Errorf("the sources are\n%s\nin the context of the image they are\n%s", want, got)
	}
}

// sources lists the files of this module that make the program in a copy of the repository.
func sources(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		"{{with .Module}}{{if .Main}}{{$.ImportPath}} {{$.GoFiles}} {{$.EmbedFiles}}{{end}}{{end}}", "./cmd/pgscope-proxy")
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err, stderr.String())
	}
	return string(out)
}

// buildContext makes a directory with what .dockerignore lets through, as `docker build` does.
func buildContext(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ignored := ignores(t)
	err := fs.WalkDir(os.DirFS(".."), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || ignored(file) {
			return err
		}
		content, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			return err
		}
		to := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// ignores returns what .dockerignore says of a file: the last line decides that matches it or a directory that it is in.
// Of the format, it knows what that file uses: **/ is at the beginning of a pattern alone, with one name after it.
func ignores(t *testing.T) func(file string) bool {
	t.Helper()
	var lines []string
	for line := range strings.Lines(read(t, "../.dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return func(file string) (ignored bool) {
		for _, line := range lines {
			pattern, except := strings.CutPrefix(line, "!")
			name, anywhere := strings.CutPrefix(pattern, "**/")
			for at := file; at != "."; at = path.Dir(at) {
				of := at
				if anywhere {
					of = path.Base(at)
				}
				matches, err := path.Match(name, of)
				if err != nil || strings.Contains(name, "**") {
					t.Fatalf(".dockerignore: %s: %v", line, err)
				}
				if matches {
					ignored = !except
				}
			}
		}
		return ignored
	}
}
