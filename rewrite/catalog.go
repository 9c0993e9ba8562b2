package rewrite

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// reference is a place where a query reads or says a role's name by means of SQL: a relation of the catalogs, a function,
// a cast. What stands there on the server instead depends on the database: see [lens].
type reference struct {
	start, end int // bytes of the text
	form       form
	as         string                          // subselect: the alias that it needs; fixed: the text; else the name of the result's column
	relation   string                          // subselect: which
	cast       string                          // what gives a parameter the type that it would have had
	bound      bool                            // it cannot stand in a subquery
	shown      bool                            // it is a name as catalogs show it, which means the same under every search_path
	constant   string                          // the name that is said there, or that alone is sought in the relation; empty where it is not so plain
	sample     string                          // subselect: the TABLESAMPLE clause behind it
	reads      func(columns []string) []string // subselect: the columns that the query may read
}

// forTexts reports whether the server's own name is left where a block makes a text of it for the server:
// EXECUTE format('… OWNER TO %I', current_user).
func (r reference) forTexts() bool {
	return r.form == shortName || r.form == shortNames || r.form == shortText
}

// readCatalog finds the references of a statement. Of those that store expressions for later (views, policies, defaults,
// functions), and where no subquery may stand, only CURRENT_USER and its like are: docs/adr/0007-virtual-catalogs.md.
func (r *reader) readCatalog(stmt *pg.Node) {
	c := catalogReader{
		reader: r, root: stmt, said: make(map[*pg.SelectStmt]said),
		known: make(map[*pg.SelectStmt]map[string]form), forms: make(map[valueIn]form),
	}
	switch n := stmt.GetNode().(type) {
	case *pg.Node_SelectStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		c.visit(stmt, stretch{}, r.raised)
	case *pg.Node_ExplainStmt:
		r.readCatalog(n.ExplainStmt.Query)
	case *pg.Node_PrepareStmt:
		r.OIDs = declaredOIDs(n.PrepareStmt.Argtypes)
		r.readCatalog(n.PrepareStmt.Query)
	case *pg.Node_DeclareCursorStmt:
		r.readCatalog(n.DeclareCursorStmt.Query)
	case *pg.Node_CreateTableAsStmt:
		if n.CreateTableAsStmt.Objtype == pg.ObjectType_OBJECT_TABLE {
			r.readCatalog(n.CreateTableAsStmt.Query)
		}
	case *pg.Node_CopyStmt:
		if n.CopyStmt.Query != nil {
			c.visit(n.CopyStmt.Query, stretch{}, true)
		} else if !n.CopyStmt.IsFrom {
			c.copyRelation(n.CopyStmt)
		}
	}
	if c.references == nil && (storesExpressions(stmt) || takesNoSubquery(stmt)) {
		c.stored(stmt)
	}
}

// catalogReader walks over a query.
type catalogReader struct {
	*reader
	ctes  []map[string]struct{} // the names of WITH queries in scope
	query *pg.SelectStmt        // that is being read; nil for other statements
	said  map[*pg.SelectStmt]said
	items [][]derived // in the FROM lists of the queries in scope
	// queries are the outputs of the WITH queries in scope, known those of subqueries.
	queries []map[string]map[string]form
	known   map[*pg.SelectStmt]map[string]form
	forms   map[valueIn]form // that textForm has told
	root    *pg.Node         // the statement
	rows    *wholeRows
}

func (c *catalogReader) refer(ref reference) { c.references = append(c.references, ref) }

// visit reads a node. Where a text is made of the value of an expression, text is where the expression stands; output is
// said of a query whose columns COPY makes texts of. Of columns that go to the client otherwise, see [Results].
func (c *catalogReader) visit(m proto.Message, text stretch, output bool) {
	if repeats(m) || c.clause(m, text, output) || c.expression(m, text) {
		return
	}
	if form := c.textForm(m); form != asItIs && text != (stretch{}) {
		c.wrap(form, text, m)
	}
	c.children(m, nil)
}

