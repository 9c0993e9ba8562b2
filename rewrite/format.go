package rewrite

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// An EXECUTE of a text that the block puts together of constants and parts that are not known:
//
//	EXECUTE format('GRANT CONNECT ON DATABASE %I TO reader', current_database())
//	EXECUTE 'ALTER TABLE ' || quote_ident(t) || ' OWNER TO reader'
//
// Such a text is read with a stand-in for each part, an identifier, or a string where the part is quoted as
// one. Where it can be parsed so, the names in the constants are mapped: what a part has in truth changes
// nothing about them. And where a part is the name of a role, all of it, and is quoted, what the part is
// computed from is looked up where it is computed:
//
//	EXECUTE format('GRANT reader TO %I', who)

// standInName stands for a part that is not known. No role is called so.
const standInName = scope.Reserved + "format"

// standInString stands for one that is quoted as a string.
const standInString = "'" + standInName + "'"

var (
	errFormat = errors.New("format has a part with a width, or one that is none")
	errMixed  = errors.New("it stands in strings that are quoted in different ways")
)

// part is a part that is not known.
type part struct {
	slot
	at     int  // byte of the text where its stand-in begins
	quoted rune // 'I': as an identifier, 'L': as a string, 's': not
}

// slot is an argument of a call.
type slot struct {
	call *pg.FuncCall
	arg  int // counted from 0
}

// template returns the layers of a text that an expression puts together, and the parts that it quotes; none where it
// does not, or not of what can be seen. base is where the expression's locations count from.
func (t tokens) template(n *pg.Node, base int) (layers, []part) {
	if list := operands(n); len(list) > 1 {
		if l, parts, err := t.joined(list, base); err == nil {
			return layers{l}, parts
		}
		return nil, nil
	}
	call := n.GetFuncCall()
	if call == nil || funcName(call) != "format" || call.FuncVariadic || len(call.Args) == 0 || call.Args[0].GetAConst().GetSval() == nil {
		return nil, nil
	}
	format := call.Args[0].GetAConst()
	constant, err := t.literal(t.index(base+int(format.Location)), format.GetSval().GetSval())
	if err != nil {
		return nil, nil
	}
	text, parts, err := formatted(format.GetSval().GetSval(), call)
	if err != nil {
		return nil, nil
	}
	return layers{constant, text}, parts
}

// operands returns what a chain of || joins, or concat.
func operands(n *pg.Node) (list []*pg.Node) {
	if e := n.GetAExpr(); isConcat(e) && e.Lexpr != nil {
		return append(operands(e.Lexpr), operands(e.Rexpr)...)
	}
	if call := n.GetFuncCall(); call != nil && funcName(call) == "concat" && !call.FuncVariadic {
		for _, a := range call.Args {
			list = append(list, operands(a)...)
		}
		return list
	}
	return []*pg.Node{n}
}

// joined is a layer on the constants among what is joined.
func (t tokens) joined(list []*pg.Node, base int) (*layer, []part, error) {
	l := &literal{}
	var parts []part
	var writers []writer
	last, ends := t.list[0].start, make(map[int]int) // where the constant before ends, and where each does
	for _, n := range list {
		c := n.GetAConst()
		if c.GetSval() == nil {
			l.runs = append(l.runs, run{l.value.Len(), last})
			p := part{slot{}, l.value.Len(), 's'}.unquoted(n)
			parts = append(parts, p)
			l.value.WriteString(p.standIn())
			continue
		}
		i := t.index(base + int(c.Location))
		constant, err := t.literal(i, c.GetSval().GetSval())
		if err != nil {
			return nil, nil, err
		}
		writers = append(writers, writer{l.value.Len(), quoting(t.text(i)), constant.writers[0].write})
		for _, r := range constant.runs {
			if r.at < len(constant.text) {
				l.runs = append(l.runs, run{l.value.Len() + r.at, r.outer})
			}
		}
		l.value.WriteString(constant.text)
		last = constant.outer(len(constant.text))
		if _, ok := ends[l.value.Len()]; !ok {
			ends[l.value.Len()] = last
		}
	}
	if len(writers) == 0 {
		return nil, nil, errNoString
	}
	joined := &layer{text: l.value.String(), runs: l.runs, ends: ends, writers: writers}
	if list[len(list)-1].GetAConst().GetSval() == nil { // it ends with a part
		joined.behind = t.list[len(t.list)-1].end
	}
	return joined, parts, nil
}

// quoting returns what a string constant begins with: how it is quoted.
func quoting(constant string) string {
	if i := strings.IndexByte(constant[1:], constant[0]); constant[0] == '$' {
		return constant[:i+2]
	}
	quote := strings.IndexByte(constant, '\'')
	return strings.ToUpper(constant[:quote+1])
}

