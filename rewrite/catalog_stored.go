package rewrite

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// storesExpressions tells the statements whose expressions the server keeps, and runs without the proxy. CREATE
// STATISTICS is left out, as what it keeps has no results that anybody sees, and so are those whose expressions have to
// be immutable: of indexes, publications.
func storesExpressions(stmt *pg.Node) bool {
	switch n := stmt.GetNode().(type) {
	case *pg.Node_CreateStmt, *pg.Node_CreateForeignTableStmt, *pg.Node_AlterTableStmt, *pg.Node_CreateDomainStmt, *pg.Node_AlterDomainStmt,
		*pg.Node_ViewStmt, *pg.Node_RuleStmt, *pg.Node_CreatePolicyStmt, *pg.Node_AlterPolicyStmt, *pg.Node_CreateTrigStmt,
		*pg.Node_CreateFunctionStmt, *pg.Node_CreateSchemaStmt:
		return true
	case *pg.Node_CreateTableAsStmt:
		return n.CreateTableAsStmt.Objtype == pg.ObjectType_OBJECT_MATVIEW
	default:
		return false
	}
}

// takesNoSubquery tells the statements whose expressions run at once, and may not hold a subquery.
func takesNoSubquery(stmt *pg.Node) bool {
	switch n := stmt.GetNode().(type) {
	case *pg.Node_CallStmt, *pg.Node_ExecuteStmt:
		return true
	case *pg.Node_CopyStmt:
		return n.CopyStmt.IsFrom // WHERE
	default:
		return false
	}
}

// stored finds CURRENT_USER and its like, and current_setting of a role, in what the server keeps, or where no subquery may stand in for it. Where a
// function, or a cast to regrole, looks a role up by it, the server wants the name that it says itself.
func (c *catalogReader) stored(stmt *pg.Node) {
	var sought []proto.Message
	seek := func(n *pg.Node, f form) {
		if name, _ := serversName(n, f); name != nil && f != asItIs {
			sought = append(sought, name)
		}
	}
	walk(stmt.ProtoReflect(), func(m proto.Message) {
		switch n := m.(type) {
		case *pg.FuncCall:
			if takesNoSubquery(stmt) { // and so runs it
				at, _ := c.written(n)
				c.setConfig(n, at, noRoom)
			}
			for i, f := range callOf(n).args {
				seek(n.Args[i], f)
				if (f == clusterOID || f == clusterMember) && takesNoSubquery(stmt) {
					c.sayConstant(n.Args[i])
				}
			}
			if at, ok := c.written(n); ok && storedForm(n) != asItIs && !slices.Contains(sought, m) {
				c.wrap(storedText, at.whole, n)
			}
		case *pg.TypeCast:
			if toRegrole(n) {
				seek(n.Arg, clusterRegrole)
				if takesNoSubquery(stmt) {
					c.castConstant(n)
				}
			}
		case *pg.RangeFunction:
			for _, f := range n.Functions {
				if word := f.GetList().GetItems()[0].GetSqlvalueFunction(); word != nil && !c.selected(n, f.GetList().GetItems()[0]) {
					sought = append(sought, word) // no expression may stand there
				}
			}
		case *pg.SQLValueFunction:
			if saysUser(n) && !slices.Contains(sought, m) {
				c.wrap(storedName, c.token(n.Location), n)
			}
		case *pg.ResTarget: // a view's column without a name has that of the key word, or the function
			if f := figureName(n.Val); n.Name == "" && n.Val != nil && storedForm(f.node) != asItIs {
				end := c.columnEnd(n)
				c.refer(reference{start: end, end: end, form: fixed, as: " AS " + scope.QuoteIdent(f.name)})
			}
		}
	})
}

// sayConstant takes in a name that is a constant, where no subquery may look it up, as a name of the statement's own. It
// reports whether it did.
func (c *catalogReader) sayConstant(n *pg.Node) bool {
	name := plainConstant(n)
	if name == "" {
		return false
	}
	s, _, err := c.tokens.value(c.tokens.index(c.base+int(n.GetAConst().Location)), name)
	c.add(s, err, name, refers)
	return true
}

// castConstant is sayConstant for what is cast to regrole: the role's name there is an identifier. A constant behind its
// type takes no function, and is cast instead.
func (c *catalogReader) castConstant(n *pg.TypeCast) {
	whole, operand := c.cast(n)
	if operand == (stretch{}) || !c.sayConstant(n.Arg) {
		return
	}
	start, behind := operand.start, ")"
	if n.Location < 0 {
		start, behind = whole.start, ")::pg_catalog.regrole"
	}
	c.refer(reference{start: start, end: operand.start, form: fixed, as: "pg_catalog.quote_ident("})
	c.refer(reference{start: operand.end, end: operand.end, form: fixed, as: behind})
}

// storedForm tells what stands in for a node that says a role's name, where the server keeps it; asItIs for others.
func storedForm(m proto.Message) form {
	switch n := m.(type) {
	case *pg.SQLValueFunction:
		if saysUser(n) {
			return storedName
		}
	case *pg.FuncCall:
		if funcName(n) == "current_setting" && callOf(n).result != asItIs {
			return storedText
		}
	}
	return asItIs
}

// columnEnd returns where a column without a name ends: before what is no part of an expression.
func (c *catalogReader) columnEnd(n *pg.ResTarget) int {
	t := c.tokens
	for i, depth := t.index(c.base+int(n.Location)), 0; ; i++ {
		depth += t.nesting(i)
		ends := slices.Contains(behindColumns, t.kind(i)) && // not of WITH TIME ZONE, WITHIN GROUP, COLLATION FOR
			t.kind(i+1) != pg.Token_TIME && t.kind(i-1) != pg.Token_WITHIN && t.kind(i-1) != pg.Token_COLLATION
		if depth < 0 || depth == 0 && ends || i >= len(t.list) {
			return t.list[min(i, len(t.list))-1].end
		}
	}
}

// behindColumns are what may come behind a column that has no name. As key words they are none that a column may have for
// a name without AS (AS_LABEL, kwlist.h), and all are reserved.
var behindColumns = []pg.Token{
	tokenComma, tokenSemicolon,
	pg.Token_CREATE, pg.Token_EXCEPT, pg.Token_FETCH, pg.Token_FOR, pg.Token_FROM, pg.Token_GRANT, pg.Token_GROUP_P, pg.Token_HAVING,
	pg.Token_INTERSECT, pg.Token_INTO, pg.Token_LIMIT, pg.Token_OFFSET, pg.Token_ON, pg.Token_ORDER, pg.Token_RETURNING, pg.Token_UNION,
	pg.Token_WHERE, pg.Token_WINDOW, pg.Token_WITH,
}
