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
	shown map[string]struct{} // the subqueries of whose rows it makes texts
	said  map[string]int      // how often it says a column, and a catalog before a column; a column without a name is all of them
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
	rows := c.wholeRows()
	return (len(rows.shown) > 0 || copied) && rows.said[list] == 0 && rows.said[n.Relname] == 0
}

func isStar(target *pg.Node) bool { return expands(target.GetResTarget().GetVal()) }

// subquery reads a query that has a name, and may have names for its columns. Of its columns texts are made if they only
// become parts of such texts: if its rows do, and nobody outside of it says one of those columns, or all.
func (c *catalogReader) subquery(name string, columns []*pg.Node, query *pg.Node) {
	c.visit(query, stretch{}, len(columns) == 0 && has(c.wholeRows().shown, name) && c.onlyInRows(query))
}

func (c *catalogReader) onlyInRows(query *pg.Node) bool {
	s := query.GetSelectStmt()
	if s == nil || s.Larg != nil || s.GroupClause != nil || s.DistinctClause != nil { // to which the type matters
		return false
	}
	for i, target := range s.TargetList {
		if t := target.GetResTarget(); c.textForm(t.GetVal()) != asItIs && sorts(s.SortClause, i+1, t) {
			return false
		}
	}
	within, rows := columnsCounted(query), c.wholeRows()
	for column, f := range c.outputs(query, nil) {
		if f != asItIs && rows.said[column] > within[column] {
			return false
		}
	}
	return rows.said[""] == within[""]
}

func (c *catalogReader) wholeRows() *wholeRows {
	if c.rows == nil {
		c.rows = wholeRowsOf(c.root)
	}
	return c.rows
}

func wholeRowsOf(stmt *pg.Node) *wholeRows {
	w := &wholeRows{shown: set(), said: columnsCounted(stmt)}
	queries, shown, renamed := set(), set(), set()
	show := func(n *pg.Node) {
		if fields := n.GetColumnRef().GetFields(); len(fields) == 1 {
			shown[fields[0].GetString_().GetSval()] = struct{}{}
		}
	}
	walk(stmt.ProtoReflect(), func(m proto.Message) {
		switch n := m.(type) {
		case *pg.CommonTableExpr:
			queries[n.Ctename] = struct{}{}
		case *pg.RangeVar:
			if len(n.Alias.GetColnames()) > 0 {
				renamed[n.Relname] = struct{}{}
			}
		case *pg.RangeSubselect:
			queries[n.Alias.GetAliasname()] = struct{}{}
		case *pg.TypeCast:
			if toText(n) {
				show(n.Arg)
			}
		case *pg.FuncCall:
			if name := funcName(n); has(textFunctions, name) || name == arrayAggregate {
				for _, a := range n.Args {
					show(a)
				}
			}
		}
	})
	for name := range shown {
		if has(queries, name) && !has(renamed, name) {
			w.shown[name] = struct{}{}
		}
	}
	return w
}

// columnsCounted tells how often a part of a statement says each column: s.column, (s).column, column(s), USING (column).
func columnsCounted(part *pg.Node) map[string]int {
	said := make(map[string]int)
	names := func(list []*pg.Node) {
		for _, n := range list {
			if s := n.GetString_(); s != nil || n.GetAStar() != nil {
				said[s.GetSval()]++
			}
		}
	}
	walk(part.ProtoReflect(), func(m proto.Message) {
		switch n := m.(type) {
		case *pg.ColumnRef:
			names(n.Fields[len(n.Fields)-1:])
			if len(n.Fields) > 2 {
				said[n.Fields[len(n.Fields)-2].GetString_().GetSval()]++
			}
		case *pg.A_Indirection:
			names(n.Indirection)
		case *pg.FuncCall:
			said[lastName(n.Funcname)]++
		case *pg.JoinExpr:
			names(n.UsingClause)
			if n.IsNatural {
				said[""]++
			}
		}
	})
	return said
}
