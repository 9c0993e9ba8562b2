package rewrite

import (
	"fmt"
	"regexp"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
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
	if known.result == definition || known.result != asItIs && !slices.Contains(c.inRows, proto.Message(n)) {
		c.wrap(known.result, at.whole, n)
	}
	if known.inText != asItIs && text != (stretch{}) {
		c.wrap(known.inText, at.whole, n)
	}
	name := funcName(n)
	joins := name == "array_to_string" || has(textFunctions, name)
	if form := accessList(n); form == aclSet && text != (stretch{}) {
		joins = true // unnest: of texts
	} else if form != asItIs && text != (stretch{}) {
		c.wrap(form, text, n)
	}
	if name == "to_regrole" && known.args != nil && !saysServersName(n.Args[0], known.args[0]) { // else what stands in for the argument does its work
		c.refer(reference{start: at.whole.start, end: at.open, form: fixed})
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

// setsComputed reports whether a call sets a setting whose name the text does not tell.
func setsComputed(n *pg.FuncCall) bool {
	return isSetConfig(n) && textConstant(n.Args[0]) == nil
}

// computed makes the arguments of such a call columns, of which [maybeRole] makes the call.
func (c *catalogReader) computed(n *pg.FuncCall, at writtenCall) {
	c.refer(reference{start: at.whole.start, end: at.whole.end, form: maybeRole, as: columnName(n)})
	c.refer(reference{start: at.whole.start, end: at.args[0].start, form: fixed})
	for i, column := range []struct{ typ, as string }{{typeText, " AS s"}, {typeText, " AS x"}, {"::pg_catalog.bool", " AS b"}} {
		a := n.Args[i]
		if a.GetParamRef() != nil || a.GetAConst() != nil {
			column.as = column.typ + column.as
		}
		c.refer(reference{start: at.args[i].end, end: at.args[i].end, form: fixed, as: column.as})
	}
	c.refer(reference{start: at.args[2].end, end: at.whole.end, form: fixed})
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

// room says for what of a call a subselect may stand in.
type room int

const (
	roomForCall     room = iota // of all of it
	roomInArguments             // of its arguments
	noRoom
)

// setConfig takes in what a call of set_config wants: the same as a SET with its effect. Which role it sets, or
// whether the setting is a role at all, may be unknown, where the text does not tell. It returns the argument that
// is a role's name, if that was taken in.
func (c *catalogReader) setConfig(n *pg.FuncCall, at writtenCall, r room) (resolved *pg.Node) {
	if !isSetConfig(n) {
		return nil
	}
	role := party{word: policy.UnknownRole}
	setting := textConstant(n.Args[0])
	if setting == nil {
		c.want(want{kind: policy.SetRole, role: role, maybe: true})
		c.want(want{kind: policy.SetSessionAuth, role: role, maybe: true})
		switch {
		case len(at.args) == 0:
			c.beyondLookup(n)
		case r == roomForCall && !containsSet(n):
			c.computed(n, at)
		default:
			c.refer(reference{start: at.args[0].start, end: at.args[0].end, form: noRoleSetting})
		}
		return nil
	}
	if is([]byte(setting.GetSval().GetSval()), scope.ModeSetting) {
		c.configMode(n.Args[1])
		return nil
	}
	kind, ok := settingKind(setting.GetSval().GetSval())
	if !ok {
		return nil
	}
	switch value := textConstant(n.Args[1]); {
	case value != nil:
		name := value.GetSval().GetSval()
		resolved = n.Args[1]
		if role.word = roleNone; kind != policy.SetRole || name != roleNone {
			s, _, err := c.tokens.value(c.tokens.index(c.base+int(value.Location)), name)
			role = c.add(s, err, name, refers)
		}
	case n.Args[1].GetAConst() != nil, saysServersName(n.Args[1], clusterText): // NULL, or a name of the cluster's
	case r == noRoom, containsSet(n.Args[1]), len(at.args) == 0:
		c.beyondLookup(n)
	}
	c.want(want{kind: kind, role: role, maybe: true})
	return resolved
}

// beyondLookup refuses a statement, where names are mapped, for the role that a call sets: it cannot be looked up there.
func (c *catalogReader) beyondLookup(n *pg.FuncCall) {
	c.unmapped = at(scope.Error{
		Code:    scope.CodeFeatureNotSupported,
		Message: "the role that set_config sets could not be mapped",
		Detail:  "It is computed where no subquery may stand that looks it up.",
		Hint:    "Call set_config in the list of a SELECT, for one role.",
	}, c.tokens.sql, c.base+int(n.Location))
}

// configMode takes in the mode that a set_config sets. One that the text does not tell would be
// shown without being in force.
func (c *catalogReader) configMode(value *pg.Node) {
	constant := textConstant(value)
	if constant == nil {
		c.refuse(c.start, scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf(`parameter "%s" cannot be set to a value that is computed`, scope.ModeSetting),
			Hint:    fmt.Sprintf("Use SET %s.", scope.ModeSetting),
		})
		return
	}
	if mode, ok := c.readMode(constant.GetSval().GetSval()); ok {
		c.want(want{kind: policy.SetMode, mode: mode, maybe: true})
	}
}

func isSetConfig(n *pg.FuncCall) bool { return funcName(n) == "set_config" && len(n.Args) == 3 }

// say reads an expression that names a role; what stands in for it is called as. It reports
// whether all of the expression was read.
func (c *catalogReader) say(n *pg.Node, where stretch, f form, as string) bool {
	if saysServersName(n, f) {
		c.sayServersName(n, where, f, as)
		return true
	}
	shown := false
	switch v := n.GetNode().(type) {
	case *pg.Node_AConst:
		if v.AConst.GetSval() == nil { // an OID, or NULL
			return true
		}
	case *pg.Node_ColumnRef:
		field := columnField(v.ColumnRef)
		if f != clusterText && has(oidColumns, field) {
			return false
		}
		shown = has(nameColumns, field)
	}
	ref := reference{start: where.start, end: where.end, form: f, as: as, constant: plainConstant(n), shown: shown}
	if n.GetParamRef() != nil {
		ref.cast = typeName
		if f != clusterOID && f != clusterMember {
			ref.cast = typeText
		}
	}
	if containsSet(n) {
		return false
	}
	c.refer(ref)
	return false
}

// serversName returns the key word or the call of which an expression consists, if by it the server itself says a role's
// name. That is the cluster's name, which needs no look-up. Casts to texts may be around it, and quote_ident where it is
// input of regrole. It returns nil for other expressions.
func serversName(n *pg.Node, f form) (name proto.Message, quoted bool) {
	switch v := n.GetNode().(type) {
	case *pg.Node_SqlvalueFunction:
		if saysUser(v.SqlvalueFunction) {
			return v.SqlvalueFunction, false
		}
	case *pg.Node_FuncCall:
		call := v.FuncCall
		shown := callOf(call).result
		returns := shown == shortName || shown == shortNames || shown == shortText && funcName(call) == "current_setting"
		if returns && f != clusterText { // a role is set by a name of this database
			return call, false
		}
		if regroleInput(f) && funcName(call) == "quote_ident" && len(call.Args) == 1 {
			name, _ = serversName(call.Args[0], f)
			return name, true
		}
	case *pg.Node_TypeCast:
		if toText(v.TypeCast) {
			return serversName(v.TypeCast.Arg, f)
		}
	}
	return nil, false
}

func saysServersName(n *pg.Node, f form) bool {
	name, _ := serversName(n, f)
	return name != nil
}

func regroleInput(f form) bool { return f == clusterRegrole || f == clusterRegroleSoft }

// sayServersName leaves such a name as the server says it. Regrole's input wants it as an identifier.
func (c *catalogReader) sayServersName(n *pg.Node, where stretch, f form, as string) {
	name, quoted := serversName(n, f)
	if regroleInput(f) && !quoted && !containsSet(n) {
		c.refer(reference{start: where.start, end: where.end, form: quotedName, as: as})
	}
	c.children(name, nil)
}

// typeCast reads a cast: one to regrole reads a name, one to a text writes it.
func (c *catalogReader) typeCast(n *pg.TypeCast, text stretch) {
	typ := lastName(n.TypeName.GetNames())
	whole, operand := c.cast(n)
	switch {
	case operand == (stretch{}):
		c.visit(n.Arg, stretch{}, false)
	case toRegrole(n):
		if text != (stretch{}) {
			c.wrap(regroleText, whole, n)
		}
		if n.Location < 0 { // regrole 'x'
			c.refer(reference{start: whole.start, end: operand.start, form: fixed})
		}
		if !c.say(n.Arg, operand, clusterRegrole, columnName(n)) {
			c.visit(n.Arg, stretch{}, false)
		}
	case typ == "regrole" && saysNames(n.Arg):
		c.refer(reference{start: operand.start, end: operand.end, form: clusterRegroles, as: columnName(n)})
	case typ == "aclitem" && text != (stretch{}):
		c.wrap(accessList(n), whole, n)
		c.visit(n.Arg, stretch{}, false)
	case has(textTypes, typ):
		before := len(c.references)
		c.visit(n.Arg, operand, false)
		for i := before; i < len(c.references); i++ { // a weak name gives way to that of the cast
			if ref := &c.references[i]; ref.start == operand.start && ref.end == operand.end {
				ref.as = columnName(n)
			}
		}
	default:
		c.visit(n.Arg, stretch{}, false)
	}
}

// toText reports whether a cast makes a text of a name, and leaves it whole.
func toText(n *pg.TypeCast) bool {
	typ := n.TypeName
	return len(typ.GetTypmods())+len(typ.GetArrayBounds()) == 0 && has(textTypes, lastName(typ.GetNames()))
}

func toRegrole(n *pg.TypeCast) bool {
	return lastName(n.TypeName.GetNames()) == "regrole" && len(n.TypeName.GetArrayBounds()) == 0
}

// saysNames reports whether an expression that is cast to an array of regroles consists of names, and is itself of none.
func saysNames(n *pg.Node) bool {
	said := func(n *pg.Node) bool { return n.GetAConst().GetSval() != nil || n.GetParamRef() != nil }
	if list := n.GetAArrayExpr().GetElements(); list != nil {
		return !slices.ContainsFunc(list, func(n *pg.Node) bool { return !said(n) })
	}
	return said(n)
}

// plainConstant returns a constant's string if it is a name that means itself however it is read; else an empty one.
func plainConstant(n *pg.Node) string {
	if text := n.GetAConst().GetSval().GetSval(); plainName.MatchString(text) && text != "public" {
		return text
	}
	return ""
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// funcName returns the name of a function of the server, empty where it is another schema's.
func funcName(n *pg.FuncCall) string {
	switch names := n.Funcname; {
	case len(names) == 1:
		return names[0].GetString_().GetSval()
	case len(names) == 2 && names[0].GetString_().GetSval() == "pg_catalog":
		return names[1].GetString_().GetSval()
	default:
		return ""
	}
}

// accessList tells whether a node's value is an access list, or an item of one.
func accessList(m proto.Message) form {
	switch n := m.(type) {
	case *pg.Node:
		f := asItIs
		n.ProtoReflect().Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			f = accessList(v.Message().Interface())
			return true
		})
		return f
	case *pg.ColumnRef:
		if has(aclColumns, columnField(n)) {
			return aclTexts
		}
	case *pg.FuncCall:
		switch name := funcName(n); {
		case has(aclFunctions, name):
			return aclTexts
		case name == "makeaclitem":
			return aclText
		case name == "unnest" && len(n.Args) == 1 && accessList(n.Args[0]) == aclTexts:
			return aclSet
		}
	case *pg.TypeCast:
		if lastName(n.TypeName.GetNames()) == "aclitem" {
			if len(n.TypeName.ArrayBounds) > 0 {
				return aclTexts
			}
			return aclText
		}
	case *pg.CoalesceExpr:
		return anyAccessList(n.Args)
	case *pg.CaseExpr:
		results := []*pg.Node{n.Defresult}
		for _, w := range n.Args {
			results = append(results, w.GetCaseWhen().GetResult())
		}
		return anyAccessList(results)
	case *pg.A_Indirection:
		if len(n.Indirection) == 1 && accessList(n.Arg) == aclTexts {
			if i := n.Indirection[0].GetAIndices(); i != nil && !i.IsSlice {
				return aclText
			} else if i != nil {
				return aclTexts
			}
		}
	}
	return asItIs
}

func anyAccessList(list []*pg.Node) form {
	for _, n := range list {
		if f := accessList(n); n != nil && f != asItIs {
			return f
		}
	}
	return asItIs
}

// containsSet reports whether an expression calls a function that returns a set, outside of subqueries.
func containsSet(m proto.Message) (found bool) {
	switch n := m.(type) {
	case *pg.SubLink:
		return false
	case *pg.FuncCall:
		if has(setFunctions, funcName(n)) {
			return true
		}
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for list, i := v.List(), 0; i < list.Len(); i++ {
				found = found || containsSet(list.Get(i).Message().Interface())
			}
		default:
			found = found || containsSet(v.Message().Interface())
		}
		return !found
	})
	return found
}
