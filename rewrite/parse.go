package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

const (
	// maxDepth bounds how deep the tree of a text may be, counted in tokens. The parser recurses on its tree without a
	// check, takes the square of the depth in time, and needs up to 400 bytes of a C stack for a token: with 5,000 of
	// them 1 MiB was too little (v6.2.5, amd64).
	maxDepth = 2000
	// maxWords bounds how many words a text that is read may have: it takes up to 1.1 KB of memory for each (of SET ROLE
	// a;).
	maxWords = 500_000
	// maxAgain bounds how many bytes of a text are parsed again because of what the grammar does not know: a statement is
	// once for each DBONLY, and for each schema of a role. One of 64 KiB may have 256 of them.
	maxAgain = 16 << 20
	// firstForeignServer is the server_version_num of the first version whose grammar the parser's is not a superset of.
	firstForeignServer = 180000
)

// piece is a part of a text that was parsed by itself: the whole text, or where that does not parse, a statement of it.
type piece struct {
	reading
	unread   *Error                  // why it is refused: it could not be read, and may name a role
	tried    bool                    // the server may say what is wrong with it: it has nothing in it that no server's grammar has
	base     int                     // where it begins in the text; of one that something was put before, to be parsed, that much earlier
	tree     *pg.ParseResult         // nil where it could not be read
	raised   bool                    // texts are made of what it selects
	says     map[*pg.FuncCall][]form // of calls that name roles in their arguments: how
	extended []extension             // what in it the grammar does not know; it is not among the tokens
	tokens   tokens
}

// parse reads a text into pieces, all of it: of those that do not parse and name no role the server says what is wrong.
// An error where a text cannot be read and may name a role.
//
// A server whose grammar is not newer than the parser's refuses a text as a whole where one of its statements
// does not parse, so the text is refused, as the server would; any other server is asked by
// [Analysis.Rewrite], unless the session's mode is off.
func parse(sql string, rd reading) ([]piece, *Error) {
	list, err := scan(sql)
	if errors.Is(err, errManyWords) {
		return nil, &Error{Error: tooComplex(fmt.Sprintf("It has more than %d words.", maxWords))}
	}
	if err != nil {
		if !roleOrScopeWords.in([]byte(sql)) {
			return nil, nil
		}
		failure := unreadable(err, sql, sql, 0, rd)
		if rd.newerServer() {
			return []piece{{reading: rd, tokens: tokens{sql: sql}, unread: failure, tried: true}}, nil
		}
		return nil, failure
	}
	all := tokens{sql, list}
	if i, deep := tooDeep(list); deep {
		return nil, at(tooComplex(fmt.Sprintf("It nests or chains more than %d words.", maxDepth)), sql, list[i].start)
	}
	whole := piece{reading: rd, tokens: all}
	text := all.bare(0, len(sql))
	if whole.tree, err = pg.Parse(text); err == nil {
		return []piece{whole}, nil
	}
	var pieces []piece
	for _, part := range split(all) {
		p, failure := parsePiece(part, rd)
		if failure != nil && bearsRole(part) && mayUseRole(sql[part.list[0].start:part.list[len(part.list)-1].end]) {
			_, _, extended := whole.stopsAtExtension(err, text)
			switch {
			case rd.newerServer():
				p.unread, p.tried = failure, !extended
			case extended:
				return nil, failure
			default: // what the server says of the text
				return nil, unreadable(err, text, sql, 0, rd)
			}
		}
		pieces = append(pieces, p)
	}
	return pieces, nil
}

// newerServer reports whether the server may know statements that the parser does not.
func (o Options) newerServer() bool {
	return o.ServerVersion == 0 || o.ServerVersion >= firstForeignServer
}

// parsePiece parses one statement.
func parsePiece(t tokens, rd reading) (piece, *Error) {
	start, end := t.list[0].start, t.list[len(t.list)-1].end
	p := piece{reading: rd, base: start, tokens: t}
	return p.parse(t.bare(start, end))
}

// parse parses the piece, of which text is what the parser shall see. Where the grammar stops at an extension of it, that
// is taken out, and the text parsed again. Then it tries what stands in for newer grammars.
func (p piece) parse(text string) (piece, *Error) {
	whole := p
	tree, err := pg.Parse(text)
	for replaced := false; err != nil; tree, err = pg.Parse(text) {
		x, i, ok := p.stopsAtExtension(err, text)
		if ok {
			if *p.again -= len(text); *p.again < 0 {
				return whole, at(tooComplex("It says DBONLY, and schemas before names of roles, too often for its length."), p.tokens.sql, x.start())
			}
			p.extended = append(p.extended, x)
			p.tokens.list = slices.Concat(p.tokens.list[:i], p.tokens.list[i+len(x.words):])
			for _, word := range x.words {
				text = text[:word.start-p.base] + strings.Repeat(" ", word.end-word.start) + text[word.end-p.base:]
			}
			continue
		}
		if replaced || !p.newerServer() {
			break
		}
		if text, replaced = standIn(p.tokens, text, p.base, p.ServerVersion); !replaced {
			break
		}
	}
	if err != nil {
		return whole, unreadable(err, text, p.tokens.sql, p.base, p.reading)
	}
	p.tree = tree
	return p, nil
}

