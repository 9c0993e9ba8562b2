package rewrite

import (
	"regexp"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
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
	set        bool                            // it holds a function that returns a set
	constant   string                          // the name that is said there, or that alone is sought in the relation; empty where it is not so plain
	reads      func(columns []string) []string // subselect: the columns that the query may read
}

// forTexts reports whether the server's own name is left where a block makes a text of it for the server:
// EXECUTE format('… OWNER TO %I', current_user).
func (r reference) forTexts() bool {
	return r.form == shortName || r.form == shortNames || r.form == shortText
}

// readCatalog finds the references of a statement. Of those that store expressions for later (views, policies, defaults,
// functions), only CURRENT_USER and its like are: docs/adr/0007-virtual-catalogs.md.
func (r *reader) readCatalog(stmt *pg.Node) {
	c := catalogReader{reader: r}
	switch n := stmt.GetNode().(type) {
	case *pg.Node_SelectStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
		c.visit(stmt, stretch{}, false)
	case *pg.Node_ExplainStmt:
		r.readCatalog(n.ExplainStmt.Query)
	case *pg.Node_PrepareStmt:
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
	if c.references == nil && storesExpressions(stmt) {
		c.stored(stmt)
	}
}

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

// catalogReader walks over a query.
type catalogReader struct {
	*reader
	ctes  [][]string     // the names of WITH queries in scope
	query *pg.SelectStmt // that is being read; nil for other statements
}

// stretch is a run of bytes of the text; the zero value is none.
type stretch struct{ start, end int }

func (c *catalogReader) refer(ref reference) { c.references = append(c.references, ref) }

// visit reads a node. Where a text is made of the value of an expression, text is where the expression stands; output is
// said of a query whose columns COPY makes texts of. Of columns that go to the client otherwise, see [Results].
func (c *catalogReader) visit(m proto.Message, text stretch, output bool) {
	switch n := m.(type) {
	case *pg.Node:
		if n == nil {
			return
		}
		n.ProtoReflect().Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			c.visit(v.Message().Interface(), text, output)
			return true
		})
		return
	case *pg.SelectStmt:
		c.with(n.WithClause, m, output)
		return
	case *pg.InsertStmt:
		c.with(n.WithClause, m, output)
		return
	case *pg.UpdateStmt:
		c.with(n.WithClause, m, output)
		return
	case *pg.DeleteStmt:
		c.with(n.WithClause, m, output)
		return
	case *pg.MergeStmt:
		c.with(n.WithClause, m, output)
		return
	case *pg.InferClause: // has to equal an index, and may hold no subquery
		return
	case *pg.RangeFunction:
		c.rangeFunction(n)
		return
	case *pg.JoinExpr:
		c.from(n.Larg)
		c.from(n.Rarg)
		c.visit(n.Quals, stretch{}, false)
		return

	case *pg.SQLValueFunction:
		switch n.Op {
		case pg.SQLValueFunctionOp_SVFOP_CURRENT_USER, pg.SQLValueFunctionOp_SVFOP_CURRENT_ROLE,
			pg.SQLValueFunctionOp_SVFOP_SESSION_USER, pg.SQLValueFunctionOp_SVFOP_USER:
			if slices.Contains(c.inRows, m) {
				return
			}
			c.wrap(shortName, c.token(n.Location), n)
		}
	case *pg.ColumnRef:
		c.column(n)
		if last := len(n.Fields) - 1; last >= 0 && has(definitionColumns, n.Fields[last].GetString_().GetSval()) {
			c.wrap(definition, c.columnRef(n), n)
		}
	case *pg.FuncCall:
		c.function(n, text)
		return
	case *pg.TypeCast:
		c.typeCast(n, text)
		return
	case *pg.A_Expr:
		if len(n.Name) == 1 && n.Name[0].GetString_().GetSval() == "||" {
			c.visit(n.Lexpr, c.node(n.Lexpr), false)
			c.visit(n.Rexpr, c.node(n.Rexpr), false)
			return
		}
	}
	if form := accessList(m); form != asItIs && text != (stretch{}) {
		c.wrap(form, text, m)
	}
	c.children(m, nil)
}

