package rewrite

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pgscope/pgscope-proxy/scope"
)

// replacement is what was put in the place of some of the client's text.
type replacement struct{ sent, client string }

// Restore makes a text that the server quotes of the SQL in a DO block (the CONTEXT of an error, its internal query) the
// client's again. position is a 1-based character of the text, 0 for none, and is moved with it. Both texts are in UTF-8.
func (r *Result) Restore(text string, position int) (string, int) {
	if r.back == nil || len(text) > maxField {
		return text, position
	}
	back := r.back()
	restored := back.Replace(text)
	if position <= 0 {
		return restored, position
	}
	before := back.Replace(text[:byteOffset(text, position)])
	return restored, min(utf8.RuneCountInString(before), utf8.RuneCountInString(restored)) + 1
}

// backwards is what puts the client's text in the place of what was sent.
func (r *Result) backwards() *strings.Replacer {
	list := slices.DeleteFunc(slices.Clone(r.inner), func(p replacement) bool { return p.sent == "" })
	slices.SortStableFunc(list, func(a, b replacement) int { return len(b.sent) - len(a.sent) }) // the longest is tried first
	pairs := make([]string, 0, 2*len(list))
	for _, p := range list {
		pairs = append(pairs, p.sent, p.client)
	}
	return strings.NewReplacer(pairs...)
}

// Plan returns what takes from a plan, in each of EXPLAIN's formats, what the proxy has put into the expressions that the
// server keeps: the plan shows CURRENT_USER then, as the definitions do.
func Plan(db scope.Database) func(string) string {
	name, text := keptLeads(db)
	inPlans := func(k kept) (written []string) {
		for _, w := range k.written {
			written = append(written, w, inJSON.Replace(w), inXML.Replace(w))
		}
		return written
	}
	kept := regexp.MustCompile(keptPattern(inPlans(name), inPlans(text)))
	return func(plan string) string { return kept.ReplaceAllString(plan, "$1$2$3") }
}

// Texts in a plan are escaped as escape_json (json.c), in YAML too, and escape_xml (xml.c) do it.
var (
	inJSON = strings.NewReplacer(`"`, `\"`, `\`, `\\`)
	inXML  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
)