// quotedBy are the functions that quote a part, and how.
var quotedBy = map[string]rune{"quote_ident": 'I', "quote_literal": 'L', "quote_nullable": 'L'}

// unquoted is the part where it is put in as it is: what it is computed from may quote it.
func (p part) unquoted(n *pg.Node) part {
	if call := n.GetFuncCall(); call != nil && quotedBy[funcName(call)] != 0 && len(call.Args) == 1 {
		p.slot, p.quoted = slot{call, 0}, quotedBy[funcName(call)]
	}
	return p
}

func (p part) standIn() string {
	if p.quoted == 'L' {
		return standInString
	}
	return standInName
}

// formatted is a layer on a format string: the text that format makes of it, with stand-ins. A specifier without a number
// is about the argument behind the one before (text_format, varlena.c).
func formatted(format string, call *pg.FuncCall) (*layer, []part, error) {
	l := &literal{}
	var parts []part
	arg := 0
	for at := 0; at < len(format); {
		if format[at] != '%' {
			l.add(format[at:at+1], at)
			at++
			continue
		}
		found := specifier.FindStringSubmatch(format[at:])
		switch {
		case found == nil:
			return nil, nil, errFormat
		case found[0] == "%%":
			l.escape("%", at, len(found[0]))
		default:
			arg++
			if found[1] != "" {
				arg, _ = strconv.Atoi(found[1])
			}
			p := part{slot{call, arg}, l.value.Len(), rune(found[2][0])}
			if p.quoted == 's' && arg < len(call.Args) {
				p = p.unquoted(call.Args[arg])
			}
			parts = append(parts, p)
			l.escape(p.standIn(), at, len(found[0]))
		}
		at += len(found[0])
	}
	return &layer{text: l.value.String(), runs: l.runs, writers: []writer{{write: escapeWithPercent}}}, parts, nil
}

// specifier is what begins with a percent sign in a format string (text_format, varlena.c), without widths.
var specifier = regexp.MustCompile(`^%(?:%|(?:([1-9][0-9]{0,3})\$)?([ILs]))`)

func escapeWithPercent(text string) (string, error) { return strings.ReplaceAll(text, "%", "%%"), nil }

// readTemplate reads a text that is put together. It returns how the parts' calls name roles in their arguments; false
// where the text cannot be read, or a part that is not known decides which roles or scopes it is about in another way.
func (r *reader) readTemplate(text layers, parts []part) (says map[*pg.FuncCall][]form, ok bool) {
	b, failure := r.inside(text, readStatements)
	if failure != nil {
		return nil, false
	}
	roles, made := make([]bool, len(parts)), make(map[slot]bool)
	for j := range b.statements {
		s := b.statements[j]
		if s.bodies != nil || s.changes != nil || s.refusal != nil {
			return nil, false
		}
		for k := range s.names {
			n := &s.names[k]
			if !strings.Contains(string(n.name), standInName) && !strings.Contains(n.schema, standInName) {
				continue
			}
			i := slices.IndexFunc(parts, func(p part) bool { return p.at == n.start })
			if n.computed = i >= 0 && n.isPart(parts[i]) && len(b.layers) == len(text); !n.computed { // else the places are another text's
				return nil, false
			}
			roles[i] = true
			made[parts[i].slot] = made[parts[i].slot] || n.use == creates
		}
		if s.database == standInName {
			s.database = ""
		}
	}
	says = make(map[*pg.FuncCall][]form)
	seen := make(map[slot]bool)
	for i, p := range parts {
		if role, again := seen[p.slot]; again && role != roles[i] || roles[i] && p.arg >= len(p.call.Args) {
			return nil, false // a role's name in one place, and not in another; or none
		}
		seen[p.slot] = roles[i]
		if !roles[i] {
			continue
		}
		if says[p.call] == nil {
			says[p.call] = make([]form, len(p.call.Args))
		}
		if says[p.call][p.arg] = clusterText; made[p.slot] { // and then named
			says[p.call][p.arg] = newText
		}
	}
	r.take(b)
	return says, true
}

// isPart reports whether a name is a part, and one that can be looked up: by itself, and for nothing but the role.
func (n *name) isPart(p part) bool {
	quoted := p.quoted == 'I' && !n.constant || p.quoted == 'L' && n.constant
	whole := string(n.name) == standInName && n.schema == "" && !n.dbonly
	return quoted && whole && n.use != renames && n.use != becomes && n.extra.what != extraShort && n.extra.what != extraSession
}