// children reads what is in a node, but for the fields that own says are read by itself.
func (c *catalogReader) children(m proto.Message, own func(field string, v protoreflect.Value) bool) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil, own != nil && own(string(f.Name()), v):
		case f.IsList():
			for list, i := v.List(), 0; i < list.Len(); i++ {
				c.visit(list.Get(i).Message().Interface(), stretch{}, false)
			}
		default:
			c.visit(v.Message().Interface(), stretch{}, false)
		}
		return true
	})
}

// with reads a statement with the names of its WITH queries in scope. Without RECURSIVE each is known only after it.
func (c *catalogReader) with(w *pg.WithClause, m proto.Message, output bool) {
	outer, around := len(c.ctes), c.query
	c.query, _ = m.(*pg.SelectStmt)
	var names []string
	for _, n := range w.GetCtes() {
		if w.Recursive {
			names = append(names, n.GetCommonTableExpr().GetCtename())
		}
	}
	c.ctes = append(c.ctes, names)
	for _, n := range w.GetCtes() {
		c.visit(n, stretch{}, false)
		c.ctes[outer] = append(c.ctes[outer], n.GetCommonTableExpr().GetCtename())
	}
	c.children(m, func(field string, v protoreflect.Value) bool {
		switch field {
		case "with_clause", "into_clause":
		case "larg", "rarg":
			c.visit(v.Message().Interface(), stretch{}, output)
		case "target_list", "returning_list":
			if _, update := m.(*pg.UpdateStmt); update && field == "target_list" || !output {
				return false
			}
			for list, i := v.List(), 0; i < list.Len(); i++ {
				c.target(list.Get(i).Message().Interface())
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
}

// target reads a column that COPY makes a text of.
func (c *catalogReader) target(m proto.Message) {
	if n, ok := m.(*pg.Node); ok && n.GetResTarget() != nil {
		value := n.GetResTarget().Val
		c.visit(value, c.node(value), false)
		return
	}
	c.visit(m, stretch{}, false)
}

// from reads an item of a FROM list.
func (c *catalogReader) from(m proto.Message) {
	if n, ok := m.(*pg.Node); ok && n.GetRangeVar() != nil {
		c.rangeVar(n.GetRangeVar())
		return
	}
	c.visit(m, stretch{}, false)
}

// rangeFunction reads a function in a FROM list: only its arguments, since a subquery in its own place would be an item
// of another kind.
func (c *catalogReader) rangeFunction(n *pg.RangeFunction) {
	for _, item := range n.Functions {
		for _, f := range item.GetList().GetItems() {
			if call := f.GetFuncCall(); call != nil {
				c.children(call, nil)
			}
		}
	}
}

// rangeVar reads a table of a FROM list.
func (c *catalogReader) rangeVar(n *pg.RangeVar) {
	name := n.Schemaname + "." + n.Relname
	if n.Schemaname == "" {
		for _, names := range c.ctes {
			if slices.Contains(names, n.Relname) {
				return
			}
		}
		name = "pg_catalog." + n.Relname // which the server searches first
	}
	if _, ok := relations[name]; !ok {
		return
	}
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
		start: t.list[first].start, end: t.list[next-1].end, form: subselect, relation: name, reads: reads(c.query, n),
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
		if e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP || len(e.Name) != 1 || e.Name[0].GetString_().GetSval() != "=" {
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

// reads tells which columns of a table a query may read: all, where it reads whole rows, or says a name that is none of the table's, which
// the server shall judge by all of them.
func reads(query *pg.SelectStmt, table *pg.RangeVar) func(columns []string) []string {
	all := len(table.Alias.GetColnames()) > 0
	if query == nil {
		return func(columns []string) []string { return columns }
	}
	named := make(map[string]struct{})
	walk(query.ProtoReflect(), func(m proto.Message) {
		switch n := m.(type) {
		case *pg.JoinExpr:
			all = all || n.IsNatural || n.UsingClause != nil
		case *pg.ColumnRef:
			last := len(n.Fields) - 1
			if last > 0 && n.Fields[last-1].GetString_().GetSval() != called(table) {
				return
			}
			name := n.Fields[last].GetString_().GetSval()
			all = all || name == "" || name == called(table)
			named[name] = struct{}{}
		}
	})
	return func(columns []string) (read []string) {
		for _, c := range columns {
			if has(named, c) {
				read = append(read, c)
			}
		}
		if all || len(read) < len(named) {
			return columns
		}
		return read
	}
}

// plainConstant returns a constant's string if it is a name that means itself however it is read; else an empty one.
func plainConstant(n *pg.Node) string {
	if text := n.GetAConst().GetSval().GetSval(); plainName.MatchString(text) && text != "public" {
		return text
	}
	return ""
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// copyRelation makes COPY of a catalog one of a query.
func (c *catalogReader) copyRelation(n *pg.CopyStmt) {
	before := len(c.references)
	c.rangeVar(n.Relation)
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

// function reads a call.
func (c *catalogReader) function(n *pg.FuncCall, text stretch) {
	name := funcName(n)
	start := c.tokens.index(c.base + int(n.Location))
	next, ok := c.names(start, name)
	if n.Location < 0 || !ok || c.tokens.kind(next) != tokenOpen { // written otherwise: SUBSTRING(x FROM 1)
		c.children(n, nil)
		return
	}
	end := c.closing(next)
	if end == none {
		c.children(n, nil)
		return
	}
	whole := stretch{c.tokens.list[start].start, end}
	args := c.arguments(next, len(n.Args))
	if args == nil || slices.ContainsFunc(n.Args, func(a *pg.Node) bool { return a.GetNamedArgExpr() != nil }) {
		c.children(n, nil)
		return
	}
	read := make([]form, len(n.Args)) // how the arguments are read
	setting := ""
	if len(n.Args) > 0 {
		setting = n.Args[0].GetAConst().GetSval().GetSval()
	}
	aboutRole := is([]byte(setting), settingRole) || is([]byte(setting), settingSession)
	users, privilege := privilegeFunctions[name]
	switch {
	case has(definitionFunctions, name):
		c.wrap(definition, whole, n)
	case slices.Contains(c.inRows, proto.Message(n)):
	case resultFunctions[name] != asItIs && len(n.Args) <= 1:
		c.wrap(resultFunctions[name], whole, n)
	case name == "current_setting" && aboutRole:
		c.wrap(shortText, whole, n)
	case name == "set_config" && aboutRole && len(n.Args) == 3:
		c.wrap(shortText, whole, n)
		read[1] = clusterText
		kind := policy.SetRole
		if is([]byte(setting), settingSession) {
			kind = policy.SetSessionAuth
		}
		c.want(want{kind: kind})
	case privilege && len(n.Args) == users:
		read[0] = clusterOID
	case name == "pg_has_role" && len(n.Args) == 2:
		read[0] = clusterMember
	case name == "pg_has_role" && len(n.Args) == 3:
		read[0], read[1] = clusterMember, clusterMember
	case name == "to_regrole" && len(n.Args) == 1:
		read[0] = clusterRegroleSoft
		if text != (stretch{}) {
			c.wrap(regroleText, whole, n)
		}
	case name == "regrole" && len(n.Args) == 1:
		read[0] = clusterRegrole
		if text != (stretch{}) {
			c.wrap(regroleText, whole, n)
		}
	}
	joins := name == "array_to_string" || has(textFunctions, name)
	if form := accessList(n); form == aclSet && text != (stretch{}) {
		joins = true // unnest: of texts
	} else if form != asItIs && text != (stretch{}) {
		c.wrap(form, text, n)
	}
	if name == "to_regrole" && read[0] != asItIs { // what stands in for the argument does its work
		c.refer(reference{start: whole.start, end: c.tokens.list[next].start, form: fixed})
	}
	for i, a := range n.Args {
		if read[i] != asItIs && c.say(a, args[i], read[i], name) {
			continue
		}
		within := stretch{}
		if joins {
			within = args[i]
		}
		c.visit(a, within, false)
	}
	c.children(n, func(field string, _ protoreflect.Value) bool { return field == "args" })
}

// say reads an expression that names a role, and calls what stands in for it as. It reports whether nothing is left to read in it.
func (c *catalogReader) say(n *pg.Node, where stretch, f form, as string) bool {
	switch v := n.GetNode().(type) {
	case *pg.Node_SqlvalueFunction:
		if f == clusterOID || f == clusterMember || f == clusterText { // the server's own name for it is right
			return true
		}
	case *pg.Node_AConst:
		if v.AConst.GetSval() == nil { // an OID, or NULL
			return true
		}
	case *pg.Node_ColumnRef:
		fields := v.ColumnRef.Fields
		if f != clusterText && len(fields) > 0 && has(oidColumns, fields[len(fields)-1].GetString_().GetSval()) {
			return false
		}
	}
	ref := reference{start: where.start, end: where.end, form: f, as: as, constant: plainConstant(n)}
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

// typeCast reads a cast: one to regrole reads a name, one to a text writes it.
func (c *catalogReader) typeCast(n *pg.TypeCast, text stretch) {
	var typ string
	if names := n.TypeName.GetNames(); len(names) > 0 {
		typ = names[len(names)-1].GetString_().GetSval()
	}
	array := len(n.TypeName.GetArrayBounds()) > 0
	whole, operand := c.cast(n)
	switch {
	case operand == (stretch{}):
		c.visit(n.Arg, stretch{}, false)
	case typ == "regrole" && !array:
		if text != (stretch{}) {
			c.wrap(regroleText, whole, n)
		}
		if n.Location < 0 { // regrole 'x'
			c.refer(reference{start: whole.start, end: operand.start, form: fixed})
		}
		if !c.say(n.Arg, operand, clusterRegrole, columnName(n)) {
			c.visit(n.Arg, stretch{}, false)
		}
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

// wrap shows the expression of a node, which stands at the given place, in another form.
func (c *catalogReader) wrap(f form, where stretch, n proto.Message) {
	if where == (stretch{}) {
		return
	}
	c.refer(reference{start: where.start, end: where.end, form: f, as: columnName(n), set: containsSet(n)})
}

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
		if last := len(n.Fields) - 1; last >= 0 && has(aclColumns, n.Fields[last].GetString_().GetSval()) {
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
		if names := n.TypeName.GetNames(); len(names) > 0 && names[len(names)-1].GetString_().GetSval() == "aclitem" {
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

// columnName is the name that the server gives to a column with the expression (FigureColname, parse_target.c).
func columnName(m proto.Message) string {
	if name, _ := figureName(m); name != "" {
		return name
	}
	return "?column?"
}

// figureName returns the name and how much it is worth: 2 for a good one, 1 for one of a type, 0 for none.
func figureName(m proto.Message) (name string, strength int) {
	last := func(names []*pg.Node) string {
		for i := len(names) - 1; i >= 0; i-- {
			if s := names[i].GetString_(); s != nil {
				return s.Sval
			}
		}
		return ""
	}
	switch n := m.(type) {
	case *pg.Node:
		if n == nil {
			return "", 0
		}
		n.ProtoReflect().Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			name, strength = figureName(v.Message().Interface())
			return true
		})
		return name, strength
	case *pg.ColumnRef:
		return last(n.Fields), 2
	case *pg.A_Indirection:
		if name := last(n.Indirection); name != "" {
			return name, 2
		}
		return figureName(n.Arg)
	case *pg.FuncCall:
		return last(n.Funcname), 2
	case *pg.TypeCast:
		if name, strength = figureName(n.Arg); strength <= 1 && n.TypeName != nil {
			return last(n.TypeName.Names), 1
		}
		return name, strength
	case *pg.CaseExpr:
		if name, strength = figureName(n.Defresult); strength <= 1 {
			return "case", 1
		}
		return name, strength
	case *pg.CoalesceExpr:
		return "coalesce", 2
	case *pg.SQLValueFunction:
		switch n.Op {
		case pg.SQLValueFunctionOp_SVFOP_CURRENT_ROLE:
			return "current_role", 2
		case pg.SQLValueFunctionOp_SVFOP_CURRENT_USER:
			return "current_user", 2
		case pg.SQLValueFunctionOp_SVFOP_USER:
			return "user", 2
		case pg.SQLValueFunctionOp_SVFOP_SESSION_USER:
			return "session_user", 2
		}
	}
	return "", 0
}
