package rewrite

import (
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
	before, err := pg.Parse(sql)
	if err != nil {
		return // DBONLY, or a version's own syntax
	}
	after, err := pg.Parse(res.SQL)
	if err != nil {
		tb.Errorf("the text that is sent does not parse: %v\n%s\n%s", err, sql, res.SQL)
		return
	}
	if len(res.Refusals) > 0 {
		if len(before.Stmts) != len(after.Stmts) {
			tb.Errorf("%d statements became %d:\n%s\n%s", len(before.Stmts), len(after.Stmts), sql, res.SQL)
		}
		return
	}
	blankRoles(before.ProtoReflect())
	blankRoles(after.ProtoReflect())
	if !proto.Equal(before, after) {
		tb.Errorf("the text that is sent means something else:\n%s\n%s", sql, res.SQL)
	}
}

// blankRoles takes from a tree what splicing may change: locations and the names of roles.
func blankRoles(m protoreflect.Message) {
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
	case *pg.VariableSetStmt:
		if roleSetting(n.Name) {
			n.Args = nil
		}
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() == protoreflect.Int32Kind && strings.HasSuffix(string(f.Name()), "location"), f.Name() == "stmt_len":
			m.Clear(f)
		case f.Message() == nil:
		case f.IsList():
			for list, i := v.List(), 0; i < list.Len(); i++ {
				blankRoles(list.Get(i).Message())
			}
		default:
			blankRoles(v.Message())
		}
		return true
	})
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

// namesRole is the prefilter's oracle: whether the tree of a text names a role or changes a scope, found in a way of its own.
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
