package rewrite

import (
	"strings"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// columnName is the name that the server gives to a column with the expression (FigureColname, parse_target.c).
func columnName(m proto.Message) string {
	if f := figureName(m); f.name != "" {
		return f.name
	}
	return "?column?"
}

// figured is a name that a column has from its expression.
type figured struct {
	name string        // empty for none
	weak bool          // it gives way to that of a cast
	node proto.Message // the part of the expression that it is of
}

func figureName(m proto.Message) figured {
	or := func(f figured, name string) figured { // unless there is a better one
		if f.name == "" || f.weak {
			return figured{name, true, m}
		}
		return f
	}
	switch n := m.(type) {
	case *pg.Node:
		return figureName(content(n))
	case *pg.ColumnRef:
		return figured{lastName(n.Fields), false, m}
	case *pg.A_Indirection:
		if name := lastName(n.Indirection); name != "" {
			return figured{name, false, m}
		}
		return figureName(n.Arg)
	case *pg.FuncCall:
		return figured{lastName(n.Funcname), false, m}
	case *pg.TypeCast:
		return or(figureName(n.Arg), lastName(n.TypeName.GetNames()))
	case *pg.CollateClause:
		return figureName(n.Arg)
	case *pg.CaseExpr:
		return or(figureName(n.Defresult), "case")
	case *pg.SubLink:
		if n.SubLinkType == pg.SubLinkType_EXPR_SUBLINK {
			return figured{firstColumn(n.Subselect.GetSelectStmt()), false, m}
		}
		return figured{wordNames[n.SubLinkType.String()], false, m}
	case *pg.A_Expr:
		return figured{wordNames[n.Kind.String()], false, m}
	case *pg.MinMaxExpr:
		return figured{wordNames[n.Op.String()], false, m}
	case *pg.XmlExpr:
		return figured{wordNames[n.Op.String()], false, m}
	case *pg.JsonFuncExpr:
		return figured{wordNames[n.Op.String()], false, m}
	case *pg.SQLValueFunction:
		word := strings.TrimSuffix(strings.TrimPrefix(n.Op.String(), "SVFOP_"), "_N")
		return figured{strings.ToLower(word), false, m}
	case nil:
		return figured{}
	default:
		return figured{wordNames[string(m.ProtoReflect().Descriptor().Name())], false, m}
	}
}

// wordNames are the names of columns that are expressions with syntax of their own, by their
// nodes or what these say of their kind.
var wordNames = map[string]string{
	"AEXPR_NULLIF": "nullif", "IS_GREATEST": "greatest", "IS_LEAST": "least", "CoalesceExpr": "coalesce",
	"EXISTS_SUBLINK": "exists", "ARRAY_SUBLINK": "array", "A_ArrayExpr": "array", "RowExpr": "row",
	"GroupingFunc": "grouping", "MergeSupportFunc": "merge_action",

	"IS_XMLCONCAT": "xmlconcat", "IS_XMLELEMENT": "xmlelement", "IS_XMLFOREST": "xmlforest", "IS_XMLPARSE": "xmlparse",
	"IS_XMLPI": "xmlpi", "IS_XMLROOT": "xmlroot", "XmlSerialize": "xmlserialize",

	"JSON_EXISTS_OP": "json_exists", "JSON_QUERY_OP": "json_query", "JSON_VALUE_OP": "json_value",
	"JsonParseExpr": "json", "JsonScalarExpr": "json_scalar", "JsonSerializeExpr": "json_serialize",
	"JsonObjectConstructor": "json_object", "JsonArrayConstructor": "json_array", "JsonArrayQueryConstructor": "json_array",
	"JsonObjectAgg": "json_objectagg", "JsonArrayAgg": "json_arrayagg",
}

// firstColumn is the name of a subquery's first column; empty where the text does not tell.
func firstColumn(n *pg.SelectStmt) string {
	for n.GetLarg() != nil {
		n = n.Larg
	}
	switch {
	case len(n.GetValuesLists()) > 0:
		return "column1"
	case len(n.GetTargetList()) == 0:
		return ""
	}
	target := n.TargetList[0].GetResTarget()
	switch {
	case target.GetName() != "":
		return target.Name
	case expands(target.GetVal()):
		return ""
	default:
		return columnName(target.GetVal())
	}
}

// lastName returns the last part of a qualified name that is one.
func lastName(names []*pg.Node) string {
	for i := len(names) - 1; i >= 0; i-- {
		if s := names[i].GetString_(); s != nil {
			return s.Sval
		}
	}
	return ""
}

// saysUser reports whether it is CURRENT_USER or its like.
func saysUser(n *pg.SQLValueFunction) bool {
	switch n.GetOp() {
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_USER, pg.SQLValueFunctionOp_SVFOP_CURRENT_ROLE,
		pg.SQLValueFunctionOp_SVFOP_SESSION_USER, pg.SQLValueFunctionOp_SVFOP_USER:
		return true
	default:
		return false
	}
}
