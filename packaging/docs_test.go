package packaging_test

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notSlug = regexp.MustCompile("[^a-z0-9 _-]")
)

// TestLinks: what the documents point at is there, headings too, and who begins with README.md comes to every one of them.
func TestLinks(t *testing.T) {
	root := os.DirFS("..")
	reached := map[string]bool{"README.md": true}
	for todo := []string{"README.md"}; len(todo) > 0; todo = todo[1:] {
		for _, m := range link.FindAllStringSubmatch(document(t, root, todo[0]), -1) {
			to, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %v", todo[0], err)
				continue
			}
			if to.Scheme != "" {
				continue
			}
			file := todo[0]
			if to.Path != "" {
				file = path.Join(path.Dir(file), to.Path)
			}
			at, err := fs.Stat(root, file)
			if err != nil {
				t.Errorf("%s: %v", todo[0], err)
				continue
			}
			next := []string{file}
			if at.IsDir() { // its pages, as a browser of the repository lists them
				next, _ = fs.Glob(root, file+"/*.md") // the pattern is no bad one
			}
			for _, f := range next {
				if !reached[f] && strings.HasSuffix(f, ".md") {
					todo = append(todo, f)
				}
				reached[f] = true
			}
			if to.Fragment != "" && !headings(document(t, root, file))[to.Fragment] {
				t.Errorf("%s: %s has no heading %q", todo[0], file, to.Fragment)
			}
		}
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages", err)
	}
	for _, page := range pages {
		if !reached[path.Join("docs", filepath.Base(page))] {
			t.Errorf("nothing leads to %s", page)
		}
	}
}

func document(t *testing.T, root fs.FS, file string) string {
	t.Helper()
	text, err := fs.ReadFile(root, file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// headings returns what links call the headings of a page.
func headings(text string) map[string]bool {
	names := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		names[strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return names
}
