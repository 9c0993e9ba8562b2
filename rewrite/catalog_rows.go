package rewrite

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Of an access list that a query says, its text tells what becomes of it. Where a subquery has it by *, and the rows of that
// become JSON, as introspections do it, nobody says it:
//
//	WITH classes AS (SELECT * FROM pg_class WHERE …) SELECT json_agg(row_to_json(classes)) FROM classes
//
// The catalog's list is a text[] then, of which the same JSON is made, or by COPY the same text.

// wholeRows is what a statement does with rows of its subqueries.
type wholeRows struct {
	texts bool                // it makes texts of them
	said  map[string]struct{} // the access lists that it says, and the catalogs that it says with their schema before a column
}

// rowsBecomeTexts reports whether a table of a FROM list is a catalog whose access list only becomes a part of such a text.
func (c *catalogReader) rowsBecomeTexts(n *pg.RangeVar) bool {
	list, ok := aclColumnOf[n.Relname]
	if !ok || n.Schemaname != "" && n.Schemaname != "pg_catalog" || c.query == nil || !slices.ContainsFunc(c.query.TargetList, isStar) {
		return false
	}
	copied := c.root.GetCopyStmt() != nil
	if len(c.ctes) < 2 && !copied {
		return false
	}
	if c.rows == nil {
		c.rows = wholeRowsOf(c.root)
	}
	return (c.rows.texts || copied) && !has(c.rows.said, list) && !has(c.rows.said, n.Relname)
}

func isStar(target *pg.Node) bool { return expands(target.GetResTarget().GetVal()) }

func wholeRowsOf(stmt *pg.Node) *wholeRows {
	w := &wholeRows{said: set()}
	queries, shown := set(), set()
	walk(stmt.ProtoReflect(), func(m proto.Message) {
		switch n := m.(type) {
		case *pg.CommonTableExpr:
			queries[n.Ctename] = struct{}{}
		case *pg.RangeSubselect:
			queries[n.Alias.GetAliasname()] = struct{}{}
		case *pg.FuncCall:
			if has(textFunctions, funcName(n)) {
				for _, a := range n.Args {
					if fields := a.GetColumnRef().GetFields(); len(fields) == 1 {
						shown[fields[0].GetString_().GetSval()] = struct{}{}
					}
				}
			}
		case *pg.ColumnRef:
			w.said[columnField(n)] = struct{}{}
			if len(n.Fields) > 2 {
				w.said[n.Fields[len(n.Fields)-2].GetString_().GetSval()] = struct{}{}
			}
		}
	})
	for name := range shown {
		w.texts = w.texts || has(queries, name)
	}
	return w
}
