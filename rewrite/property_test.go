package rewrite

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// checkTree holds the invariant of splicing: the text that is sent parses to the client's own tree, but for the names
// of roles. Texts with refused statements, with the marker, with a schema's name or DBONLY taken out differ by more.
func checkTree(tb testing.TB, sql string, res *Result, o Options) {
	tb.Helper()
	client, sent := asRead(sql, o), asRead(res.SQL, o)
	if a, err := Analyze(sql, o); err == nil && a != nil && a.ReadsCatalog() {
		// What stands in for a reference is another tree: that it means the same, the server says in the integration tests.
		_, before := pg.Parse(client)
		if _, err := pg.Parse(sent); err != nil && before == nil {
			tb.Errorf("the text that is sent does not parse: %v\n%s\n%s", err, sql, res.SQL)
		}
		return
	}
	before, err := pg.Parse(client)
	if err != nil {
		return // DBONLY, or a version's own syntax
	}
	after, err := pg.Parse(sent)
	if err != nil {
		tb.Errorf("the text that is sent does not parse: %v\n%s\n%s", err, sql, res.SQL)
		return
	}
	if len(res.Refusals) > 0 {
		if res.SQL != RefusalSQL(0) && len(before.Stmts) != len(after.Stmts) {
			tb.Errorf("%d statements became %d:\n%s\n%s", len(before.Stmts), len(after.Stmts), sql, res.SQL)
		}
		return
	}
	blankRoles(before.ProtoReflect(), o)
	blankRoles(after.ProtoReflect(), o)
	if !proto.Equal(before, after) {
		tb.Errorf("the text that is sent means something else:\n%s\n%s", sql, res.SQL)
	}
}

// asRead is a text as the parser can read it.
func asRead(sql string, o Options) string {
	s, err := readable(sql, o)
	if err != nil {
		return sql
	}
	return s.text
}

// blankRoles takes from a tree what splicing may change: locations and the names of roles.
func blankRoles(m protoreflect.Message, o Options) {
	switch n := m.Interface().(type) {
	case *pg.RoleSpec:
		n.Rolename, n.Location = "", 0
	case *pg.CreateRoleStmt:
		n.Role = ""
		n.Options = withoutMarker(n.Options)
	case *pg.RenameStmt:
		if n.RenameType == pg.ObjectType_OBJECT_ROLE {
			n.Subname, n.Newname = "", ""
		}
	case *pg.GrantRoleStmt:
		for _, g := range n.GrantedRoles {
			g.GetAccessPriv().PrivName = ""
		}
	case *pg.CreateSchemaStmt:
		if n.Authrole != nil {
			n.Schemaname = ""
		}
	case *pg.CommentStmt:
		if n.Objtype == pg.ObjectType_OBJECT_ROLE {
			n.Object = nil
		}
	case *pg.SecLabelStmt:
		if n.Objtype == pg.ObjectType_OBJECT_ROLE {
			n.Object = nil
		}
	case *pg.CreatedbStmt:
		for _, d := range options(n.Options, "owner") {
			d.Arg = nil
		}
	case *pg.FuncCall:
		if funcName(n) == "set_config" {
			n.Args = nil
		}
	case *pg.VariableSetStmt:
		if roleSetting(n.Name) || n.Name == settingPath {
			n.Args = nil
		}
		if n.Name == settingPath && n.Kind == pg.VariableSetKind_VAR_SET_DEFAULT { // the default, spelled out
			n.Kind = pg.VariableSetKind_VAR_SET_VALUE
		}
	case *pg.DoStmt:
		for _, d := range options(n.Args, "as") {
			d.Arg = blankBlock(d.Arg.GetString_().GetSval(), o)
		}
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Kind() == protoreflect.Int32Kind && strings.HasSuffix(string(f.Name()), "location") || f.Name() == "stmt_len" {
			m.Clear(f)
		}
		for child := range nodesOf(f, v) {
			blankRoles(child, o)
		}
		return true
	})
}

