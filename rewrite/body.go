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
		r.notSeen(language, l, value, err)
	}
}

// routine is for the body of CREATE FUNCTION and CREATE PROCEDURE: it is stored, and runs later, maybe in a copy of the
// database, so that nothing in it is mapped.
func (r *reader) routine(n *pg.CreateFunctionStmt) {
	language := ""
	for _, d := range options(n.Options, "language") {
		language = d.Arg.GetString_().GetSval()
	}
	for _, d := range options(n.Options, "as") {
		list := d.Arg.GetList().GetItems()
		if len(list) != 1 {
			continue // a function in C
		}
		value := list[0].GetString_().GetSval()
		i := r.tokens.index(r.base+int(d.Location)) + 1 // AS
		l, err := r.tokens.literal(i, value)
		r.notSeen(language, l, value, err)
	}
}

// notSeen notes where a body that is not mapped may name roles. err is why its place is not known.
func (r *reader) notSeen(language string, l *layer, value string, err error) {
	mentions := mentionsOf(value)
	if len(mentions) > 0 {
		mentions = mentionsOf(r.withoutRoleless(language, value))
	}
	if len(mentions) == 0 {
		return
	}
	if err != nil {
		l = &layer{text: value, runs: []run{{0, r.start}, {1, r.start}}} // all of it at the statement
	}
	r.unseen = append(r.unseen, unseen{unseenBody, mentions}.lift(layers{l}))
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
		r.makes = r.makes || b.statements[j].makes || slices.ContainsFunc(b.statements[j].names, name.makes)
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
