package rewrite

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// from reads an item of a FROM list.
func (c *catalogReader) from(m proto.Message) {
	if n, ok := m.(*pg.Node); ok && n.GetRangeVar() != nil {
		c.rangeVar(n.GetRangeVar())
		return
	}
	if n, ok := m.(*pg.Node); ok && n.GetRangeTableSample() != nil && c.sampled(n.GetRangeTableSample()) {
		return
	}
	c.visit(m, stretch{}, false)
}

// sampled reads a table that is sampled, if it is one of the catalogs: the clause goes into what stands in for it.
func (c *catalogReader) sampled(n *pg.RangeTableSample) bool {
	before := len(c.references)
	c.rangeVar(n.Relation.GetRangeVar())
	method := c.tokens.index(c.base + int(n.Location))
	open, ok := c.names(method, lastName(n.Method))
	end := c.closing(open)
	if len(c.references) == before || !ok || end == none {
		c.references = c.references[:before]
		return false
	}
	if next := c.tokens.index(end); c.tokens.kind(next) == pg.Token_REPEATABLE {
		end = c.closing(next + 1)
	}
	clause := stretch{c.tokens.list[method-1].start, end}
	c.references[len(c.references)-1].sample = " " + c.tokens.sql[clause.start:clause.end]
	c.refer(reference{start: clause.start, end: clause.end, form: fixed})
	return true
}

// rangeFunction reads functions in a FROM list. What stands in for a call there is the column of a subselect.
func (c *catalogReader) rangeFunction(n *pg.RangeFunction) {
	for _, item := range n.Functions {
		for _, f := range item.GetList().GetItems() {
			switch called := f.GetFuncCall(); {
			case called != nil && !isKnown(called):
				c.function(called, stretch{})
			case c.selected(n, f):
				c.visit(f, stretch{}, false)
			case called != nil: // which has to stand there: what it returns stays as it is
				c.callInPlace(called)
			}
		}
	}
}

// callInPlace reads a call for which no subselect may stand in, so that only its arguments can be mapped.
func (c *catalogReader) callInPlace(n *pg.FuncCall) {
	at, ok := c.written(n)
	resolved := c.setConfig(n, at, roomInArguments)
	if !ok {
		c.children(n, nil)
		return
	}
	c.arguments(n, at, resolved, false)
}

// selected makes a function of a FROM list the column of a subselect. It does not if more than its value is asked
// for, or where it stands is not known.
func (c *catalogReader) selected(n *pg.RangeFunction, f *pg.Node) bool {
	var where stretch
	lead := "(SELECT "
	if called := f.GetFuncCall(); called != nil {
		if at, ok := c.written(called); ok {
			where = at.whole
		}
		if !n.Lateral && len(called.Args) > 0 { // as functions are without the word
			lead = "LATERAL " + lead
		}
	} else if word := f.GetSqlvalueFunction(); saysUser(word) {
		where = c.token(word.Location)
	}
	if n.IsRowsfrom || n.Ordinality || n.Coldeflist != nil || where == (stretch{}) {
		return false
	}
	name := columnName(f)
	behind := ")"
	if n.Alias == nil {
		behind += " AS " + scope.QuoteIdent(name)
	} else {
		name = n.Alias.Aliasname
	}
	c.refer(reference{start: where.start, end: where.start, form: fixed, as: lead})
	c.refer(reference{start: where.end, end: where.end, form: fixed, as: " AS " + scope.QuoteIdent(name) + behind})
	return true
}

// isQuery reports whether a name is that of a WITH query in scope.
func (c *catalogReader) isQuery(name string) bool {
	return slices.ContainsFunc(c.ctes, func(names map[string]struct{}) bool { return has(names, name) })
}

// rangeVar reads a table of a FROM list.
func (c *catalogReader) rangeVar(n *pg.RangeVar) {
	name := catalogName(n)
	if _, known := relations[name]; (known || c.rowsBecomeTexts(n)) && (n.Schemaname != "" || !c.isQuery(n.Relname)) {
		c.catalog(n, name)
	}
}

// catalogName is the name of a table with its schema.
func catalogName(n *pg.RangeVar) string {
	if n.Schemaname == "" {
		return "pg_catalog." + n.Relname // which the server searches first
	}
	return n.Schemaname + "." + n.Relname
}

// catalog lets a subselect stand in for a catalog.
func (c *catalogReader) catalog(n *pg.RangeVar, name string) {
	t := c.tokens
	first := t.index(c.base + int(n.Location))
	next, ok := c.names(first, n.Relname)
	if !ok {
		return
	}
	switch {
	case n.Inh && t.kind(next) == tokenStar:
		next++
	case !n.Inh && t.kind(first-1) == tokenOpen && t.kind(first-2) == pg.Token_ONLY:
		first, next = first-2, next+1
	case !n.Inh:
		first--
	}
	ref := reference{
		start: t.list[first].start, end: t.list[next-1].end, form: subselect, relation: name, reads: c.reads(n, name),
	}
	if n.Alias == nil {
		ref.as = n.Relname
	}
	if t.kind(first-1) == pg.Token_TABLE {
		command := t.list[first-1]
		c.refer(reference{start: command.start, end: command.end, form: fixed, as: "SELECT * FROM"})
	}
	c.refer(ref)
}