// clause reads a node that is a query, or a part of one that is no expression. It returns false for other nodes.
func (c *catalogReader) clause(m proto.Message, text stretch, output bool) bool {
	switch n := m.(type) {
	case *pg.Node:
		if inner := content(n); inner != nil {
			c.visit(inner, text, output)
		}
	case *pg.SelectStmt:
		c.with(n.WithClause, m, output)
	case *pg.InsertStmt:
		c.with(n.WithClause, m, output)
	case *pg.UpdateStmt:
		c.with(n.WithClause, m, output)
	case *pg.DeleteStmt:
		c.with(n.WithClause, m, output)
	case *pg.MergeStmt:
		c.with(n.WithClause, m, output)
	case *pg.ResTarget:
		c.resultColumn(n)
	case *pg.InferClause, *pg.JsonBehavior: // have to equal an index, or to be nearly constant, and may hold no subquery
	case *pg.JsonArrayQueryConstructor:
		c.visit(n.Query, stretch{}, true)
	case *pg.RangeFunction:
		c.rangeFunction(n)
	case *pg.RangeSubselect:
		c.subquery(n.Alias.GetAliasname(), n.Alias.GetColnames(), n.Subquery)
	case *pg.CommonTableExpr:
		c.subquery(n.Ctename, n.Aliascolnames, n.Ctequery)
	case *pg.JoinExpr:
		c.from(n.Larg)
		c.from(n.Rarg)
		c.visit(n.Quals, stretch{}, false)
	default:
		return false
	}
	return true
}

// expression reads a node that may say a role's name by itself. It returns false where what is
// in the node is still to be read.
func (c *catalogReader) expression(m proto.Message, text stretch) bool {
	switch n := m.(type) {
	case *pg.SQLValueFunction:
		if c.inRows[m] {
			return true
		}
		if saysUser(n) {
			c.wrap(shortName, c.token(n.Location), n)
		}
	case *pg.ColumnRef:
		c.column(n)
		if has(definitionColumns, columnField(n)) {
			c.wrap(definition, c.columnRef(n), n)
		}
	case *pg.FuncCall:
		c.function(n, text)
		return true
	case *pg.TypeCast:
		c.typeCast(n, text)
		return true
	case *pg.A_Expr:
		if isConcat(n) && c.textForm(n) == asItIs {
			c.texts(n.Lexpr, n.Rexpr)
			return true
		}
	case *pg.A_ArrayExpr:
		other := func(n *pg.Node) bool { return c.textForm(n) != regroleText }
		if text != (stretch{}) && !slices.ContainsFunc(n.Elements, other) {
			c.textsWithin(c.base+int(n.Location), pg.Token_ARRAY, n.Elements)
			return true
		}
	case *pg.XmlExpr, *pg.JsonKeyValue, *pg.JsonValueExpr, *pg.JsonScalarExpr:
		m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			for child := range nodesOf(f, v) {
				c.value(child.Interface())
			}
			return true
		})
		return true
	case *pg.RowExpr:
		if text != (stretch{}) {
			c.textsWithin(c.base+int(n.Location), pg.Token_ROW, n.Args)
			return true
		}
	}
	return false
}

// texts reads expressions of whose values texts are made.
func (c *catalogReader) texts(list ...*pg.Node) {
	for _, n := range list {
		c.value(n)
	}
}

// textsWithin is texts of a list in parentheses or brackets, before which a word may stand.
func (c *catalogReader) textsWithin(at int, word pg.Token, list []*pg.Node) {
	open := c.tokens.index(at)
	if c.tokens.kind(open) == word {
		open++
	}
	places := c.argumentPlaces(open, len(list))
	if len(places) < len(list) {
		c.texts(list...)
		return
	}
	for i, n := range list {
		c.visit(n, places[i], false)
	}
}

// columnField returns the name of the column that n refers to; empty for all of a table's.
func columnField(n *pg.ColumnRef) string {
	if len(n.GetFields()) == 0 {
		return ""
	}
	return n.Fields[len(n.Fields)-1].GetString_().GetSval()
}