// blankBlock is a PL/pgSQL block with the trees of its SQL instead of its text.
func blankBlock(text string, o Options) *pg.Node {
	var b strings.Builder
	for _, tree := range blockTrees(text, o) {
		blankRoles(tree.ProtoReflect(), o)
		bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(tree)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "%x;", bytes)
	}
	return pg.MakeStrNode(b.String())
}

// blockTrees are the trees of the SQL in a PL/pgSQL block.
func blockTrees(text string, o Options) (trees []*pg.ParseResult) {
	if l, ok := standardStrings(text); !o.StandardStrings && ok && l != nil {
		text = l.text
	}
	list, err := scan(text)
	if err != nil {
		return nil
	}
	parts, err := fragments(tokens{text, list})
	if err != nil {
		return nil
	}
	for _, f := range parts {
		p, err := parseFragment(f, o.reading())
		if err != nil {
			continue
		}
		if f.kind == sqlExecuted {
			trees = append(trees, templateTrees(p, o)...)
			text, _ := constant(p.tree.Stmts[0].Stmt.GetSelectStmt().GetTargetList()[0].GetResTarget().GetVal())
			if text != "" {
				if tree, err := pg.Parse(asRead(text, o)); err == nil {
					trees = append(trees, tree)
				}
				continue
			}
		}
		trees = append(trees, p.tree)
	}
	return trees
}

// templateTrees are the trees of the SQL in a text that is put together, whose constants are
// taken from the tree of the expression.
func templateTrees(p piece, o Options) []*pg.ParseResult {
	column := p.tree.Stmts[0].Stmt.GetSelectStmt().GetTargetList()[0].GetResTarget()
	text, _ := p.tokens.template(column.GetVal(), p.base)
	if text == nil {
		return nil
	}
	if parts := operands(column.Val); len(parts) > 1 {
		column.Val = pg.MakeListNode(slices.DeleteFunc(parts, func(n *pg.Node) bool { return n.GetAConst().GetSval() != nil }))
	} else {
		column.Val.GetFuncCall().Args[0] = pg.MakeStrNode("")
	}
	tree, err := pg.Parse(asRead(text[len(text)-1].text, o))
	if err != nil {
		return nil
	}
	return []*pg.ParseResult{tree}
}

// withoutMarker takes the marker's membership from the options of CREATE ROLE.
func withoutMarker(list []*pg.Node) (kept []*pg.Node) {
	for _, n := range list {
		if d := n.GetDefElem(); d.GetDefname() == "addroleto" {
			l := d.Arg.GetList()
			if len(l.Items) > 0 && strings.HasPrefix(l.Items[0].GetRoleSpec().GetRolename(), scope.Reserved) {
				l.Items = l.Items[1:]
			}
			if len(l.Items) == 0 {
				continue
			}
		}
		kept = append(kept, n)
	}
	return kept
}

// namesRole is the prefilter's oracle: whether the tree of a text names a role or changes a
// scope, found in a way of its own.
func namesRole(tree *pg.ParseResult) (found bool) {
	walk(tree.ProtoReflect(), func(m proto.Message) {
		switch n := m.(type) {
		case *pg.RoleSpec:
			found = found || n.Roletype == pg.RoleSpecType_ROLESPEC_CSTRING
		case *pg.CreateRoleStmt, *pg.GrantRoleStmt:
			found = true
		case *pg.DropdbStmt, *pg.CreatedbStmt:
			found = true
		case *pg.DropStmt:
			found = found || n.RemoveType == pg.ObjectType_OBJECT_SCHEMA
		case *pg.RenameStmt:
			found = found || slices.Contains([]pg.ObjectType{
				pg.ObjectType_OBJECT_ROLE, pg.ObjectType_OBJECT_DATABASE, pg.ObjectType_OBJECT_SCHEMA,
			}, n.RenameType)
		case *pg.CommentStmt:
			found = found || n.Objtype == pg.ObjectType_OBJECT_ROLE
		case *pg.SecLabelStmt:
			found = found || n.Objtype == pg.ObjectType_OBJECT_ROLE
		case *pg.VariableSetStmt:
			found = found || roleSetting(n.Name) && n.Kind == pg.VariableSetKind_VAR_SET_VALUE
		}
	})
	return found
}