// atomicBody is how deep a place is in the body of CREATE FUNCTION … BEGIN ATOMIC …; END, where a ';' ends no statement.
// CASE … END in it counts too. Zero is outside.
type atomicBody int

func (a *atomicBody) pass(t tokens, i int) {
	switch t.kind(i) {
	case pg.Token_ATOMIC:
		if t.kind(i-1) == pg.Token_BEGIN_P {
			*a = 1
		}
	case pg.Token_CASE:
		if *a > 0 {
			*a++
		}
	case pg.Token_END_P:
		if *a > 0 {
			*a--
		}
	default:
	}
}

// split cuts a text into its statements, at each ';' that does not stand in parentheses or in a BEGIN ATOMIC body.
func split(t tokens) []tokens {
	var parts []tokens
	start, parens := 0, 0
	var body atomicBody
	cut := func(end int) {
		if end > start {
			parts = append(parts, tokens{t.sql, t.list[start:end]})
		}
		start = end + 1
	}
	for i, k := range t.list {
		body.pass(t, i)
		switch k.kind {
		case tokenOpen:
			parens++
		case tokenClose:
			parens--
		case tokenSemicolon:
			if parens <= 0 && body == 0 {
				cut(i)
				parens = 0
			}
		}
	}
	cut(len(t.list))
	return parts
}

// tooDeep reports whether, and from which token on, the tree of a text may be deeper than maxDepth. A level of it
// takes at least one token. A comma begins anew, since lists are flat, but for set operations, which chain lists; the
// levels of what is in parentheses add up.
func tooDeep(list []token) (int, bool) {
	type level struct{ chain, setOps int }
	open := make([]level, 1, 16) // one for each open parenthesis
	depth := 0                   // their sum
	for i, k := range list {
		last := &open[len(open)-1]
		switch k.kind {
		case tokenComma:
			depth -= last.chain
			last.chain = 0
			continue
		case tokenSemicolon:
			open, depth = append(open[:0], level{}), 0
			continue
		case tokenClose, tokenCloseBracket:
			if len(open) > 1 {
				depth -= last.chain + last.setOps
				open = open[:len(open)-1]
			}
			continue
		case pg.Token_UNION, pg.Token_INTERSECT, pg.Token_EXCEPT:
			last.setOps++
		default:
			last.chain++
		}
		if depth++; depth > maxDepth {
			return i, true
		}
		if k.kind == tokenOpen || k.kind == tokenOpenBracket {
			open = append(open, level{})
		}
	}
	return 0, false
}

// bearsRole reports whether a statement that does not parse may name a role. The kinds of statements that have no
// place for one in any version are let off, whatever their columns are called, unless they may call set_config.
func bearsRole(t tokens) bool {
	passes := roleless(t)
	for i, k := range t.list {
		switch {
		case setsSettings([]byte(t.text(i))):
			return true
		case passes:
		case k.kind == pg.Token_UIDENT:
			return true
		case k.kind == pg.Token_IDENT && roleSetting(strings.Trim(t.text(i), `"`)):
			return true
		case (k.keyword || k.kind == pg.Token_IDENT) && roleWords.has([]byte(t.text(i))):
			return true
		}
	}
	return false
}

// mayUseRole reports whether a text that is not read may do something with a role. Else it is a query at most: what it
// shows of roles is the cluster's, and it changes nothing.
func mayUseRole(sql string) bool { return MayNameRole([]byte(sql)) || setsSettings([]byte(sql)) }

// setsSettings reports whether a text may call set_config, by which a query sets the role.
func setsSettings(sql []byte) bool {
	return hasWord(sql, func(w []byte) bool { return is(w, "set_config") })
}

// roleless reports whether the tokens are one statement, of a kind that no role can stand in.
func roleless(t tokens) bool {
	if t.find(tokenSemicolon) < len(t.list) {
		return false
	}
	switch t.kind(0) {
	case pg.Token_SELECT, pg.Token_INSERT, pg.Token_UPDATE, pg.Token_DELETE_P, pg.Token_MERGE, pg.Token_WITH,
		pg.Token_VALUES, pg.Token_TABLE, pg.Token_COPY:
		return true
	case pg.Token_CREATE:
		i := 1
		for slices.Contains(tableKinds, t.kind(i)) {
			i++
		}
		return t.kind(i) == pg.Token_TABLE
	default:
		return false
	}
}

// tableKinds may stand between CREATE and TABLE.
var tableKinds = []pg.Token{
	pg.Token_TEMP, pg.Token_TEMPORARY, pg.Token_LOCAL, pg.Token_GLOBAL, pg.Token_UNLOGGED, pg.Token_FOREIGN,
}

// roleSetting reports whether a setting of that name is about roles.
func roleSetting(name string) bool {
	word, _, _ := strings.Cut(name, ".")
	_, ok := settingKind(word)
	return ok || is([]byte(word), "pgscope")
}
