package rewrite

import (
	"errors"
	"regexp"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// An EXECUTE of a text that the block puts together of constants and parts that are not known:
//
//	EXECUTE format('GRANT CONNECT ON DATABASE %I TO reader', current_database())
//	EXECUTE 'ALTER TABLE ' || quote_ident(t) || ' OWNER TO reader'
//
// Such a text is read with a stand-in for each part, an identifier, or a string where the part is quoted as one.
// Where it can be parsed so, and no stand-in is in a role's name, the names in the constants are mapped. What a part
// has in truth changes nothing about them.

// standInName stands for a part that is not known. No role is called so.
const standInName = scope.Reserved + "format"

// standInString stands for one that is quoted as a string.
const standInString = "'" + standInName + "'"

var (
	errFormat = errors.New("format has a part with a width, or one that is none")
	errMixed  = errors.New("the text is put together of strings that are quoted in different ways")
)

// template returns the layers of a text that an expression puts together; none where it does not, or not of what can be
// seen. base is where the expression's locations count from.
func (t tokens) template(n *pg.Node, base int) layers {
	if parts := operands(n); len(parts) > 1 {
		if l, err := t.joined(parts, base); err == nil {
			return layers{l}
		}
		return nil
	}
	call := n.GetFuncCall()
	if call == nil || funcName(call) != "format" || call.FuncVariadic || len(call.Args) == 0 || call.Args[0].GetAConst().GetSval() == nil {
		return nil
	}
	format := call.Args[0].GetAConst()
	constant, err := t.literal(t.index(base+int(format.Location)), format.GetSval().GetSval())
	if err != nil {
		return nil
	}
	text, err := formatted(format.GetSval().GetSval())
	if err != nil {
		return nil
	}
	return layers{constant, text}
}

// operands returns what a chain of || joins.
func operands(n *pg.Node) []*pg.Node {
	if e := n.GetAExpr(); e != nil && len(e.Name) == 1 && e.Name[0].GetString_().GetSval() == "||" && e.Lexpr != nil {
		return append(operands(e.Lexpr), operands(e.Rexpr)...)
	}
	return []*pg.Node{n}
}

// joined is a layer on the constants among the parts.
func (t tokens) joined(parts []*pg.Node, base int) (*layer, error) {
	l := &literal{}
	var quotes string
	last := t.list[0].start // where the constant before ends
	for _, n := range parts {
		c := n.GetAConst()
		if c.GetSval() == nil {
			l.runs = append(l.runs, run{l.value.Len(), last})
			l.value.WriteString(placeholder(n))
			continue
		}
		i := t.index(base + int(c.Location))
		constant, err := t.literal(i, c.GetSval().GetSval())
		if err != nil {
			return nil, err
		}
		if l.write == nil {
			quotes, l.write = quoting(t.text(i)), constant.write
		}
		if quoting(t.text(i)) != quotes {
			return nil, errMixed
		}
		for _, r := range constant.runs {
			l.runs = append(l.runs, run{l.value.Len() + r.at, r.outer})
		}
		l.value.WriteString(constant.text)
		last = t.list[i].end - 1
	}
	if l.write == nil {
		return nil, errNoString
	}
	return &layer{text: l.value.String(), runs: l.runs, write: l.write}, nil
}

// quoting returns what a string constant begins with: how it is quoted.
func quoting(constant string) string {
	if i := strings.IndexByte(constant[1:], constant[0]); constant[0] == '$' {
		return constant[:i+2]
	}
	quote := strings.IndexByte(constant, '\'')
	return strings.ToUpper(constant[:quote+1])
}

// placeholder returns what stands for a part of a chain.
func placeholder(n *pg.Node) string {
	switch call := n.GetFuncCall(); {
	case call != nil && (funcName(call) == "quote_literal" || funcName(call) == "quote_nullable"):
		return standInString
	default:
		return standInName
	}
}

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
		case found == "":
			return nil, errFormat
		case found == "%%":
			l.escape("%", at, len(found))
		case strings.HasSuffix(found, "L"):
			l.escape(standInString, at, len(found))
		default:
			l.escape(standInName, at, len(found))
		}
		at += len(found)
	}
	return &layer{text: l.value.String(), runs: l.runs, write: escapeWithPercent}, nil
}

// specifier is what begins with a percent sign in a format string (text_format, varlena.c), without widths.
var specifier = regexp.MustCompile(`^%(%|([1-9][0-9]*\$)?[ILs])`)

func escapeWithPercent(text string) (string, error) { return strings.ReplaceAll(text, "%", "%%"), nil }

// readTemplate reads a text that is put together; false where it cannot be read, or a part that is not known
// decides which roles or scopes it is about.
func (r *reader) readTemplate(s layers) bool {
	b, failure := r.inside(s, readStatements)
	if failure != nil {
		return false
	}
	for j := range b.statements {
		s := &b.statements[j]
		if s.bodies != nil || s.changes != nil || s.refusal != nil {
			return false
		}
		for _, n := range s.names {
			if strings.Contains(string(n.name), standInName) || strings.Contains(n.schema, standInName) {
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
