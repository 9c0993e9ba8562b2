package rewrite

import (
	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// storesExpressions tells the statements whose expressions the server keeps, and runs without the proxy.
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

// stored finds CURRENT_USER and its like in what the server keeps.
func (c *catalogReader) stored(stmt *pg.Node) {
	walk(stmt.ProtoReflect(), func(m proto.Message) {
		switch n := m.(type) {
		case *pg.SQLValueFunction:
			if name, _ := figureName(n); name != "" {
				c.wrap(storedName, c.token(n.Location), n)
			}
		case *pg.ResTarget: // a view's column without a name has that of the key word
			if end := c.unnamed(n); end != none {
				c.refer(reference{start: end, end: end, form: fixed, as: " AS " + scope.QuoteIdent(columnName(n.Val))})
			}
		}
	})
}

// unnamed returns where a column ends that has its name from CURRENT_USER or its like, by itself or cast; none for others,
// and where that cannot be told.
func (c *catalogReader) unnamed(n *pg.ResTarget) int {
	inner := n.Val
	for inner.GetTypeCast() != nil {
		inner = inner.GetTypeCast().Arg
	}
	word := inner.GetSqlvalueFunction()
	if word == nil || n.Name != "" {
		return none
	}
	at := c.token(word.Location)
	if n.Val.GetTypeCast() != nil {
		at = c.node(n.Val)
	}
	first, next := c.tokens.index(at.start), c.tokens.index(at.end)
	for c.tokens.kind(first-1) == tokenOpen && c.tokens.kind(next) == tokenClose { // its own parentheses
		first, next = first-1, next+1
	}
	switch c.tokens.kind(next) {
	case pg.Token_NUL, tokenComma, tokenClose, tokenSemicolon, pg.Token_FROM, pg.Token_WHERE, pg.Token_UNION, pg.Token_WITH:
		if name, _ := figureName(word); name != "" && at != (stretch{}) {
			return c.tokens.list[next-1].end
		}
	}
	return none // a type of more words
}
