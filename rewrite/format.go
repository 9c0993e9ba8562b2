package rewrite

import (
	"errors"
	"regexp"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// EXECUTE format('GRANT CONNECT ON DATABASE %I TO reader', current_database()): what format puts into the text by %I is one
// identifier, and by %L one string, whatever it is. So the text can be read with stand-ins for them, and is mapped where no role's
// name is among them. What %s puts in may be anything: such a text is not read.

// standInName stands for what format puts in. No role is called so.
const standInName = scope.Reserved + "format"

var errFormat = errors.New("format puts parts into the text that cannot be foreseen")

// formatted is a layer on a format string: the text that format makes of it, with stand-ins.
func formatted(format string) (*layer, error) {
	l := &literal{}
	for at := 0; at < len(format); {
		found := specifier.FindString(format[at:])
		switch {
		case format[at] != '%':
			l.add(format[at:at+1], at)
			at++
			continue
		case strings.HasSuffix(found, "I"):
			l.escape(standInName, at, len(found))
		case strings.HasSuffix(found, "L"):
			l.escape("'"+standInName+"'", at, len(found))
		case found == "%%":
			l.escape("%", at, len(found))
		default:
			return nil, errFormat
		}
		at += len(found)
	}
	return &layer{text: l.value.String(), runs: l.runs, write: escapeWithPercent}, nil
}

// specifier is what begins with a percent sign in a format string (text_format, varlena.c), without widths.
var specifier = regexp.MustCompile(`^%(%|([1-9][0-9]*\$)?[IL])`)

func escapeWithPercent(text string) (string, error) { return strings.ReplaceAll(text, "%", "%%"), nil }

// formatString returns the place of the format string of a call of format that is the whole expression, and its value; none where the
// expression is another.
func (t tokens) formatString(n *pg.Node) (i int, value string) {
	call := n.GetFuncCall()
	if call == nil || funcName(call) != "format" || call.FuncVariadic || len(call.Args) == 0 || call.Args[0].GetAConst().GetSval() == nil {
		return none, ""
	}
	for i = 0; i < len(t.list) && t.kind(i) != tokenOpen; i++ {
	}
	if t.kind(i+1) != pg.Token_SCONST || t.kind(i+2) != tokenComma && t.kind(i+2) != tokenClose {
		return none, ""
	}
	return i + 1, call.Args[0].GetAConst().GetSval().GetSval()
}

// readFormat reads the text that format makes of the string at token i; false where it cannot be read, or a part that is not known
// decides which roles or scopes it is about.
func (r *reader) readFormat(i int, value string) bool {
	constant, err := r.tokens.literal(i, value)
	if err != nil {
		return false
	}
	text, err := formatted(value)
	if err != nil {
		return false
	}
	b, failure := r.inside(layers{constant, text}, readStatements)
	if failure != nil {
		return false
	}
	for j := range b.statements {
		s := &b.statements[j]
		if s.bodies != nil || s.changes != nil || s.refusal != nil {
			return false
		}
		for _, n := range s.names {
			if n.name == standInName || n.schema == standInName {
				return false
			}
		}
		if s.database == standInName {
			s.database = ""
		}
	}
	r.take(b)
	return true
}
