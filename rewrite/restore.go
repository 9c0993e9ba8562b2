package rewrite

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// replacement is what was put in the place of some of the client's text.
type replacement struct{ sent, client string }

// Restore makes a text that the server quotes of the SQL in a DO block (the CONTEXT of an error, its internal query) the
// client's again. position is a 1-based character of the text, 0 for none, and is moved with it. Both texts are in UTF-8.
func (r *Result) Restore(text string, position int) (string, int) {
	if len(r.inner) == 0 {
		return text, position
	}
	list := slices.DeleteFunc(slices.Clone(r.inner), func(p replacement) bool { return p.sent == "" })
	slices.SortStableFunc(list, func(a, b replacement) int { return len(b.sent) - len(a.sent) }) // the longest is tried first
	pairs := make([]string, 0, 2*len(list))
	for _, p := range list {
		pairs = append(pairs, p.sent, p.client)
	}
	back := strings.NewReplacer(pairs...)
	restored := back.Replace(text)
	if position <= 0 {
		return restored, position
	}
	before := back.Replace(text[:byteOffset(text, position)])
	return restored, min(utf8.RuneCountInString(before), utf8.RuneCountInString(restored)) + 1
}
