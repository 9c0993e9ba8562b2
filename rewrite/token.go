package rewrite

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// token is one word of a text, comments left out.
type token struct {
	start, end int // bytes of the whole text
	kind       pg.Token
	keyword    bool // a key word of any class: most of them are names where the grammar wants one
}

const (
	tokenOpen         = pg.Token_ASCII_40
	tokenClose        = pg.Token_ASCII_41
	tokenStar         = pg.Token_ASCII_42
	tokenPlus         = pg.Token_ASCII_43
	tokenComma        = pg.Token_ASCII_44
	tokenMinus        = pg.Token_ASCII_45
	tokenDot          = pg.Token_ASCII_46
	tokenSemicolon    = pg.Token_ASCII_59
	tokenEquals       = pg.Token_ASCII_61
	tokenOpenBracket  = pg.Token_ASCII_91
	tokenCloseBracket = pg.Token_ASCII_93
)

// errManyWords is why a text of more than maxWords is not scanned.
var errManyWords = errors.New("too many words")

// scanAll returns all that a text consists of, comments too.
func scanAll(sql string) (*pg.ScanResult, error) {
	if len(sql) > maxWords && wordsIn(sql) > maxWords {
		return nil, errManyWords
	}
	return pg.Scan(sql)
}

// wordsIn counts the words and signs of a text, but not what stands in quotes and comments. It knows neither dollar
// quotes nor backslashes, so it may be more or less than the scanner would find.
func wordsIn(sql string) (n int) {
	skip := func(i int, to string) int {
		if end := strings.Index(sql[i:], to); end >= 0 {
			return i + end + len(to)
		}
		return len(sql)
	}
	for i := 0; i < len(sql); {
		switch c := sql[i]; {
		case c == '\'' || c == '"':
			n, i = n+1, skip(i+1, sql[i:i+1])
		case strings.HasPrefix(sql[i:], "--"):
			i = skip(i, "\n")
		case strings.HasPrefix(sql[i:], "/*"):
			i = skip(i, "*/")
		case wordByte[c]:
			for n++; i < len(sql) && wordByte[sql[i]]; i++ {
			}
		case c <= ' ':
			i++
		default:
			n, i = n+1, i+1
		}
	}
	return n
}

// scan returns the tokens of a text.
func scan(sql string) ([]token, error) {
	r, err := scanAll(sql)
	if err != nil {
		return nil, err
	}
	list := make([]token, 0, len(r.Tokens))
	for _, t := range r.Tokens {
		if t.Token == pg.Token_SQL_COMMENT || t.Token == pg.Token_C_COMMENT {
			continue
		}
		list = append(list, token{int(t.Start), int(t.End), t.Token, t.KeywordKind != pg.KeywordKind_NO_KEYWORD})
	}
	return list, nil
}

// tokens is a run of tokens of a text.
type tokens struct {
	sql  string
	list []token
}

// from returns the tokens that begin in the bytes [start, end).
func (t tokens) from(start, end int) tokens {
	return tokens{t.sql, t.list[t.index(start):t.index(end)]}
}

// bare returns the bytes [start, end) of the text with blanks for comments. The parser looks ahead at one token, for
// which it takes a comment too (base_yylex, parser.c): it refuses a NOT /* … */ IN (b), which servers take.
func (t tokens) bare(start, end int) string {
	text := t.sql[start:end]
	if !strings.Contains(text, "--") && !strings.Contains(text, "/*") {
		return text
	}
	b := bytes.Repeat([]byte(" "), len(text))
	for _, k := range t.from(start, end).list {
		copy(b[k.start-start:], t.sql[k.start:k.end])
	}
	return string(b)
}

// index returns the first token that begins at the byte or after it.
func (t tokens) index(start int) int {
	i, _ := slices.BinarySearchFunc(t.list, start, func(k token, start int) int { return k.start - start })
	return i
}

// kind returns the kind of token i, and 0 beyond the end.
func (t tokens) kind(i int) pg.Token {
	if i < 0 || i >= len(t.list) {
		return pg.Token_NUL
	}
	return t.list[i].kind
}

func (t tokens) text(i int) string { return t.sql[t.list[i].start:t.list[i].end] }

// find returns the first token of the kind, and len(t.list) where there is none.
func (t tokens) find(kind pg.Token) int {
	for i := range t.list {
		if t.list[i].kind == kind {
			return i
		}
	}
	return len(t.list)
}

