package rewrite

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pgscope/pgscope-proxy/rewrite/charset"
)

// edit replaces the bytes [start, end) of the client's text.
type edit struct {
	start, end int
	text       string
}

// Edits says how the text that is sent differs from the client's: replacements in ascending order, none overlapping
// another. The zero value says that it does not.
type Edits []edit

// sort orders them by place. What is put before a word goes before what replaces it.
func (e Edits) sort() {
	slices.SortStableFunc(e, func(a, b edit) int { return cmp.Or(a.start-b.start, min(a.end-a.start, 1)-min(b.end-b.start, 1)) })
}

// apply returns the text with the edits made.
func (e Edits) apply(sql string) string {
	if len(e) == 0 {
		return sql
	}
	var b strings.Builder
	size := len(sql)
	for _, r := range e {
		size += len(r.text) - (r.end - r.start)
	}
	b.Grow(size)
	done := 0
	for _, r := range e {
		b.WriteString(sql[done:r.start])
		b.WriteString(r.text)
		done = r.end
	}
	b.WriteString(sql[done:])
	return b.String()
}

// position maps a 1-based character of the text that was sent to the client's text, both in the character set.
func (e Edits) position(set *charset.Charset, client, sent string, p int) int {
	b := set.Offset(sent, p)
	shift := 0 // how far the sent text is behind the client's, in bytes
	for _, r := range e {
		start := r.start + shift
		if b < start {
			break
		}
		if b < start+len(r.text) {
			return set.Count(client[:r.start]) + 1
		}
		shift += len(r.text) - (r.end - r.start)
	}
	return set.Count(client[:min(b-shift, len(client))]) + 1
}

// byteOffset returns where the 1-based character p of s begins, at most len(s).
func byteOffset(s string, p int) int {
	b := 0
	for ; p > 1 && b < len(s); p-- {
		_, n := utf8.DecodeRuneInString(s[b:])
		b += n
	}
	return b
}
