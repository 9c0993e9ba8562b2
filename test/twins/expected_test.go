//go:build twins

package twins

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// expectation is a difference that stays.
type expectation struct {
	script string
	line   *regexp.Regexp // the whole line, with the sign before it
	seen   bool
}

type expectations []*expectation

// readExpected reads a file of expectations: a script's name and a regular expression on each line, below the reason for
// them, which comments tell.
func readExpected(t *testing.T, file string) (list expectations) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	reason := false
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			reason = false
			continue
		case strings.HasPrefix(line, "#"):
			reason = true
			continue
		case !reason:
			t.Fatalf("%s: no reason is given for %s", file, line)
		}
		script, pattern, _ := strings.Cut(line, " ")
		re, err := regexp.Compile("^(?:" + strings.TrimSpace(pattern) + ")$")
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		list = append(list, &expectation{script: script, line: re})
	}
	return list
}

// match tells whether a difference is among them.
func (list expectations) match(script, line string) bool {
	for _, e := range list {
		if e.script == script && e.line.MatchString(line) {
			e.seen = true
			return true
		}
	}
	return false
}
