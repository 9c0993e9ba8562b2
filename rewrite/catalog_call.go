package rewrite

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// function reads a call.
func (c *catalogReader) function(n *pg.FuncCall, text stretch) {
	at, ok := c.written(n)
	resolved := c.setConfig(n, at, roomForCall)
	if !ok || funcName(n) == systemUser && c.ServerVersion < firstSystemUser {
		c.children(n, nil)
		return
	}
	known := callOf(n)
	if known.result == definition || known.result != asItIs && !c.inRows[n] {
		c.wrap(known.result, at.whole, n)
	}
	name := funcName(n)
	joins := name == "array_to_string" || has(textFunctions, name)
	switch form := c.textForm(n); {
	case form == asItIs, text == (stretch{}):
	case form == aclSet, name == arrayAggregate, has(rowFunctions, name):
		joins = true // of texts
	default:
		c.wrap(form, text, n)
	}
	c.arguments(n, at, resolved, joins)
}

// arguments reads the arguments of a call. resolved is one that was read already; joins says that a text is made of them.
func (c *catalogReader) arguments(n *pg.FuncCall, at writtenCall, resolved *pg.Node, joins bool) {
	forms := callOf(n).args
	if computed := c.says[n]; computed != nil {
		forms = computed
	}
	for i, a := range n.Args {
		if a == resolved || i < len(forms) && forms[i] != asItIs && c.say(a, at.args[i], forms[i], funcName(n)) {
			continue
		}
		within := stretch{}
		if joins {
			within = at.args[i]
		}
		c.visit(a, within, false)
	}
	c.children(n, func(field string, _ protoreflect.Value) bool { return field == "args" })
}

// writtenCall is where a call stands: all of it, its parenthesis, and its arguments.
type writtenCall struct {
	whole stretch
	open  int
	args  []stretch
}

// written finds a call in the text. It returns false for calls with a syntax of their own,
// SUBSTRING(x FROM 1), or with named arguments.
func (c *catalogReader) written(n *pg.FuncCall) (writtenCall, bool) {
	if n.Funcformat == pg.CoercionForm_COERCE_SQL_SYNTAX && funcName(n) == systemUser { // a key word
		return writtenCall{whole: c.token(n.Location)}, true
	}
	first := c.tokens.index(c.base + int(n.Location))
	open, ok := c.names(first, funcName(n))
	if n.Location < 0 || !ok || c.tokens.kind(open) != tokenOpen {
		return writtenCall{}, false
	}
	end, args := c.closing(open), c.argumentPlaces(open, len(n.Args))
	if end == none || args == nil || slices.ContainsFunc(n.Args, func(a *pg.Node) bool { return a.GetNamedArgExpr() != nil }) {
		return writtenCall{}, false
	}
	return writtenCall{stretch{c.tokens.list[first].start, end}, c.tokens.list[open].start, args}, true
}

// callOf returns what is known of the function that is called so; of others nothing.
func callOf(n *pg.FuncCall) call {
	name := funcName(n)
	if has(definitionFunctions, name) {
		return call{result: definition}
	}
	for _, known := range calls[name] {
		if _, ok := settingKind(firstConstant(n)); len(known.args) == len(n.Args) && (ok || !known.setting) {
			return known
		}
	}
	return call{}
}

func isKnown(n *pg.FuncCall) bool {
	known := callOf(n)
	return known.args != nil || known.result != asItIs || setsComputed(n)
}

// firstConstant returns the string that is a call's first argument; an empty one where that is something else.
func firstConstant(n *pg.FuncCall) string {
	if len(n.Args) == 0 {
		return ""
	}
	return textConstant(n.Args[0]).GetSval().GetSval()
}

// textConstant returns the string that an expression consists of, with casts to texts around it or without; nil for others.
func textConstant(n *pg.Node) *pg.A_Const {
	if cast := n.GetTypeCast(); cast != nil && toText(cast) {
		return textConstant(cast.Arg)
	}
	if a := n.GetAConst(); a.GetSval() != nil {
		return a
	}
	return nil
}

// funcName returns the name of a function of the server, empty where it is another schema's.
func funcName(n *pg.FuncCall) string { return ownName(n.Funcname) }

// ownName is that of a function or an operator.
func ownName(names []*pg.Node) string {
	switch {
	case len(names) == 1:
		return names[0].GetString_().GetSval()
	case len(names) == 2 && names[0].GetString_().GetSval() == "pg_catalog":
		return names[1].GetString_().GetSval()
	default:
		return ""
	}
}
