package rewrite

import (
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/pgscope/pgscope-proxy/rewrite/charset"
	"github.com/pgscope/pgscope-proxy/scope"
)

// SQLSTATEs that only this package raises, with their names of PostgreSQL's appendix A.
const (
	codeSuccess         = "00000" // successful_completion: of a notice
	codeSyntaxError     = "42601" // syntax_error
	codeCantChangeParam = "55P02" // cant_change_runtime_param
	codeTooComplex      = "54001" // statement_too_complex

	codeUntranslatableCharacter = "22P05" // untranslatable_character
)

// Error answers a statement, or a whole text, that is refused.
type Error struct {
	scope.Error
	Grammar bool   // the server's grammar says the same, of the whole text, and in a failed transaction too
	Fault   string // of this package, for which it is refused, with its stack: for the log; else empty
	place   place
}

// place is a byte of a text. Characters are counted when somebody asks: a text may have an error in each of many
// statements.
type place struct {
	text    string // empty for no place
	at      int    // in bytes
	charset *charset.Charset
}

// Position is where in the client's text the error is: a character, counted from 1, as in the P field of an
// ErrorResponse; 0 for nowhere.
func (e *Error) Position() int {
	p := e.place
	if p.text == "" {
		return 0
	}
	return p.charset.Count(p.text[:p.at]) + 1
}

// Positions are the [Error.Position] of each. Where they come in the order of the text, it is counted through once.
func Positions(list []*Error) []int {
	positions := make([]int, len(list))
	var characters counter
	for i, e := range list {
		if p := e.place; p.text != "" {
			positions[i] = characters.upTo(p.text, p.at, p.charset.Count) + 1
		}
	}
	return positions
}

// counter counts something in a text, from where it has come to.
type counter struct {
	text  string
	at, n int
}

// upTo returns how many of what count counts there are before a byte of the text.
func (c *counter) upTo(text string, at int, count func(string) int) int {
	if text != c.text || at < c.at {
		*c = counter{text: text}
	}
	c.n += count(text[c.at:at])
	c.at = at
	return c.n
}

// faulty is the refusal of what the package fails at. It is to be called where a panic is recovered.
func faulty(panicked any) *Error {
	return &Error{Error: notRead(panicked), Fault: fmt.Sprintf("panic: %v\n%s", panicked, debug.Stack())}
}

// syntaxErrorAt is what the server says of a token that its grammar stops at (scanner_yyerror, scan.l).
func syntaxErrorAt(token string) scope.Error {
	return scope.Error{Code: codeSyntaxError, Message: fmt.Sprintf(`syntax error at or near "%s"`, token)}
}

// at returns the error at a byte of the text; nowhere if that is negative.
func at(err scope.Error, sql string, byteOffset int) *Error {
	if byteOffset < 0 {
		return &Error{Error: err}
	}
	return &Error{Error: err, place: place{sql, byteOffset, charset.UTF8}}
}

const refusedFunction = "pgscope_refused_"

// RefusalSQL returns the statement that stands in for the nth refused statement of a text, counted from 0. It calls a
// function that does not exist, so it fails at the server, and what follows the failure (the transaction's state, what
// is skipped, what is undone) is the server's own doing: docs/adr/0003-a-refusal-is-a-statement-that-fails.md.
func RefusalSQL(n int) string {
	return "SELECT pg_catalog." + refusedFunction + strconv.Itoa(n) + "()"
}

// RefusedBy returns the n of the RefusalSQL(n) that a server's error message complains of. The message may be in any
// language; the function's name in it is not translated.
func RefusedBy(message string) (n int, ok bool) {
	_, rest, found := strings.Cut(message, refusedFunction)
	if !found {
		return 0, false
	}
	end := 0
	for end < len(rest) && '0' <= rest[end] && rest[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(rest[:end])
	return n, err == nil
}
