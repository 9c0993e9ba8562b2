package rewrite

import (
	"strings"
)

// standIns are the parts of newer grammars that the parser does not know, in places where other words of the same meaning
// for roles may stand, or none: the statement is read with those. With must be no longer than the words.
var standIns = []struct {
	since int // server_version_num
	words []string
	with  string
}{
	{180000, []string{"large", "objects"}, "TABLES"}, // ALTER DEFAULT PRIVILEGES … ON LARGE OBJECTS
	{180000, []string{"not", "enforced"}, ""},        // of a constraint
	{180000, []string{"enforced"}, ""},
	{180000, []string{"virtual"}, "STORED"}, // GENERATED ALWAYS AS (…) VIRTUAL
}

// standIn returns the text of a statement with what stands in for its newer parts, byte for byte in the same place; false
// where it has none. base is where the text begins.
func standIn(t tokens, text string, base, version int) (string, bool) {
	found := false
	for _, s := range standIns {
		if version != 0 && version < s.since {
			continue
		}
		for i := range t.list {
			if !t.says(i, s.words) {
				continue
			}
			start, end := t.list[i].start-base, t.list[i+len(s.words)-1].end-base
			text = text[:start] + s.with + strings.Repeat(" ", end-start-len(s.with)) + text[end:]
			found = true
		}
	}
	return text, found
}

// says reports whether the words stand from token i on.
func (t tokens) says(i int, words []string) bool {
	if i+len(words) > len(t.list) {
		return false
	}
	for j, w := range words {
		if !is([]byte(t.text(i+j)), w) {
			return false
		}
	}
	return true
}
