package rewrite

import (
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"
)

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
	case *pg.Node_ParamRef:
		if c.takesOIDs(v.ParamRef) {
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
	if bound(n) {
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

func regroleInput(f form) bool { return f == clusterRegrole || f == clusterIdent }

// sayServersName leaves such a name as the server says it. Regrole's input wants it as an identifier.
func (c *catalogReader) sayServersName(n *pg.Node, where stretch, f form, as string) {
	name, quoted := serversName(n, f)
	if regroleInput(f) && !quoted && !bound(n) {
		c.refer(reference{start: where.start, end: where.end, form: quotedName, as: as})
	}
	c.children(name, nil)
}

// typeCast reads a cast: one to regrole reads a name, one to a text writes it.
func (c *catalogReader) typeCast(n *pg.TypeCast, text stretch) {
	typ, _ := typeOf(n.TypeName)
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
	case typ == "regrole": // an array
		if text != (stretch{}) && !bound(n) {
			c.wrap(regroleTexts, whole, n)
		}
		if c.saysNames(n.Arg) {
			c.refer(reference{start: operand.start, end: operand.end, form: clusterRegroles, as: columnName(n)})
		} else {
			c.visit(n.Arg, stretch{}, false)
		}
	case typ == "aclitem" && text != (stretch{}):
		c.wrap(c.textForm(n), whole, n)
		c.visit(n.Arg, stretch{}, false)
	case has(textTypes, typ):
		before := len(c.references)
		c.visit(n.Arg, operand, false)
		if f := figureName(n.Arg); f.weak || f.name == "" { // it gives way to that of the cast
			c.rename(before, columnName(n.Arg), columnName(n))
		}
	default:
		c.visit(n.Arg, stretch{}, false)
	}
}

// rename gives the references from one on, as far as they have a column's name, another.
func (c *catalogReader) rename(first int, name, to string) {
	for i := first; i < len(c.references); i++ {
		if ref := &c.references[i]; ref.as == name && ref.form != fixed && ref.form != subselect {
			ref.as = to
		}
	}
}

// toText reports whether a cast makes a text of a name, and leaves it whole.
func toText(n *pg.TypeCast) bool {
	typ, array := typeOf(n.TypeName)
	return has(textTypes, typ) && !array && len(n.TypeName.GetTypmods()) == 0
}

func toRegrole(n *pg.TypeCast) bool {
	typ, array := typeOf(n.TypeName)
	return typ == "regrole" && !array
}

// typeOf returns what a type is called, and whether it is an array of those: regrole[], regrole ARRAY, _regrole.
func typeOf(n *pg.TypeName) (name string, array bool) {
	name, array = strings.CutPrefix(lastName(n.GetNames()), "_")
	return name, array || len(n.GetArrayBounds()) > 0
}

// saysNames reports whether an expression that is cast to an array of regroles consists of names, and is itself of none.
func (c *catalogReader) saysNames(n *pg.Node) bool {
	said := func(n *pg.Node) bool {
		return n.GetAConst().GetSval() != nil || n.GetParamRef() != nil && !c.takesOIDs(n.GetParamRef())
	}
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

// isConcat reports whether an expression puts two texts, or two arrays, together.
func isConcat(n *pg.A_Expr) bool { return ownName(n.GetName()) == "||" }

// bound reports whether an expression cannot stand in a subquery, where it would mean another thing, or nothing: outside of
// subqueries it calls a function that returns a set, or one over a window, or counts rows.
func bound(m proto.Message) (found bool) {
	switch n := m.(type) {
	case *pg.SubLink:
		return false
	case *pg.FuncCall:
		if n.Over != nil || n.AggStar || has(setFunctions, funcName(n)) {
			return true
		}
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		for child := range nodesOf(f, v) {
			found = found || bound(child.Interface())
		}
		return !found
	})
	return found
}
