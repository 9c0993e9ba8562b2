package rewrite

import (
	"maps"
	"strconv"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// derived is what the columns of a FROM list's item are shown as, as far as the text tells what they come from.
type derived struct {
	name    string
	columns map[string]form
	whole   bool // all of its columns with a form are among these: it is a subquery, or a function
}

// derivedForm is textForm of a column, where it is known to be a subquery's, or a function's in a FROM list.
func (c *catalogReader) derivedForm(n *pg.ColumnRef) (f form, known bool) {
	column, table := columnField(n), ""
	switch len(n.Fields) {
	case 1:
	case 2:
		table = n.Fields[0].GetString_().GetSval()
	default:
		return asItIs, false
	}
	for i := len(c.items) - 1; i >= 0; i-- {
		whole := true
		for _, item := range c.items[i] {
			f, known = item.columns[column]
			if table == "" && known || table != "" && table == item.name {
				return f, known
			}
			whole = whole && item.whole
		}
		if table == "" && !whole { // it may be a table's there
			return asItIs, false
		}
	}
	return asItIs, false
}

// derive tells what the items of a FROM list are, beside others. Those before an item are in scope in it, where it is LATERAL.
func (c *catalogReader) derive(from []*pg.Node, others ...derived) {
	c.items = append(c.items, others)
	for _, n := range from {
		c.deriveItem(n)
	}
}

func (c *catalogReader) deriveItem(n *pg.Node) {
	var d derived
	switch v := n.GetNode().(type) {
	case *pg.Node_JoinExpr:
		c.deriveJoin(v.JoinExpr)
		return
	case *pg.Node_RangeSubselect:
		d = derived{v.RangeSubselect.Alias.GetAliasname(), c.outputs(v.RangeSubselect.Subquery, v.RangeSubselect.Alias.GetColnames()), true}
	case *pg.Node_RangeVar:
		d.name = called(v.RangeVar)
		if query := c.queryCalled(v.RangeVar); query != nil && len(v.RangeVar.Alias.GetColnames()) == 0 {
			d.columns, d.whole = query, true
		}
	case *pg.Node_RangeFunction:
		d = c.deriveFunction(v.RangeFunction)
	}
	last := len(c.items) - 1
	c.items[last] = append(c.items[last], d)
}

// deriveJoin tells what a join's sides are, and what it is itself where it has an alias. Its condition sees both.
func (c *catalogReader) deriveJoin(n *pg.JoinExpr) {
	last := len(c.items) - 1
	first := len(c.items[last])
	c.deriveItem(n.Larg)
	c.deriveItem(n.Rarg)
	if n.Alias == nil {
		return
	}
	d := derived{name: n.Alias.Aliasname, whole: len(n.Alias.Colnames) == 0}
	if d.whole { // else which of them the names are, is not known
		d.columns = make(map[string]form)
		for _, item := range c.items[last][first:] {
			maps.Copy(d.columns, item.columns)
			d.whole = d.whole && item.whole
		}
	}
	c.items[last] = append(c.items[last], d)
}

// deriveFunction tells what a function returns in a FROM list: its alias is a column's name, too.
func (c *catalogReader) deriveFunction(n *pg.RangeFunction) derived {
	call := n.Functions[0].GetList().GetItems()[0].GetFuncCall()
	d := derived{name: n.Alias.GetAliasname(), whole: len(n.Functions) == 1}
	if call == nil || !d.whole {
		return d
	}
	if d.name == "" {
		d.name = funcName(call)
	}
	column := d.name
	if names := n.Alias.GetColnames(); len(names) > 0 {
		column = names[0].GetString_().GetSval()
	}
	d.columns = map[string]form{column: c.rowForm(call)}
	return d
}

// rowForm is textForm of what a row has of a value: of a set, an item.
func (c *catalogReader) rowForm(m proto.Message) form {
	f := c.textForm(m)
	if f == aclSet {
		return aclText
	}
	return f
}

// queryCalled returns the outputs of the WITH query of which a table's name is; nil where it is none's, or not known.
func (c *catalogReader) queryCalled(n *pg.RangeVar) map[string]form {
	for i := len(c.queries) - 1; i >= 0 && n.Schemaname == ""; i-- {
		if columns, ok := c.queries[i][n.Relname]; ok {
			return columns
		}
	}
	return nil
}

// outputs tells what the columns of a subquery are, by their names; names are those that its alias gives to the first
// ones, the same each time.
func (c *catalogReader) outputs(query *pg.Node, names []*pg.Node) map[string]form {
	s := query.GetSelectStmt()
	if known, ok := c.known[s]; ok {
		return known
	}
	outer, around := len(c.items), len(c.queries)
	c.enterQueries(s.GetWithClause())
	for _, n := range s.GetWithClause().GetCtes() {
		c.learnQuery(n.GetCommonTableExpr())
	}
	list, counted := c.outputList(s)
	columns := make(map[string]form)
	for i, o := range list {
		if i < len(names) {
			if i >= counted {
				break // which of them the names are, is not known
			}
			o.name = names[i].GetString_().GetSval()
		}
		columns[o.name] = o.form
	}
	c.items, c.queries = c.items[:outer], c.queries[:around]
	c.known[query.GetSelectStmt()] = columns
	return columns
}

// output is a column of a subquery. One without a type gets it from what it is united with.
type output struct {
	name    string
	form    form
	untyped bool
}

// or is the column of two queries that are united, or of two rows.
func (o output) or(other output) output {
	if o.untyped {
		o.form, o.untyped = other.form, other.untyped
	}
	return o
}

// outputList tells what the columns of a query are, in order as far as they are counted: not from a `*` on.
func (c *catalogReader) outputList(s *pg.SelectStmt) (list []output, counted int) {
	if s.GetLarg() != nil {
		list, counted = c.outputList(s.Larg)
		right, n := c.outputList(s.Rarg)
		for i := range min(counted, n) {
			list[i] = list[i].or(right[i])
		}
		return list, counted
	}
	outer := len(c.items)
	c.derive(s.GetFromClause())
	for at, row := range s.GetValuesLists() {
		for i, n := range row.GetList().GetItems() {
			o := output{"column" + strconv.Itoa(i+1), c.rowForm(n), n.GetAConst() != nil}
			if at == 0 {
				list = append(list, o)
			} else if i < len(list) {
				list[i] = list[i].or(o)
			}
		}
	}
	counted = -1
	for _, target := range s.GetTargetList() {
		t := target.GetResTarget()
		if !expands(t.GetVal()) {
			name := t.GetName()
			if name == "" {
				name = columnName(t.GetVal())
			}
			list = append(list, output{name, c.rowForm(t.GetVal()), t.GetVal().GetAConst() != nil})
			continue
		}
		if counted < 0 {
			counted = len(list)
		}
		for _, item := range c.items[outer] {
			for name, f := range item.columns {
				list = append(list, output{name: name, form: f})
			}
		}
	}
	c.items = c.items[:outer]
	if counted < 0 {
		counted = len(list)
	}
	return list, counted
}

// enterQueries begins a level of WITH queries. Those that are RECURSIVE are in scope before it is known what they are.
func (c *catalogReader) enterQueries(w *pg.WithClause) {
	level := make(map[string]map[string]form)
	for _, n := range w.GetCtes() {
		if w.GetRecursive() {
			level[n.GetCommonTableExpr().GetCtename()] = nil
		}
	}
	c.queries = append(c.queries, level)
}

// learnQuery notes what a WITH query's columns are.
func (c *catalogReader) learnQuery(n *pg.CommonTableExpr) {
	c.queries[len(c.queries)-1][n.Ctename] = c.outputs(n.Ctequery, n.Aliascolnames)
}
