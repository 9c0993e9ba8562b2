package rewrite

import (
	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Values that the server writes with roles' names, where texts are made of them. Which values are such ones, the text of
// the query tells: by the names of catalogs' columns and of functions, by casts, and by what subqueries call those.

// arrayFunctions return an array of the type that one of their arguments has, or holds.
var arrayFunctions = set("array_append", "array_cat", "array_prepend", "array_remove", "array_replace", "trim_array")

// element is the form of an array's elements; asItIs of what is none.
func (f form) element() form {
	switch f {
	case aclTexts:
		return aclText
	case regroleTexts:
		return regroleText
	default:
		return asItIs
	}
}

// array is the form of an array of such elements.
func (f form) array() form {
	switch f {
	case aclText:
		return aclTexts
	case regroleText:
		return regroleTexts
	default:
		return asItIs
	}
}

// textForm tells how the text of a node's value is shown, where that is an access list, a regrole, an item of one, or an
// array of the other. Each node within another asks again for those within itself: so the answers are kept.
func (c *catalogReader) textForm(m proto.Message) form {
	if n, ok := m.(*pg.Node); ok {
		m = content(n)
	}
	key := valueIn{m, len(c.items)}
	f, ok := c.forms[key]
	if !ok {
		f = c.makeTextForm(m)
		c.forms[key] = f
	}
	return f
}

// valueIn is a node, and how many queries were in scope: what a column means, which a node has, depends on that.
type valueIn struct {
	node   proto.Message
	scopes int
}

func (c *catalogReader) makeTextForm(m proto.Message) form {
	switch n := m.(type) {
	case *pg.ColumnRef:
		if f, known := c.derivedForm(n); known {
			return f
		}
		if has(aclColumns, columnField(n)) {
			return aclTexts
		}
	case *pg.SubLink:
		return c.queryForm(n)
	case *pg.FuncCall:
		return c.callForm(n)
	case *pg.TypeCast:
		return castForm(n)
	case *pg.CoalesceExpr:
		return c.anyTextForm(n.Args)
	case *pg.MinMaxExpr:
		return c.anyTextForm(n.Args)
	case *pg.CaseExpr:
		results := []*pg.Node{n.Defresult}
		for _, w := range n.Args {
			results = append(results, w.GetCaseWhen().GetResult())
		}
		return c.anyTextForm(results)
	case *pg.A_Expr:
		if n.Kind == pg.A_Expr_Kind_AEXPR_NULLIF {
			if f := c.textForm(n.Lexpr); f != regroleText { // of which it makes an OID
				return f
			}
		}
		if !isConcat(n) {
			return asItIs
		}
		if f := c.anyTextForm([]*pg.Node{n.Lexpr, n.Rexpr}); f.element() != asItIs {
			return f
		}
	case *pg.A_ArrayExpr:
		return c.anyTextForm(n.Elements).array()
	case *pg.A_Indirection:
		f := c.textForm(n.Arg)
		if i := n.Indirection[0].GetAIndices(); len(n.Indirection) == 1 && i != nil && f.element() != asItIs {
			if i.IsSlice {
				return f
			}
			return f.element()
		}
	}
	return asItIs
}

// callForm is textForm of what a function returns.
func (c *catalogReader) callForm(n *pg.FuncCall) form {
	switch name := funcName(n); {
	case has(aclFunctions, name):
		return aclTexts
	case name == "makeaclitem":
		return aclText
	case name == "unnest" && len(n.Args) == 1:
		if f := c.textForm(n.Args[0]).element(); f != aclText {
			return f
		}
		return aclSet
	case has(arrayFunctions, name):
		if f := c.anyTextForm(n.Args); f.element() != asItIs {
			return f
		}
	case name == arrayAggregate && len(n.Args) == 1:
		return c.textForm(n.Args[0]).array()
	case has(rowFunctions, name):
		return c.anyTextForm(n.Args)
	case len(n.Args) == 1 && (name == "to_regrole" || name == "regrole"):
		return regroleText
	}
	return asItIs
}

// queryForm is textForm of what a subquery returns in an expression.
func (c *catalogReader) queryForm(n *pg.SubLink) form {
	f := c.outputs(n.Subselect, nil)[firstColumn(n.Subselect.GetSelectStmt())]
	switch n.SubLinkType {
	case pg.SubLinkType_EXPR_SUBLINK:
		return f
	case pg.SubLinkType_ARRAY_SUBLINK:
		return f.array()
	default:
		return asItIs
	}
}

// castForms has the types whose values have names in their texts.
var castForms = map[string]form{"regrole": regroleText, "aclitem": aclText}

// castForm is textForm of what is cast.
func castForm(n *pg.TypeCast) form {
	typ, array := typeOf(n.TypeName)
	if array {
		return castForms[typ].array()
	}
	return castForms[typ]
}

// anyTextForm is the form of the first that has one: an array's, if there is one.
func (c *catalogReader) anyTextForm(list []*pg.Node) form {
	found := asItIs
	for _, n := range list {
		if n == nil {
			continue
		}
		f := c.textForm(n)
		if f.element() != asItIs {
			return f
		}
		if found == asItIs {
			found = f
		}
	}
	return found
}
