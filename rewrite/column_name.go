package rewrite

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"
)

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
