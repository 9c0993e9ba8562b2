package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"

	"github.com/pgscope/pgscope-proxy/scope"
)

// The grammar is PostgreSQL's own, and two things that may stand before a role's name are not in it. A text is
// parsed as it is first. Only where that fails, and fails there, they are replaced by blanks of the same
// length, so that offsets stay; so roles and tables called dbonly go on working. One that then belongs to no
// role's name is the syntax error that it was.

// extension is one thing in a statement that PostgreSQL's grammar does not know.
type extension struct {
	kind    extensionKind
	words   []token // without comments between them
	schema  string  // of a qualifier
	stop    int     // the byte where the grammar stopped at it
	failure scope.Error
}

type extensionKind int

const (
	dbonly    extensionKind = iota // DBONLY before a name, or before the ROLE, USER or GROUP before it
	qualifier                      // sales. before a name
)

// extensionTable says for each kind which tokens it is, [begin, end), if it is why the grammar stops at token i; begin is
// none where it is not.
var extensionTable = [...]struct {
	kind extensionKind
	find func(t tokens, i int) (begin, end int)
}{
	{dbonly, findDBOnly},
	{dbonly, findOwnerDBOnly},
	{qualifier, findQualifier},
}

// findDBOnly: CREATE DBONLY ROLE fails at the word, TO DBONLY customer after it.
func findDBOnly(t tokens, i int) (begin, end int) {
	switch {
	case t.isDBOnly(i) && t.isRoleKeyword(i+1):
		return i, i + 1
	case t.isDBOnly(i-1) && (t.isName(i) || t.kind(i) == pg.Token_SCONST || t.kind(i) == pg.Token_USCONST):
		return i - 1, i
	default:
		return none, none
	}
}

// findOwnerDBOnly: CREATE DATABASE d OWNER DBONLY customer fails somewhere behind the name, since the grammar takes any
// word for an option there, and the next for its value (createdb_opt_item, gram.y).
func findOwnerDBOnly(t tokens, i int) (begin, end int) {
	if t.kind(0) != pg.Token_CREATE || t.kind(1) != pg.Token_DATABASE {
		return none, none
	}
	for begin = 1; begin+1 < i; begin++ {
		owner := begin - 1
		if t.kind(owner) == tokenEquals {
			owner--
		}
		name := t.kind(begin + 1)
		if t.kind(owner) == pg.Token_OWNER && t.isDBOnly(begin) && (name == pg.Token_IDENT || name == pg.Token_UIDENT) {
			return begin, begin + 1
		}
	}
	return none, none
}

// isDBOnly reports whether token i is the word DBONLY.
func (t tokens) isDBOnly(i int) bool {
	return t.kind(i) == pg.Token_IDENT && strings.EqualFold(t.text(i), "dbonly")
}

// findQualifier: TO sales.customer fails at the dot. The schema may be written U&"…" UESCAPE '…'.
func findQualifier(t tokens, i int) (begin, end int) {
	begin = i - 1
	if t.kind(i-1) == pg.Token_SCONST && t.kind(i-2) == pg.Token_UESCAPE {
		begin = i - 3
	}
	if t.kind(i) != tokenDot || !t.isName(i+1) || !t.isName(begin) {
		return none, none
	}
	return begin, i + 1
}

// stopsAtExtension returns the extension that may be why the parser failed, and its first token.
func (p piece) stopsAtExtension(err error, text string) (extension, int, bool) {
	var failure *parser.Error
	if !errors.As(err, &failure) || !strings.HasPrefix(failure.Message, "syntax error") || roleless(p.tokens) {
		return extension{}, 0, false
	}
	at := p.base + byteOffset(text, failure.Cursorpos)
	stop := p.tokens.index(at)
	for _, row := range extensionTable {
		begin, end := row.find(p.tokens, stop)
		if begin == none {
			continue
		}
		x := extension{
			kind: row.kind, words: slices.Clone(p.tokens.list[begin:end]), stop: at,
			failure: scope.Error{Code: codeSyntaxError, Message: failure.Message},
		}
		if x.kind == qualifier {
			s, _, err := p.tokens.name(begin)
			if err != nil {
				return extension{}, 0, false
			}
			x.schema = string(s.name)
		}
		return x, begin, true
	}
	return extension{}, 0, false
}

func (x extension) start() int { return x.words[0].start }

// readExtensions finds the extensions of the statement, which stands in the bytes [start, end), and whether DBONLY
// stands before its ROLE, USER or GROUP.
func (r *reader) readExtensions(start, end int) {
	for _, x := range r.extended {
		if x.start() < start || x.start() >= end {
			continue
		}
		r.blanked = append(r.blanked, x)
		if next := r.tokens.index(x.start()); x.kind == dbonly && r.tokens.isRoleKeyword(next) {
			switch r.tokens.kind(next - 1) {
			case pg.Token_CREATE, pg.Token_ALTER, pg.Token_DROP, pg.Token_ON:
				r.whole = true
			}
		}
	}
	slices.SortFunc(r.blanked, func(a, b extension) int { return a.start() - b.start() })
	r.taken = make([]bool, len(r.blanked))
}

// extend gives a name what stands before it: DBONLY, or its schema.
func (r *reader) extend(n *name) {
	n.dbonly, n.from = r.whole, n.start
	for _, i := range r.before(n.start) {
		x := r.blanked[i]
		r.taken[i] = true
		switch {
		case x.kind == dbonly:
			n.dbonly = true
		case n.schema != "":
			r.refuseText(n.from, scope.Error{
				Code:    codeSyntaxError,
				Message: fmt.Sprintf("improper qualified name (too many dotted names): %s.%s.%s", n.schema, x.schema, n.name),
			})
		default:
			n.schema, n.from = x.schema, x.start()
		}
	}
}

// before returns the extensions that belong to the name at the byte: between it and the token before it, or, for DBONLY,
// the ROLE, USER or GROUP [IF EXISTS] that stands before it and the token before that.
func (r *reader) before(start int) (list []int) {
	if len(r.blanked) == 0 {
		return nil
	}
	end := func(token int) int {
		if token < 0 {
			return 0
		}
		return r.tokens.list[token].end
	}
	last := r.tokens.index(start) - 1
	keyword := last
	if r.tokens.kind(last) == pg.Token_EXISTS && r.tokens.kind(last-1) == pg.Token_IF_P {
		keyword = last - 2
	}
	for i, x := range r.blanked {
		from := end(last)
		if x.kind == dbonly && r.tokens.isRoleKeyword(keyword) {
			from = end(keyword - 1)
		}
		if from <= x.start() && x.start() < start {
			list = append(list, i)
		}
	}
	return list
}

// leftOver refuses a statement with an extension that belongs to no role's name: the server knows no such thing either.
// Where nothing is put into the statement, and it has no place for a role, it goes to the server as it is, which says so.
func (r *reader) leftOver() {
	if len(r.names) == 0 && r.idle() && !bearsRole(r.tokens) {
		return
	}
	for i, x := range r.blanked {
		if !r.taken[i] {
			r.refuseText(x.stop, x.failure)
		}
	}
}
