package reconcile

import (
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
)

// selects reports whether the selector means the object, one of those of its kind in its schema.
func selects(on access.Selector, o *Object, all []*Object) bool {
	switch {
	case on.Pattern != "":
		return access.Like(on.Pattern, o.Name)
	case o.Kind == access.Routine:
		return selectsRoutine(on.Name, o, all)
	default:
		return on.Name == o.Name
	}
}

// selectsRoutine reports whether a name with types of arguments means the routine. Without them it does where it is the
// only one of that name.
func selectsRoutine(name string, o *Object, all []*Object) bool {
	if name == o.Name {
		return !slices.ContainsFunc(all, func(other *Object) bool { return other != o && other.Name == name })
	}
	types, ok := strings.CutPrefix(name, o.Name+"(")
	types, closed := strings.CutSuffix(types, ")")
	if !ok || !closed {
		return false
	}
	return slices.EqualFunc(arguments(types), arguments(o.Args), func(want, have string) bool {
		return want == have || want == strings.TrimPrefix(have, o.Schema+".")
	})
}

// arguments splits a list of types and brings them to the form of format_type.
func arguments(list string) []string {
	if strings.TrimSpace(list) == "" {
		return nil
	}
	var types []string
	depth, quoted, start := 0, false, 0
	for i, c := range list {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			types = append(types, canonicalType(list[start:i]))
			start = i + 1
		}
	}
	return append(types, canonicalType(list[start:]))
}

// typeNames are other names for types, as the server's own grammar has them (src/backend/parser/gram.y, GenericType to
// ConstInterval; format_type_extended gives what they stand for).
var typeNames = map[string]string{
	"int": "integer", "int4": "integer", "int2": "smallint", "int8": "bigint", "float4": "real", "float8": "double precision",
	"float": "double precision", "bool": "boolean", "decimal": "numeric", "dec": "numeric", "varchar": "character varying",
	"char varying": "character varying", "char": "character", "bpchar": "character", "varbit": "bit varying",
	"timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone",
	"time": "time without time zone", "timetz": "time with time zone",
}

// canonicalType brings a type to the form of format_type without its modifier.
func canonicalType(t string) string {
	t = strings.TrimSpace(t)
	if strings.Contains(t, `"`) {
		return t
	}
	t = strings.ToLower(strings.Join(strings.Fields(t), " "))
	t = strings.TrimPrefix(t, "pg_catalog.")
	array := ""
	for strings.HasSuffix(t, "[]") {
		t, array = strings.TrimSpace(strings.TrimSuffix(t, "[]")), "[]"
	}
	if open, end := strings.IndexByte(t, '('), strings.IndexByte(t, ')'); open > 0 && end > open { // numeric(10,2)
		t = strings.TrimSpace(t[:open]) + t[end+1:]
	}
	if name, ok := typeNames[t]; ok {
		t = name
	}
	return t + array
}
