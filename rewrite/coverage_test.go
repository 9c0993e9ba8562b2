package rewrite

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// lastReference is the number of the last row of docs/reference-coverage.md.
const lastReference = 108

var (
	coverageRow = regexp.MustCompile(`^\| A(\d+) \| (.*) \| [^|]*\| [^|]*\|$`)
	caseNumber  = regexp.MustCompile(`^a(\d+)_`)
	testName    = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")
)

// TestReferenceCoverage holds docs/reference-coverage.md to the golden cases, whose names begin with the row's number,
// and to the tests that it names.
func TestReferenceCoverage(t *testing.T) {
	const file = "../docs/reference-coverage.md"
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tests := casesByReference(t)
	lines := strings.Split(string(content), "\n")
	next := 1
	for i, line := range lines {
		m := coverageRow.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if m[1] != fmt.Sprint(next) {
			t.Fatalf("row A%s stands where A%d belongs", m[1], next)
		}
		next++
		list := tests[m[1]]
		if len(list) == 0 {
			t.Errorf("A%s has no case", m[1])
		}
		lines[i] = coverageLine(m[1], m[2], list)
	}
	if next != lastReference+1 {
		t.Errorf("the last row is A%d", next-1)
	}
	want := strings.Join(lines, "\n")
	if want != string(content) {
		if *update {
			err = os.WriteFile(file, []byte(want), 0o644)
		} else {
			t.Error("docs/reference-coverage.md is out of date: run the test with -update")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range testName.FindAllStringSubmatch(string(content), -1) {
		if !slices.Contains(testFunctions(t), m[1]) {
			t.Errorf("there is no %s", m[1])
		}
	}
}

func coverageLine(number, statement string, list []goldenCase) string {
	var outcomes, names []string
	for _, c := range list {
		names = append(names, c.header[0])
		for _, o := range c.outcomes() {
			if !slices.Contains(outcomes, o) {
				outcomes = append(outcomes, o)
			}
		}
	}
	slices.Sort(outcomes)
	return fmt.Sprintf("| A%s | %s | %s | %s |", number, statement, strings.Join(outcomes, ", "), strings.Join(names, ", "))
}

// casesByReference returns the cases of each row, by its number.
func casesByReference(t *testing.T) map[string][]goldenCase {
	t.Helper()
	files, err := filepath.Glob("testdata/*.sqltest")
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string][]goldenCase)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases(t, string(content)) {
			if m := caseNumber.FindStringSubmatch(c.header[0]); m != nil {
				tests[m[1]] = append(tests[m[1]], c)
			}
		}
	}
	return tests
}

// outcomes says in a word or two what the case wants to become of its text.
func (c goldenCase) outcomes() (list []string) {
	sent, _, _ := strings.Cut(strings.TrimPrefix(c.want, "----\n"), "\n----\n")
	switch {
	case strings.HasPrefix(sent, "ERROR "), strings.Contains(sent, refusedFunction):
		list = append(list, "refused")
	case strings.HasPrefix(sent+"\n", c.text+"\n"), sent == "untouched\n", sent == "names no role\n":
		list = append(list, "left alone")
	default:
		list = append(list, "mapped")
	}
	if strings.Contains(sent, "\nNOTICE at ") {
		list[0] = strings.Replace(list[0], "left alone", "notice", 1)
		if list[0] != "notice" {
			list = append(list, "notice")
		}
	}
	return list
}

// testFunctions are the names of the repository's tests.
func testFunctions(t *testing.T) (names []string) {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(content), -1) {
			names = append(names, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
