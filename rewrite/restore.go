package rewrite

import (
	"strings"

	"github.com/pgscope/pgscope-proxy/rewrite/charset"
)

// replacement is what was put in the place of some of the client's text.
type replacement struct{ sent, client string }

// Restore makes a text that the server quotes of a DO block's SQL (the CONTEXT of an error, its internal query) the
// client's again. position is a 1-based character of the text, 0 for none, and is moved with it. Both texts are in UTF-8.
func (r *Result) Restore(text string, position int) (string, int) {
	if len(r.inner) == 0 {
		return text, position
	}
	var b strings.Builder
	at := byteOffset(text, position)
	moved := at
	for i := 0; i < len(text); {
		p := r.replacedAt(text[i:])
		if p == nil {
			b.WriteByte(text[i])
			i++
			continue
		}
		switch shift := len(p.client) - len(p.sent); {
		case at >= i+len(p.sent):
			moved += shift
		case at > i: // inside
			moved -= at - i
		}
		b.WriteString(p.client)
		i += len(p.sent)
	}
	restored := b.String()
	if position <= 0 {
		return restored, position
	}
	return restored, charset.UTF8.Count(restored[:min(moved, len(restored))]) + 1
}

// replacedAt returns the longest replacement that the text begins with.
func (r *Result) replacedAt(text string) (longest *replacement) {
	for i := range r.inner {
		p := &r.inner[i]
		if p.sent != "" && strings.HasPrefix(text, p.sent) && (longest == nil || len(p.sent) > len(longest.sent)) {
			longest = p
		}
	}
	return longest
}
