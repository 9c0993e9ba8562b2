package rewrite

import (
	"errors"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// readBlock reads a PL/pgSQL block.
func readBlock(r *reader, s layers) (body, *Error) {
	b := body{layers: s}
	text := s[len(s)-1].text
	inner := r.reading
	inner.depth++
	list, err := scan(text)
	if err != nil {
		return b, unreadable(err, text, text, 0, inner)
	}
	if _, deep := tooDeep(list); deep {
		return b, unreadBody(errors.New("it is too complex"))
	}
	b.quotes = quotesErrors(block{t: tokens{text, list}})
	parts, err := fragments(tokens{text, list})
	if err != nil {
		return b, unreadBody(err)
	}
	computed := false
	var told []stretch // where strings are not executed unseen
	for _, f := range parts {
		if f.onlyTold() {
			told = append(told, stretch{f.tokens.list[0].start, f.tokens.list[len(f.tokens.list)-1].end})
		}
		if f.kind == sqlExecuted {
			found, read := r.readExecuted(f, inner)
			b.statements = append(b.statements, found...)
			if read {
				told = append(told, stretch{f.tokens.list[0].start, f.tokens.list[len(f.tokens.list)-1].end})
			} else {
				computed = true
			}
			continue
		}
		p, failure := parseFragment(f, inner)
		if failure != nil && bearsRole(f.tokens) {
			return b, failure
		}
		b.statements = append(b.statements, p.statements()...)
	}
	if computed {
		b.noteStrings(tokens{text, list}, told)
		for i := range b.statements {
			b.statements[i].references = slices.DeleteFunc(b.statements[i].references, reference.forTexts)
		}
	}
	return b, nil
}

// quotesErrors reports whether a block may put the message of an error into one of its own:
// SQLERRM, GET STACKED DIAGNOSTICS.
func quotesErrors(b block) bool {
	raises, quotes := false, false
	for i := range b.t.list {
		raises = raises || b.word(i, "raise")
		quotes = quotes || b.word(i, "sqlerrm", "stacked")
	}
	return raises && quotes
}

// intoWords are the statements of which PL/pgSQL takes an INTO clause out before SQL sees them.
var intoWords = []string{"select", "with", "insert", "update", "delete", "merge", "values", "table"}

// parseFragment parses a part of a block.
func parseFragment(f fragment, rd reading) (piece, *Error) {
	t := f.tokens
	start, end := t.list[0].start, t.list[len(t.list)-1].end
	p := piece{reading: rd, base: start, tokens: t, raised: f.kind == sqlRaised}
	text := t.bare(start, end)
	if f.kind != sqlStatement {
		const lead = "SELECT "
		p.base -= len(lead)
		text = lead + text
	} else if b := (block{t: t}); b.word(0, intoWords...) {
		text = b.withoutInto(text, start)
	}
	return p.parse(text)
}

// withoutInto blanks the targets of INTO.
func (b *block) withoutInto(text string, base int) string {
	for from := 1; ; {
		into := b.find(from, "into")
		if !b.word(into, "into") {
			return text
		}
		if b.word(into-1, "insert", "merge") {
			from = into + 1
			continue
		}
		i := into + 1
		if b.word(i, "strict") {
			i++
		}
		for b.t.isName(i) { // target, target.field, target[1]
			i++
			for b.word(i, ".", "[") {
				if b.t.kind(i) == tokenDot {
					i++
				} else if i = b.t.closingToken(i); i == none {
					return text
				}
				i++
			}
			if b.t.kind(i) != tokenComma {
				break
			}
			i++
		}
		start, end := b.t.list[into].start-base, b.t.list[i-1].end-base
		return text[:start] + strings.Repeat(" ", end-start) + text[end:]
	}
}

// readExecuted reads the expression of an EXECUTE. read is false where it computes a text that cannot be seen.
func (r *reader) readExecuted(f fragment, rd reading) (found []*statement, read bool) {
	t := f.tokens
	for t.kind(0) == tokenOpen && t.kind(len(t.list)-1) == tokenClose && len(t.list) > len("()") {
		t.list = t.list[1 : len(t.list)-1]
	}
	p, failure := parseFragment(fragment{sqlExpression, t}, rd)
	if failure != nil { // as of ('a') || ('b'), without its parentheses
		p, failure = parseFragment(f, rd)
		t = f.tokens
	}
	if failure != nil {
		return nil, false // the server will say so
	}
	inner := &reader{piece: p}
	inner.start, inner.end = t.list[0].start, t.list[len(t.list)-1].end
	inner.allRoles, inner.md5 = none, none
	var expression *pg.Node
	if columns := p.tree.Stmts[0].Stmt.GetSelectStmt().GetTargetList(); len(columns) == 1 {
		expression = columns[0].GetResTarget().GetVal()
	}
	if text, parts := t.template(expression, p.base); text != nil {
		if says, ok := inner.readTemplate(text, parts); ok {
			p.says = says
			return append(p.statements(), inner.done()), true
		}
	}
	switch k := t.kind(0); {
	case k == pg.Token_SCONST && len(t.list) == 1:
	case k == pg.Token_USCONST && (len(t.list) == 1 || len(t.list) == 3 && t.kind(1) == pg.Token_UESCAPE):
	default:
		return p.statements(), false
	}
	value, _ := constant(expression)
	inner.readBody(0, value, readStatements)
	return []*statement{inner.done()}, true
}

// noteStrings notes what the strings of a block say of roles, but for those in some places: one of them may be what a
// computed EXECUTE executes.
func (b *body) noteStrings(t tokens, but []stretch) {
	u := unseen{what: unseenString}
	for i, k := range t.list {
		seen := func(s stretch) bool { return s.start <= k.start && k.end <= s.end }
		if k.kind != pg.Token_SCONST && k.kind != pg.Token_USCONST || slices.ContainsFunc(but, seen) {
			continue
		}
		for _, m := range mentionsOf(t.text(i)) {
			if len(u.mentions) < maxMentions {
				u.mentions = append(u.mentions, mention{k.start + m.at, m.text})
			}
		}
	}
	if len(u.mentions) > 0 {
		b.statements = append(b.statements, &statement{unseen: []unseen{u}})
	}
}
