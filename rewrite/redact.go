package rewrite

import (
	"errors"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
)

// Unshown stands for a text whose secrets cannot be told from the rest.
const Unshown = "(not shown: it cannot be read)"

// redacted stands for a secret.
const redacted = "'***'"

// Redact returns a text, in UTF-8, without the secrets in it: passwords of roles, options of servers and user mappings
// that are not known to be harmless, connection strings of subscriptions. What the grammar does not tell, such as a
// string that EXECUTE makes a statement of, is taken for a secret where the text speaks of any: then all of its strings
// are. Of a statement that cannot be parsed, what stands behind the place where the parser stops is.
//
// It is for logs. It may hide what is no secret.
func Redact(sql string, o Options) string {
	src, refusal := readable(sql, o)
	if refusal != nil || setsStrings(src.text) && strings.IndexByte(src.text, '\\') >= 0 {
		return Unshown
	}
	r, ok := redact(src.text, 0, false)
	if !ok {
		return Unshown
	}
	if r.loose {
		r, _ = redact(src.text, 0, true)
	}
	if ok = r.hideUnread(src.text, o.reading()); !ok {
		return Unshown
	}
	return r.edits.apply(src.text)
}

// hideUnread hides what stands behind the place where a statement stops to be one: there the grammar tells of no secrets.
// It fails where the text is too much to be parsed.
func (r *redaction) hideUnread(sql string, rd reading) (ok bool) {
	list, err := scan(sql)
	if _, deep := tooDeep(list); err != nil || deep {
		return false
	}
	if _, err := pg.Parse(sql); err == nil {
		return true
	}
	parts := split(tokens{sql, list})
	if len(parts) > maxUnread {
		return false
	}
	var hidden Edits
	for _, part := range parts {
		if _, err := parsePiece(part, rd); err != nil {
			start, end := part.list[0].start, part.list[len(part.list)-1].end
			hidden = append(hidden, edit{start + stopsAt(sql[start:end]), end, redacted})
		}
	}
	next := 0 // of hidden, in whose order the edits are too
	r.edits = slices.DeleteFunc(r.edits, func(e edit) bool {
		for next < len(hidden) && hidden[next].end < e.end {
			next++
		}
		return next < len(hidden) && hidden[next].start <= e.start
	})
	r.edits = append(r.edits, hidden...)
	r.edits.sort()
	return true
}

// maxUnread bounds how many statements are parsed one by one to find those that do not parse.
const maxUnread = 1000

// stopsAt returns the byte from which on the parser does not know what a statement means.
func stopsAt(sql string) int {
	_, err := pg.Parse(sql)
	failure := (*parser.Error)(nil)
	if !errors.As(err, &failure) || failure.Cursorpos <= 0 {
		return 0
	}
	return byteOffset(sql, failure.Cursorpos)
}

// redaction is what hides the secrets of a text.
type redaction struct {
	edits Edits
	loose bool // it speaks of secrets otherwise than by the grammar
}

// maxQuoting bounds how deep dollar quotes are looked into.
const maxQuoting = 8

// redact finds the secrets of a text. all takes every string for one. It fails where the text cannot be scanned.
func redact(sql string, depth int, all bool) (r redaction, ok bool) {
	scanned, err := scanAll(sql)
	if err != nil || depth > maxQuoting {
		return r, false
	}
	var before pg.Token // of the tokens that are no comments
	var option optionList
	for _, t := range scanned.Tokens {
		start, end := int(t.Start), int(t.End)
		text := sql[start:end]
		switch {
		case t.Token == pg.Token_SQL_COMMENT || t.Token == pg.Token_C_COMMENT:
			if all || mentionsSecret(text) {
				r.edits = append(r.edits, edit{start, end, "/* *** */"})
			}
			continue
		case before == pg.Token_PASSWORD && isWord(t):
			r.edits = append(r.edits, edit{start, end, redacted})
		case before == pg.Token_CONNECTION && isString(t.Token), option.hides(t.Token, text):
			r.edits = append(r.edits, edit{start, end, redacted})
		case isString(t.Token) && text[0] == '$':
			r.quoted(text, start, depth, all)
		case isString(t.Token) && all:
			r.edits = append(r.edits, edit{start, end, redacted})
		case before == pg.Token_PASSWORD: // a column or a variable of that name
			r.loose = r.loose || t.Token != pg.Token_NULL_P
		case t.Token != pg.Token_PASSWORD:
			r.loose = r.loose || option.depth == 0 && mentionsSecret(text)
		}
		before = t.Token
	}
	return r, true
}

// quoted looks for the secrets in a dollar quoted string.
func (r *redaction) quoted(text string, start, depth int, all bool) {
	tag := strings.IndexByte(text[1:], '$') + 2
	body := text[tag : len(text)-tag]
	inner, ok := redact(body, depth+1, all)
	if !ok {
		r.edits = append(r.edits, edit{start, start + len(text), redacted})
		r.loose = r.loose || mentionsSecret(body)
		return
	}
	for _, e := range inner.edits {
		r.edits = append(r.edits, edit{e.start + start + tag, e.end + start + tag, e.text})
	}
	r.loose = r.loose || inner.loose
}

// optionList follows the tokens of OPTIONS (name 'value', …).
type optionList struct {
	opened bool // after OPTIONS
	depth  int
	name   string
}

// harmless are the options of foreign data wrappers whose values are shown.
var harmless = []string{
	"user", "username", "host", "hostaddr", "port", "dbname", "database", "schema", "schema_name", "table", "table_name", "column_name",
	"fetch_size", "batch_size", "use_remote_estimate", "updatable", "truncatable", "sslmode", "extensions", "format", "header", "delimiter",
}

// hides takes the next token, and tells whether it is a value that must not be shown.
func (o *optionList) hides(kind pg.Token, text string) bool {
	switch {
	case kind == pg.Token_OPTIONS:
		*o = optionList{opened: true}
	case kind == tokenOpen && (o.opened || o.depth > 0):
		o.depth++
	case kind == tokenClose && o.depth > 0:
		o.depth--
	case o.depth > 0 && isString(kind):
		return !slices.Contains(harmless, o.name)
	case o.depth > 0:
		o.name = strings.ToLower(strings.Trim(text, `"`))
	}
	o.opened = o.opened && kind == pg.Token_OPTIONS
	return false
}

func isString(kind pg.Token) bool {
	return kind == pg.Token_SCONST || kind == pg.Token_USCONST || kind == pg.Token_BCONST || kind == pg.Token_XCONST
}

// isWord reports whether a token behind PASSWORD is a password, even if it is one that the grammar does not take.
func isWord(t *pg.ScanToken) bool {
	switch t.Token {
	case pg.Token_IDENT, pg.Token_UIDENT, pg.Token_ICONST, pg.Token_FCONST:
		return true
	default:
		return isString(t.Token)
	}
}

// secretWords are what names of secrets have in them, and what secrets begin with.
var secretWords = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "credential", "api_key", "apikey", "access_key", "private_key", "scram-sha-256$",
}

// mentionsSecret reports whether a piece of a text speaks of secrets, or is a URI with a password in it.
func mentionsSecret(text string) bool {
	lower := strings.ToLower(text)
	for _, w := range secretWords {
		if strings.Contains(lower, w) {
			return true
		}
	}
	_, rest, uri := strings.Cut(lower, "://")
	return uri && strings.Contains(rest, "@")
}