// children reads what is in a node, but for the fields that own says are read by itself.
func (c *catalogReader) children(m proto.Message, own func(field string, v protoreflect.Value) bool) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil || own != nil && own(string(f.Name()), v) {
			return true
		}
		for child := range nodesOf(f, v) {
			c.visit(child.Interface(), stretch{}, false)
		}
		return true
	})
}

// with reads a statement with the names of its WITH queries in scope. Without RECURSIVE each is known only after it.
func (c *catalogReader) with(w *pg.WithClause, m proto.Message, output bool) {
	outer, around := len(c.ctes), c.query
	items, queries := len(c.items), len(c.queries)
	c.query, _ = m.(*pg.SelectStmt)
	names := set()
	for _, n := range w.GetCtes() {
		if w.Recursive {
			names[n.GetCommonTableExpr().GetCtename()] = struct{}{}
		}
	}
	c.ctes = append(c.ctes, names)
	c.enterQueries(w)
	for _, n := range w.GetCtes() {
		c.visit(n, stretch{}, false)
		names[n.GetCommonTableExpr().GetCtename()] = struct{}{}
		c.learnQuery(n.GetCommonTableExpr())
	}
	switch s := m.(type) {
	case *pg.SelectStmt:
		c.derive(s.FromClause)
	case *pg.UpdateStmt:
		c.derive(s.FromClause, derived{}) // beside its table
	case *pg.DeleteStmt:
		c.derive(s.UsingClause, derived{})
	case *pg.MergeStmt:
		c.derive([]*pg.Node{s.SourceRelation}, derived{})
	default:
		c.derive(nil, derived{})
	}
	c.children(m, func(field string, v protoreflect.Value) bool {
		switch field {
		case "with_clause", "into_clause":
		case "larg", "rarg":
			c.visit(v.Message().Interface(), stretch{}, output)
		case "values_lists":
			if !output {
				return false
			}
			for _, row := range c.query.GetValuesLists() {
				c.texts(row.GetList().GetItems()...)
			}
		case "target_list", "returning_list":
			if _, update := m.(*pg.UpdateStmt); update && field == "target_list" || !output {
				return false
			}
			for list, i := v.List(), 0; i < list.Len(); i++ {
				c.value(list.Get(i).Message().Interface())
			}
		case "from_clause", "using_clause":
			for list, i := v.List(), 0; i < list.Len(); i++ {
				before := len(c.references)
				c.from(list.Get(i).Message().Interface())
				if c.query != nil && len(c.references) > before {
					seek(c.query, c.query.FromClause[i].GetRangeVar(), &c.references[len(c.references)-1])
				}
			}
		case "source_relation":
			c.from(v.Message().Interface())
		default:
			return false
		}
		return true
	})
	c.ctes, c.query = c.ctes[:outer], around
	c.items, c.queries = c.items[:items], c.queries[:queries]
}

// resultColumn reads a column of a result. One without a name keeps the one that it has where what says it stays outside of
// subqueries, which would have it.
func (c *catalogReader) resultColumn(n *pg.ResTarget) {
	before := len(c.references)
	c.children(n, nil)
	stays := func(ref reference) bool { return ref.bound }
	if n.Name == "" && n.Val != nil && slices.ContainsFunc(c.references[before:], stays) {
		if name := columnName(n.Val); name != "?column?" {
			end := c.columnEnd(n)
			c.refer(reference{start: end, end: end, form: fixed, as: " AS " + scope.QuoteIdent(name)})
		}
	}
}

// value reads what a text is made of: a column that COPY writes, a part of XML or JSON, maybe with a name.
func (c *catalogReader) value(m proto.Message) {
	n, _ := m.(*pg.Node)
	if column := n.GetResTarget(); column != nil {
		n, m = column.Val, column.Val
	}
	c.visit(m, c.node(n), false)
}

// wrap shows the expression of a node, which stands at the given place, in another form.
func (c *catalogReader) wrap(f form, where stretch, n proto.Message) {
	ref := reference{start: where.start, end: where.end, form: f, as: columnName(n), bound: bound(n)}
	if where != (stretch{}) && (!ref.bound || slices.Contains(boundForms, f)) {
		c.refer(ref)
	}
}
