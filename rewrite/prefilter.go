package rewrite

import "bytes"

// MayNameRole is the prefilter: whether a text may name a role, or change a scope as a whole ([Analysis.Changes]), and is
// worth an analysis. It may only err towards yes.
// It allocates nothing and keeps nothing of sql.
//
// It does not know where strings and comments end, and so takes every ';' for the end of a statement. A role can only
// stand in a statement that begins with one of a few words; where one does, the words that follow decide. Figures
// of BenchmarkMayNameRole on one core of a Xeon: a SELECT 12 ns, SET LOCAL and a SELECT 60 ns, one long INSERT 70 GB/s,
// many INSERTs of 80 bytes 6.3 GB/s, CREATE FUNCTION 2.1 GB/s; no allocations.
func MayNameRole(sql []byte) bool {
	w := words{text: sql, patience: len(sql)}
	for {
		switch w.opening() {
		case opensRoleStatement:
			return true
		case opensDDL:
			// From here on to the end of the text, since a ';' in a string might hide the rest of the statement.
			return roleOrScopeWords.in(w.text)
		default: // the next statement
		}
		if w.patience < 0 || !w.toNextStatement() {
			return w.patience < 0
		}
	}
}

// MayDeallocate is the prefilter for [Results.Deallocates]: whether a text may have such a statement. Like [MayNameRole] it
// may only err towards yes.
func MayDeallocate(sql []byte) bool {
	w := words{text: sql, patience: len(sql)}
	for {
		w.at = 0
		if first := w.next(); is(first, "deallocate") || is(first, "discard") {
			return true
		}
		if w.patience < 0 || !w.toNextStatement() {
			return w.patience < 0
		}
	}
}

// toNextStatement goes on behind the next ';', if there is one.
func (w *words) toNextStatement() bool {
	semicolon := bytes.IndexByte(w.text, ';')
	if semicolon < 0 {
		return false
	}
	w.text = w.text[semicolon+1:]
	return true
}

// opening says what the first words of a statement promise.
type opening int

const (
	opensOther         opening = iota // no role can stand in it
	opensDDL                          // one may, if one of roleWords does
	opensRoleStatement                // one does, or nearly always
)

// words reads the words at the beginning of a statement.
type words struct {
	text     []byte // from the beginning of the statement on
	at       int    // how far it was read
	userless bool   // there is no $user in it
	patience int    // bytes of comments that may still be skipped: an unending comment after each ';' would cost the square
}

func (w *words) opening() opening {
	w.at = 0
	first := w.next()
	if len(first) < len("do") || len(first) > len("security") {
		return opensOther
	}
	switch first[0] | 0x20 {
	case 'g':
		if is(first, "grant") {
			return opensRoleStatement
		}
	case 'r':
		if is(first, "revoke") || is(first, "reassign") {
			return opensRoleStatement
		}
	case 's':
		if is(first, "set") {
			return w.set()
		}
		if is(first, "security") {
			return opensDDL
		}
	case 'c':
		if is(first, "create") {
			return w.create()
		}
		if is(first, "comment") {
			return w.comment()
		}
	case 'a':
		if is(first, "alter") {
			return opensDDL
		}
	case 'd':
		if is(first, "drop") {
			return opensDDL
		}
		if is(first, "do") { // the words of its block may be spelled by escapes
			return opensRoleStatement
		}
	}
	return opensOther
}

// set reads on after SET: only the setting's name matters, and whether a search_path may have "$user" in it.
func (w *words) set() opening {
	setting := w.next()
	for is(setting, "session") || is(setting, "local") {
		setting = w.next()
	}
	if is(setting, settingPath) && w.standard() {
		return opensRoleStatement
	}
	if is(setting, settingPath) || is(setting, "schema") {
		// Up to the end of the text, since a ';' in a string might hide it; where it is not, it
		// need not be looked for again.
		if w.userless = w.userless || !bytes.Contains(w.text, []byte("$user")); w.userless {
			return opensOther
		}
		return opensRoleStatement
	}
	for _, s := range []string{"role", "authorization", "session_authorization", "pgscope", "u"} {
		if is(setting, s) {
			return opensRoleStatement
		}
	}
	if len(setting) == 0 && w.at < len(w.text) && w.text[w.at] == '"' {
		return opensRoleStatement
	}
	return opensOther
}

// standard reads on after the name of a setting: TO DEFAULT, or = DEFAULT.
func (w *words) standard() bool {
	if value := w.next(); len(value) > 0 && !is(value, "to") {
		return false
	}
	if w.at < len(w.text) && w.text[w.at] == '=' {
		w.at++
	}
	return is(w.next(), "default")
}

// create reads on after CREATE: the everyday kinds of objects have no owner clause.
func (w *words) create() opening {
	kind := w.next()
	for _, s := range []string{
		"table", "temp", "temporary", "unlogged", "local", "global", "index", "unique", "view", "materialized", "sequence",
	} {
		if is(kind, s) {
			return opensOther
		}
	}
	return opensDDL
}

// comment reads on after COMMENT: ON ROLE, or ON DBONLY ROLE.
func (w *words) comment() opening {
	w.next()
	if kind := w.next(); is(kind, "role") || is(kind, "dbonly") {
		return opensRoleStatement
	}
	return opensOther
}

// next returns the next word, skipping blanks, comments and opening parentheses; empty where something else stands.
func (w *words) next() []byte {
	for w.at < len(w.text) {
		switch c := w.text[w.at]; {
		case blank(c) || c == '(':
			w.at++
		case c == '-' && bytes.HasPrefix(w.text[w.at:], []byte("--")):
			w.skip(lineComment(w.text[w.at:]))
		case c == '/' && bytes.HasPrefix(w.text[w.at:], []byte("/*")):
			w.skip(blockComment(w.text[w.at:], w.patience))
		default:
			start := w.at
			for w.at < len(w.text) && wordByte[w.text[w.at]] {
				w.at++
			}
			return w.text[start:w.at]
		}
	}
	return nil
}

func (w *words) skip(n int) {
	w.at += n
	w.patience -= n
}

// lineComment returns the length of the comment that b begins with.
func lineComment(b []byte) int {
	if i := bytes.IndexAny(b, "\n\r"); i >= 0 {
		return i
	}
	return len(b)
}

// blockComment returns the length of the comment that b begins with; they nest. It looks at patience+1 bytes at most.
func blockComment(b []byte, patience int) int {
	b = b[:min(len(b), max(patience, 0)+2)]
	depth, i := 0, 0
	for i+1 < len(b) {
		switch {
		case b[i] == '/' && b[i+1] == '*':
			depth++
			i += 2
		case b[i] == '*' && b[i+1] == '/':
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return len(b)
}
