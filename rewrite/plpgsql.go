package rewrite

import (
	"errors"
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// fragment is a part of a PL/pgSQL block that PL/pgSQL gives to the SQL parser.
type fragment struct {
	kind   fragmentKind
	tokens tokens
}

type fragmentKind int

const (
	sqlStatement  fragmentKind = iota
	sqlExpression              // what stands after SELECT: conditions, assigned values, PERFORM
	sqlExecuted                // the expression of an EXECUTE: the text of statements
	sqlRaised                  // what stands after SELECT, and becomes a text: RAISE
	sqlRaisedWith              // the same behind its USING
)

// onlyTold reports whether the strings in it are told to somebody, and nothing else is done with them.
func (f fragment) onlyTold() bool {
	calls := slices.ContainsFunc(f.tokens.list, func(k token) bool { return k.kind == tokenOpen })
	return (f.kind == sqlRaised || f.kind == sqlRaisedWith) && !calls
}

var errBlock = errors.New("a PL/pgSQL statement does not end as it should")

// fragments finds the SQL in a PL/pgSQL block, from statement to statement as pl_gram.y does. It knows where each kind of
// statement has its SQL and which word ends it, and nothing of how blocks and loops nest: that is not needed to find SQL.
func fragments(t tokens) ([]fragment, error) {
	b := block{t: t}
	for b.at < len(t.list) {
		if err := b.statement(); err != nil {
			return b.found, err
		}
	}
	return b.found, nil
}

// block is a PL/pgSQL block that is being read.
type block struct {
	t         tokens
	at        int // the token that is to be read next
	declaring bool
	found     []fragment
}

func (b *block) word(i int, words ...string) bool {
	if i >= len(b.t.list) {
		return false
	}
	for _, w := range words {
		if is([]byte(b.t.text(i)), w) {
			return true
		}
	}
	return false
}

// find returns the first token from one on that is one of the words outside of parentheses, or the ';' before it.
func (b *block) find(from int, words ...string) int {
	depth := 0
	var body atomicBody
	for i := from; i < len(b.t.list); i++ {
		body.pass(b.t, i)
		switch b.t.kind(i) {
		case tokenOpen, tokenOpenBracket:
			depth++
		case tokenClose, tokenCloseBracket:
			depth--
		default:
		}
		if depth <= 0 && body == 0 && (b.t.kind(i) == tokenSemicolon || b.word(i, words...)) {
			return i
		}
	}
	return len(b.t.list)
}

// add notes the tokens between two places as SQL.
func (b *block) add(kind fragmentKind, from, to int) {
	if from < to {
		b.found = append(b.found, fragment{kind, tokens{b.t.sql, b.t.list[from:to]}})
	}
}

// upTo reads on to the word that must come, and behind it. It returns where the word stands.
func (b *block) upTo(from int, word string) (int, error) {
	i := b.find(from, word)
	if !b.word(i, word) {
		return i, errBlock
	}
	b.at = i + 1
	return i, nil
}

// statement reads one statement, or the part of a compound one up to where the next statement may begin.
func (b *block) statement() error {
	i := b.at
	switch t := b.t; {
	case t.kind(i) == tokenSemicolon:
		b.at++
	case t.text(i) == "<<", t.text(i) == "#": // a label, an option of the compiler
		b.at += 3
	case b.word(i, "declare"):
		b.declaring = true
		b.at++
	case b.word(i, "begin"):
		b.declaring = false
		b.at++
	case b.declaring:
		return b.declaration()
	case b.word(i, "else", "loop", "exception"):
		b.at++
	case b.word(i, "if", "elsif", "elseif", "when"):
		return b.condition(i+1, "then")
	case b.word(i, "while"):
		return b.condition(i+1, "loop")
	case b.word(i, "case"):
		end := b.find(i+1, "when")
		b.add(sqlExpression, i+1, end)
		b.at = end
	case b.word(i, "for"):
		return b.loop()
	case b.word(i, "foreach"):
		from, err := b.upTo(i+1, "array")
		if err != nil {
			return err
		}
		return b.condition(from+1, "loop")
	default:
		return b.simple()
	}
	return nil
}

func (b *block) condition(from int, word string) error {
	end, err := b.upTo(from, word)
	b.add(sqlExpression, from, end)
	return err
}

// declaration reads a variable or a cursor.
func (b *block) declaration() error {
	from := b.at
	end, err := b.upTo(from, ";")
	if err != nil {
		return err
	}
	if cursor := b.find(from, "cursor"); cursor < end && cursor <= from+len([]string{"name", "NO", "SCROLL"}) {
		b.add(sqlStatement, b.find(cursor, "for", "is")+1, end)
		return nil
	}
	b.add(sqlExpression, b.find(from, ":=", "=", "default")+1, end)
	return nil
}

// loop reads FOR … IN … LOOP.
func (b *block) loop() error {
	in, err := b.upTo(b.at+1, "in")
	if err != nil {
		return err
	}
	from := in + 1
	end, err := b.upTo(from, "loop")
	if err != nil {
		return err
	}
	if b.word(from, "execute") {
		b.execute(from+1, end)
		return nil
	}
	if b.word(from, "reverse") {
		from++
	}
	if to := b.find(from, ".."); to < end {
		b.add(sqlExpression, from, to)
		by := min(b.find(to, "by"), end)
		b.add(sqlExpression, to+1, by)
		b.add(sqlExpression, by+1, end)
		return nil
	}
	if b.query(from) {
		b.add(sqlStatement, from, end)
	} else { // a cursor, and its arguments
		b.add(sqlExpression, from, end)
	}
	return nil
}

// query reports whether a statement of SQL stands there that returns rows.
func (b *block) query(i int) bool {
	for b.t.kind(i) == tokenOpen {
		i++
	}
	return b.word(i, "select", "with", "values", "table", "insert", "update", "delete", "merge", "explain", "show")
}

// execute notes the parts of EXECUTE expression [INTO …] [USING …].
func (b *block) execute(from, end int) {
	into, using := min(b.find(from, "into", "using"), end), min(b.find(from, "using"), end)
	b.add(sqlExecuted, from, into)
	if b.word(using, "using") {
		b.add(sqlExpression, using+1, min(max(b.find(using, "into"), using+1), end))
	}
}

// simple reads a statement that ends in ';'.
func (b *block) simple() error {
	i := b.at
	end, err := b.upTo(i, ";")
	if b.word(i, "end") { // of the whole block no ';' must follow
		b.at = min(end+1, len(b.t.list))
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case b.word(i, "null", "get", "fetch", "move", "close", "commit", "rollback"):
	case b.word(i, "perform", "assert"):
		b.add(sqlExpression, i+1, end)
	case b.word(i, "exit", "continue"):
		b.add(sqlExpression, b.find(i, "when")+1, end)
	case b.word(i, "return") && b.word(i+1, "query") && b.word(i+2, "execute"):
		b.execute(i+3, end)
	case b.word(i, "return") && b.word(i+1, "query"):
		b.add(sqlStatement, i+2, end)
	case b.word(i, "return") && b.word(i+1, "next"):
		b.add(sqlExpression, i+2, end)
	case b.word(i, "return"):
		b.add(sqlExpression, i+1, end)
	case b.word(i, "raise"):
		b.raise(i+1, end)
	case b.word(i, "execute"):
		b.execute(i+1, end)
	case b.word(i, "open"):
		b.open(i+1, end)
	case b.assigns(i):
		b.add(sqlExpression, b.find(i, ":=", "=")+1, end)
	default:
		b.add(sqlStatement, i, end)
	}
	return nil
}

// raise reads RAISE [level] 'format', expression, … USING option = expression, …
func (b *block) raise(from, end int) {
	using := min(b.find(from, "using"), end)
	for from < using && b.t.kind(from) != pg.Token_SCONST {
		from++
	}
	b.add(sqlRaised, from, using)
	b.add(sqlRaisedWith, using+1, end)
}

// open reads OPEN cursor [[NO] SCROLL] FOR query, or FOR EXECUTE expression.
func (b *block) open(from, end int) {
	query := min(b.find(from, "for"), end) + 1
	if b.word(query, "execute") {
		b.execute(query+1, end)
		return
	}
	b.add(sqlStatement, query, end)
}

// assigns reports whether an assignment stands there: what is assigned to is a name, maybe with fields and subscripts.
func (b *block) assigns(i int) bool {
	if !b.t.isName(i) && b.t.kind(i) != pg.Token_PARAM {
		return false
	}
	return b.word(i+1, ":=", "=", ".", "[")
}
