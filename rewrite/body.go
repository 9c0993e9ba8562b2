package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// maxBodies bounds how deep bodies may stand in each other: a DO block in the string of an EXECUTE in a DO block …
const maxBodies = 8

// reading is what a text is read with.
type reading struct {
	Options
	depth  int  // how many bodies it stands in
	unsure bool // the client's text sets standard_conforming_strings: how strings in bodies will be read is not known
	again  *int // how many bytes of it may still be parsed again, see maxAgain
}

// reading returns what a client's text is read with.
func (o Options) reading() reading {
	again := maxAgain
	return reading{Options: o, again: &again}
}

// body is text inside a string of a statement that runs with the statement: the block of a DO, or what an EXECUTE
// in it executes. What its statements want, the statement wants.
type body struct {
	layers     layers // on the text of the statement that it stands in
	statements []*statement
	quotes     bool // it may raise what the server said in an error
}

// errBody says why a body cannot be read.
var (
	errTooManyBodies = fmt.Errorf("more than %d texts stand in each other", maxBodies)
	errUnsure        = errors.New("standard_conforming_strings is changed by the same text, and there are backslashes in strings")
)

// DO [LANGUAGE name] 'block'
func (r *reader) doBlock(n *pg.DoStmt) {
	language := "plpgsql"
	for _, d := range options(n.Args, "language") {
		language = d.Arg.GetString_().GetSval()
	}
	for _, d := range options(n.Args, "as") {
		value := d.Arg.GetString_().GetSval()
		i := r.tokens.index(r.base + int(d.Location))
		if language == "plpgsql" {
			r.readBody(i, value, readBlock)
			continue
		}
		l, err := r.tokens.literal(i, value)
		r.notSeen(unseenBody, l, value, err)
	}
}

// routine is for the body of CREATE FUNCTION and CREATE PROCEDURE: it is stored, and runs later, maybe in a copy of the
// database, so that nothing in it is mapped.
func (r *reader) routine(n *pg.CreateFunctionStmt) {
	for _, d := range options(n.Options, "as") {
		list := d.Arg.GetList().GetItems()
		if len(list) != 1 {
			continue // a function in C
		}
		value := list[0].GetString_().GetSval()
		i := r.tokens.index(r.base+int(d.Location)) + 1 // AS
		l, err := r.tokens.literal(i, value)
		r.notSeen(unseenBody, l, value, err)
	}
}

// notSeen notes where a text that is not read speaks of roles. err is why its place is not known.
func (r *reader) notSeen(what unseenKind, l *layer, value string, err error) {
	mentions := mentionsOf(value)
	if len(mentions) == 0 {
		return
	}
	if err != nil {
		l = &layer{text: value, runs: []run{{0, r.start}, {1, r.start}}} // all of it at the statement
	}
	r.unseen = append(r.unseen, unseen{what, mentions}.lift(layers{l}))
}

// readBody reads the text in the string constant at token i. Where that cannot be done and the text may name a role, the
// statement is refused.
func (r *reader) readBody(i int, value string, read func(*reader, layers) (body, *Error)) {
	var b body
	l, err := r.tokens.literal(i, value)
	failure := unreadBody(err)
	if err == nil {
		b, failure = r.inside(layers{l}, read)
	}
	if failure != nil {
		if !roleWords.in([]byte(value)) {
			return
		}
		if failure.place.text == "" {
			failure = at(failure.Error, r.tokens.sql, r.tokens.list[min(i, len(r.tokens.list)-1)].start)
		} else {
			failure = b.layers.liftError(failure, r.tokens.sql)
		}
		if r.refusal == nil {
			r.refusal = failure
		}
		return
	}
	r.take(b)
}

// take takes in a body that was read.
func (r *reader) take(b body) {
	r.quotes = r.quotes || b.quotes
	for j := range b.statements {
		r.quotes = r.quotes || b.statements[j].quotes
		for _, u := range b.statements[j].unseen {
			r.unseen = append(r.unseen, u.lift(b.layers))
		}
		b.statements[j].unseen = nil
	}
	uncertain := b.uncertain()
	r.earlier, r.transitions = append(r.earlier, uncertain...), append(r.transitions, uncertain...)
	b.statements, _, _ = attachTransitions(b.statements)
	if len(b.statements) > 0 {
		r.bodies = append(r.bodies, b)
	}
}

// unreadBody is the refusal of a body that cannot be read; nil for no error.
func unreadBody(err error) *Error {
	if err == nil {
		return nil
	}
	e := notRead(err)
	e.Hint = "Send the statements that name roles by themselves."
	return &Error{Error: e}
}

// inside reads a text one level deeper, as the server will read its strings.
func (r *reader) inside(s layers, read func(*reader, layers) (body, *Error)) (body, *Error) {
	text := s[len(s)-1].text
	if r.depth >= maxBodies {
		return body{}, unreadBody(errTooManyBodies)
	}
	if strings.IndexByte(text, '\\') >= 0 && r.unsure {
		return body{}, unreadBody(errUnsure)
	}
	if !r.StandardStrings {
		l, ok := standardStrings(text)
		if !ok {
			return body{}, unreadBody(errBlock)
		}
		if l != nil {
			s = append(s, l)
		}
	}
	return read(r, s)
}

// readStatements reads the text of an EXECUTE.
func readStatements(r *reader, s layers) (body, *Error) {
	inner := r.reading
	inner.depth++
	b := body{layers: s}
	pieces, refusal := parse(s[len(s)-1].text, inner)
	if refusal != nil {
		return b, refusal
	}
	for _, p := range pieces {
		b.statements = append(b.statements, p.statements()...)
	}
	return b, nil
}

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
	var executed []stretch // that were read
	for _, f := range parts {
		if f.kind == sqlExecuted {
			found, read := r.readExecuted(f, inner)
			b.statements = append(b.statements, found...)
			if read {
				executed = append(executed, stretch{f.tokens.list[0].start, f.tokens.list[len(f.tokens.list)-1].end})
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
		b.noteStrings(tokens{text, list}, executed)
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
				if b.t.kind(i) == tokenOpenBracket {
					i = b.closing(i)
				} else {
					i++
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

// closing returns the bracket that closes the one at token i.
func (b *block) closing(i int) int {
	depth := 0
	for ; i < len(b.t.list); i++ {
		switch b.t.kind(i) {
		case tokenOpenBracket:
			depth++
		case tokenCloseBracket:
			if depth--; depth == 0 {
				return i
			}
		default:
		}
	}
	return i
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

// noteStrings notes what the strings of a block say of roles, but for those that were read: one of them may be what a
// computed EXECUTE executes.
func (b *body) noteStrings(t tokens, read []stretch) {
	u := unseen{what: unseenString}
	for i, k := range t.list {
		seen := func(s stretch) bool { return s.start <= k.start && k.end <= s.end }
		if k.kind != pg.Token_SCONST && k.kind != pg.Token_USCONST || slices.ContainsFunc(read, seen) {
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
