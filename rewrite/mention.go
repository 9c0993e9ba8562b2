package rewrite

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// maxMentions bounds how many places one notice names.
const maxMentions = 10

// unseen is text of a statement that runs at another time, or is put together first: the names in it are not mapped.
type unseen struct {
	what     unseenKind
	mentions []mention
}

type unseenKind int

const (
	unseenBody   unseenKind = iota // of CREATE FUNCTION, or of a language that is not read
	unseenString                   // beside EXECUTE of an expression
)

// mention is a place where a text speaks of roles.
type mention struct {
	at   int // byte of the text
	text string
}

// speaksOfRoles are the words by which a text speaks of roles, in lower case. What may stand in a place is divided by '|'.
var speaksOfRoles = [][]string{
	{"grant"},
	{"revoke"},
	{"create|alter|drop", "role|user|group"},
	{"create|alter|drop", "dbonly"},
	{"create|alter", "policy"},
	{"comment", "on", "role"},
	{"owner", "to"},
	{"owned", "by"},
	{"default", "privileges"},
	{"set", "role"},
	{"set", "local|session", "role"},
	{"session", "authorization"},
	{"session_authorization"},
}

// mentionsOf returns where a text in whatever language speaks of roles, at most maxMentions places. It knows SQL's
// comments and passes over them.
func mentionsOf(text string) (list []mention) {
	w := words{text: []byte(text), patience: len(text)}
	var last []stretch // the words before the place, nearest last
	for len(list) < maxMentions {
		word := w.next()
		if len(word) == 0 {
			if w.at >= len(w.text) {
				break
			}
			w.at++ // some other character; a ',' too parts words
			last = last[:0]
			continue
		}
		last = append(last, stretch{w.at - len(word), w.at})
		for _, phrase := range speaksOfRoles {
			if n := len(last) - len(phrase); n >= 0 && saysPhrase(w.text, last[n:], phrase) {
				start, end := last[n].start, w.at
				list = append(list, mention{start, strings.ToUpper(strings.Join(strings.Fields(text[start:end]), " "))})
				last = last[:0]
				break
			}
		}
	}
	return list
}

func saysPhrase(text []byte, at []stretch, phrase []string) bool {
	for i, s := range at {
		if !isOneOf(text[s.start:s.end], phrase[i]) {
			return false
		}
	}
	return true
}

// isOneOf reports whether a word is one of those that '|' divides.
func isOneOf(word []byte, choice string) bool {
	for choice != "" {
		var one string
		one, choice, _ = strings.Cut(choice, "|")
		if is(word, one) {
			return true
		}
	}
	return false
}

// lift makes the places those of the outer text.
func (u unseen) lift(s layers) unseen {
	lifted := make([]mention, len(u.mentions))
	for i, m := range u.mentions {
		lifted[i] = mention{s.outer(m.at), m.text}
	}
	return unseen{u.what, lifted}
}

func countLines(text string) int { return strings.Count(text, "\n") }

// notice says in which lines of the text what cannot be seen stands.
func (u unseen) notice(sql string, lines *counter) *Error {
	e := scope.Error{Code: codeSuccess, Hint: "They are those of the whole cluster: write them there as the server has them, with the database's prefix."}
	switch u.what {
	case unseenBody:
		e.Message = "role names in the body of a function are not mapped"
	case unseenString:
		e.Message = "role names in a string that is executed are not mapped"
	}
	places := make([]string, len(u.mentions))
	for i, m := range u.mentions {
		places[i] = fmt.Sprintf("Line %d: %s.", 1+lines.upTo(sql, m.at, countLines), m.text)
	}
	e.Detail = strings.Join(places, " ")
	return at(e, sql, u.mentions[0].at)
}

// withoutRoleless returns a body with blanks for what certainly names no role: statements that can be read and name
// none (GRANT … TO PUBLIC), but for strings in them that are not read, and what RAISE only tells.
func (r *reader) withoutRoleless(language, text string) string {
	list, err := scan(text)
	if err != nil || !r.StandardStrings || r.depth >= maxBodies {
		return text
	}
	if _, deep := tooDeep(list); deep {
		return text
	}
	inner := r.reading
	inner.depth++
	bare := []byte(text)
	for _, f := range partsOf(language, tokens{text, list}) {
		all := f.onlyTold()
		if !all {
			var roleless bool
			if roleless, all = r.roleless(f, inner); !roleless {
				continue
			}
		}
		for i, k := range f.tokens.list {
			if kind := f.tokens.kind(i); all || kind != pg.Token_SCONST && kind != pg.Token_USCONST {
				copy(bare[k.start:k.end], strings.Repeat(" ", k.end-k.start))
			}
		}
	}
	return string(bare)
}

// partsOf returns the parts of a body that can be read by themselves; none where its language is not known.
func partsOf(language string, t tokens) (list []fragment) {
	switch language {
	case "plpgsql":
		list, err := fragments(t)
		if err != nil {
			return nil
		}
		return list
	case "sql":
		for _, part := range split(t) {
			list = append(list, fragment{sqlStatement, part})
		}
	}
	return list
}

// roleless reports whether a part of a body certainly names no role outside of strings, or in all of it.
func (r *reader) roleless(f fragment, rd reading) (ok, all bool) {
	if f.kind == sqlExecuted {
		list, read := r.readExecuted(f, rd)
		ok = read && !nameRoles(list)
		return ok, ok
	}
	p, failure := parseFragment(f, rd)
	return failure == nil && p.unread == nil && !nameRoles(p.statements()), false
}

// nameRoles reports whether statements name roles, as far as they can be read.
func nameRoles(list []*statement) bool {
	return slices.ContainsFunc(list, func(s *statement) bool {
		return s.names != nil || s.refusal != nil || s.unmapped != nil || s.unseen != nil || s.users != nil ||
			slices.ContainsFunc(s.bodies, func(b body) bool { return nameRoles(b.statements) })
	})
}