// nesting tells by how much the text behind token i is deeper in parentheses, in brackets or in CASE, than before it.
func (t tokens) nesting(i int) int {
	switch t.kind(i) {
	case tokenOpen, tokenOpenBracket, pg.Token_CASE:
		return 1
	case tokenClose, tokenCloseBracket, pg.Token_END_P:
		return -1
	default:
		return 0
	}
}

// closingToken returns the token that closes the parenthesis, the bracket or the CASE at token i; none where it is none.
func (t tokens) closingToken(i int) int {
	for j, depth := i, 0; j < len(t.list); j++ {
		if depth += t.nesting(j); depth > 0 {
			continue
		}
		if j == i {
			break
		}
		return j
	}
	return none
}

// stretch is the bytes [start, end) of a text; the zero value is none.
type stretch struct{ start, end int }

// spot is where a name stands and how it is written.
type spot struct {
	start, end int // bytes of the text; U&"x" UESCAPE '!' is three tokens
	name       scope.Short
	constant   bool // a string or number, not an identifier
}

var errNoName = errors.New("there is no name where the grammar has one")

// isName reports whether token i can be a name.
func (t tokens) isName(i int) bool {
	switch t.kind(i) {
	case pg.Token_IDENT, pg.Token_UIDENT:
		return true
	default:
		return i >= 0 && i < len(t.list) && t.list[i].keyword
	}
}

// isRoleKeyword reports whether token i is ROLE, USER or GROUP.
func (t tokens) isRoleKeyword(i int) bool {
	switch t.kind(i) {
	case pg.Token_ROLE, pg.Token_USER, pg.Token_GROUP_P:
		return true
	default:
		return false
	}
}

// name reads the identifier at token i as the server does, but does not cut it: the parser has done so in its tree,
// and two long names would become one. next is the token after it.
func (t tokens) name(i int) (s spot, next int, err error) {
	if !t.isName(i) {
		return spot{}, i, errNoName
	}
	raw := t.text(i)
	s, next = spot{start: t.list[i].start, end: t.list[i].end}, i+1
	switch {
	case t.kind(i) == pg.Token_UIDENT:
		escape := byte('\\')
		if escape, next, err = t.uescape(next, escape); err != nil {
			return spot{}, i, err
		}
		s.end = t.list[next-1].end
		text, err := unescaped(unquoted(raw[len("U&"):]), escape)
		if err != nil {
			return spot{}, i, err
		}
		s.name = scope.Short(text)
	case raw[0] == '"':
		s.name = scope.Short(unquoted(raw))
	default:
		s.name = scope.Short(foldCase(raw))
	}
	return s, next, nil
}

// value reads the value at token i: an identifier, or a constant, whose value in the tree is given. The server takes
// numbers for names too.
func (t tokens) value(i int, constant string) (s spot, next int, err error) {
	if t.isName(i) {
		return t.name(i)
	}
	if i >= len(t.list) {
		return spot{}, i, errNoName
	}
	s = spot{start: t.list[i].start, name: scope.Short(constant), constant: true}
	switch t.kind(i) {
	case tokenPlus, tokenMinus:
		i++
	}
	switch t.kind(i) {
	case pg.Token_ICONST, pg.Token_FCONST:
		if strings.ContainsAny(t.text(i), "_xXoObB") { // which servers before 16 do not know
			return spot{}, i, errors.New("a number that is not decimal")
		}
		next = i + 1
	case pg.Token_SCONST:
		next = i + 1
	case pg.Token_USCONST:
		if _, next, err = t.uescape(i+1, 0); err != nil {
			return spot{}, i, err
		}
	default:
		return spot{}, i, errNoName
	}
	s.end = t.list[next-1].end
	return s, next, nil
}

// uescape reads UESCAPE 'c' if it stands at token i.
func (t tokens) uescape(i int, escape byte) (byte, int, error) {
	if t.kind(i) != pg.Token_UESCAPE {
		return escape, i, nil
	}
	if t.kind(i+1) != pg.Token_SCONST {
		return 0, i, errNoName
	}
	c := t.text(i + 1)
	if len(c) != len("'c'") || c[0] != '\'' {
		return 0, i, errors.New("an unusual UESCAPE")
	}
	return c[1], i + 2, nil
}

// foldCase folds ASCII only (downcase_identifier, scansup.c, in a multibyte encoding).
func foldCase(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}
