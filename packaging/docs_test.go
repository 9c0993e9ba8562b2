package packaging_test

import (
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
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

// TestDecisionsListed: docs/architecture.md has a line for each decision.
func TestDecisionsListed(t *testing.T) {
	list := document(t, os.DirFS(".."), "docs/architecture.md")
	pages, err := filepath.Glob("../docs/adr/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("no decisions", err)
	}
	for _, page := range pages {
		if name := filepath.Base(page); !strings.Contains(list, "(adr/"+name+")") {
			t.Errorf("docs/architecture.md does not list %s", name)
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

var (
	sqlstate = regexp.MustCompile(`"([0-9][0-9A-Z]{4}|XX000)"`)
	alarm    = regexp.MustCompile(`\.(?:Error|Warn)\("([^"]+)"`)
	row      = regexp.MustCompile("(?m)^\\| ([0-9A-Z`][^|]*) \\|")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

// heard are SQLSTATEs that the program knows of servers, and gives with no error of its own.
var heard = []string{"00000", "22012", "23505", "25P02", "57P03"}

// TestMessages: docs/messages.md has each SQLSTATE of the proxy's own errors, and each message of its log that is a
// warning or an error, and none that is not.
func TestMessages(t *testing.T) {
	errors, log, found := strings.Cut(document(t, os.DirFS(".."), "docs/messages.md"), "\n## Log messages\n")
	if !found {
		t.Fatal("docs/messages.md has no log messages")
	}
	var all strings.Builder
	said, alarms := make(map[string]bool), make(map[string]bool)
	for file, text := range programFiles(t) {
		all.WriteString(text)
		for _, m := range alarm.FindAllStringSubmatch(text, -1) {
			alarms[m[1]] = true
		}
		switch part, _, _ := strings.Cut(file, "/"); {
		case file == "rewrite/localize.go": // which errors of the server's have names in them
		case part == "scope", part == "policy", part == "rewrite", part == "proxy":
			for _, m := range sqlstate.FindAllStringSubmatch(text, -1) {
				said[m[1]] = !slices.Contains(heard, m[1])
			}
		}
	}
	for _, m := range row.FindAllStringSubmatch(errors, -1) {
		for code := range strings.SplitSeq(m[1], ", ") {
			if !said[code] && code != "SQLSTATE" {
				t.Errorf("docs/messages.md has %s, the program has not", code)
			}
			delete(said, code)
		}
	}
	for code, own := range said {
		if own {
			t.Errorf("docs/messages.md does not have %s", code)
		}
	}
	for _, m := range row.FindAllStringSubmatch(log, -1) {
		for _, name := range quoted.FindAllStringSubmatch(m[1], -1) {
			if !strings.Contains(all.String(), strconv.Quote(name[1])) {
				t.Errorf("docs/messages.md has %q, the log has not", name[1])
			}
			delete(alarms, name[1])
		}
	}
	for message := range alarms {
		t.Errorf("docs/messages.md does not have %q", message)
	}
}

// programFiles returns the program's own files: no tests, and what is not part of it.
func programFiles(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (file == "test" || file == "packaging"):
			return fs.SkipDir
		case strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go"):
			files[file] = document(t, root, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestNames: the tests, benchmarks and fuzz targets that documents name are there, and so is what they tell make to do.
func TestNames(t *testing.T) {
	var (
		test    = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]+\b`)
		defined = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w+)\(`)
		making  = regexp.MustCompile("(?:\n    |`)(?:[A-Z_]+=\\S+ )*make ((?:[a-z][a-z-]+ ?)+)")
		target  = regexp.MustCompile(`(?m)^([a-z][a-z-]+):`)
	)
	root := os.DirFS("..")
	have := make(map[string]bool)
	var pages []string
	err := fs.WalkDir(root, ".", func(file string, _ fs.DirEntry, err error) error {
		switch {
		case strings.HasSuffix(file, "_test.go"):
			for _, m := range defined.FindAllStringSubmatch(document(t, root, file), -1) {
				have[m[1]] = true
			}
		case strings.HasSuffix(file, ".md"):
			pages = append(pages, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	targets := make(map[string]bool)
	for _, m := range target.FindAllStringSubmatch(document(t, root, "Makefile"), -1) {
		targets[m[1]] = true
	}
	for _, page := range pages {
		text := document(t, root, page)
		for _, name := range test.FindAllString(text, -1) {
			begun := func(defined string) bool { return strings.HasPrefix(defined, name) } // as -run takes it
			if !slices.ContainsFunc(slices.Collect(maps.Keys(have)), begun) {
				t.Errorf("%s: there is no %s", page, name)
			}
		}
		for _, m := range making.FindAllStringSubmatch(text, -1) {
			for name := range strings.FieldsSeq(m[1]) {
				if !targets[name] {
					t.Errorf("%s: make has no %s", page, name)
				}
			}
		}
	}
}