// seek notes of a list of roles which name alone the query seeks in it: WHERE rolname = 'reader'.
func seek(query *pg.SelectStmt, table *pg.RangeVar, ref *reference) {
	if table == nil || ref.form != subselect || len(table.Alias.GetColnames()) > 0 {
		return
	}
	rel := relations[ref.relation]
	if len(rel.roles) != 1 || rel.roles[0].name == "" || rel.roles[0].oid == "" {
		return
	}
	conditions := []*pg.Node{query.WhereClause}
	if and := query.WhereClause.GetBoolExpr(); and != nil && and.Boolop == pg.BoolExprType_AND_EXPR {
		conditions = and.Args
	}
	for _, condition := range conditions {
		e := condition.GetAExpr()
		if e.GetKind() != pg.A_Expr_Kind_AEXPR_OP || ownName(e.GetName()) != "=" {
			continue
		}
		fields, constant := e.Lexpr.GetColumnRef().GetFields(), plainConstant(e.Rexpr)
		if fields == nil {
			fields, constant = e.Rexpr.GetColumnRef().GetFields(), plainConstant(e.Lexpr)
		}
		last := len(fields) - 1
		if last < 0 || fields[last].GetString_().GetSval() != rel.roles[0].name {
			continue
		}
		if last == 0 && len(query.FromClause) == 1 || last == 1 && fields[0].GetString_().GetSval() == called(table) {
			ref.constant = constant
		}
	}
}

// called is what a query calls a table.
func called(table *pg.RangeVar) string {
	if table.Alias != nil {
		return table.Alias.Aliasname
	}
	return table.Relname
}

// systemColumns are those that a table has beside its own, and a `*` does not show.
var systemColumns = []string{"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}

// reads tells which columns of a table a query may read: all, where it reads whole rows, or says a name that is none of
// the table's, which the server shall judge by all of them; of a table's system columns those that it says.
func (c *catalogReader) reads(table *pg.RangeVar, relation string) func(columns []string) []string {
	all := func(columns []string) []string { return columns }
	if c.query == nil || len(table.Alias.GetColnames()) > 0 {
		return all
	}
	said, ok := c.said[c.query]
	if !ok {
		said = columnsSaid(c.query)
		c.said[c.query] = said
	}
	own, free := said.of[called(table)], said.of[""]
	if said.joined || has(own, "") || has(free, "") || has(own, called(table)) || has(free, called(table)) {
		return all
	}
	named := len(free)
	for name := range own {
		if !has(free, name) {
			named++
		}
	}
	unsaid := func(name string) bool { return !has(own, name) && !has(free, name) }
	var system []string
	if isTable(relation) {
		system = slices.DeleteFunc(slices.Clone(systemColumns), unsaid)
	}
	return func(columns []string) []string {
		if read := slices.DeleteFunc(slices.Clone(columns), unsaid); len(read)+len(system) >= named {
			columns = read
		}
		return slices.Concat(columns, system)
	}
}

// said are the columns that a query names.
type said struct {
	joined bool                           // by NATURAL or USING too, which name them in all tables
	of     map[string]map[string]struct{} // by table, empty where none is said; a column without a name is all of them
}

func columnsSaid(query *pg.SelectStmt) said {
	s := said{of: make(map[string]map[string]struct{})}
	walk(query.ProtoReflect(), func(m proto.Message) {
		switch n := m.(type) {
		case *pg.JoinExpr:
			s.joined = s.joined || n.IsNatural || n.UsingClause != nil
		case *pg.ColumnRef:
			last, table := len(n.Fields)-1, ""
			if last > 0 {
				table = n.Fields[last-1].GetString_().GetSval()
			}
			if s.of[table] == nil {
				s.of[table] = set()
			}
			s.of[table][n.Fields[last].GetString_().GetSval()] = struct{}{}
		}
	})
	return s
}

// copyRelation makes COPY of a catalog one of a query.
func (c *catalogReader) copyRelation(n *pg.CopyStmt) {
	before := len(c.references)
	name := catalogName(n.Relation)
	if isTable(name) {
		c.catalog(n.Relation, name)
	}
	if len(c.references) == before {
		return
	}
	table := c.references[before]
	next := c.tokens.index(table.end)
	list, end := "*", table.end
	if len(n.Attlist) > 0 {
		if end = c.closing(next); end == none {
			c.references = c.references[:before]
			return
		}
		open := c.tokens.list[next]
		list = c.tokens.sql[open.end : end-1]
		c.refer(reference{start: open.start, end: end, form: fixed})
	}
	c.refer(reference{start: end, end: end, form: fixed, as: ")"})
	c.references = slices.Insert(c.references, before,
		reference{start: table.start, end: table.start, form: fixed, as: "(SELECT " + list + " FROM "})
}

// column takes the schema from a column's qualified name, as the subselect that is its table now has none.
func (c *catalogReader) column(n *pg.ColumnRef) {
	for i := 0; i+1 < len(n.Fields); i++ {
		schema, table := n.Fields[i].GetString_().GetSval(), n.Fields[i+1].GetString_().GetSval()
		if _, ok := relations[schema+"."+table]; !ok || schema == "" {
			continue
		}
		first := c.tokens.index(c.base + int(n.Location))
		last := first + 2*i + 2 // the table
		if s, _, err := c.tokens.name(last); err == nil && string(s.name) == table {
			c.refer(reference{start: c.tokens.list[first].start, end: s.start, form: fixed})
		}
		return
	}
}
