package manifest_test

import (
	"fmt"
	"reflect"

	"github.com/pgscope/pgscope-proxy/access"
)

// fieldsOf prints the fields of a struct that are not zero; a place by its line and column.
func fieldsOf(v any) []string {
	var out []string
	value := reflect.ValueOf(v)
	for i := range value.NumField() {
		f, name := value.Field(i), value.Type().Field(i).Name
		if f.IsZero() {
			continue
		}
		switch x := f.Interface().(type) {
		case access.Place:
			out = append(out, fmt.Sprintf("@%d:%d", x.Line, x.Column))
		case access.Ref:
			kind := map[access.RefKind]string{access.Own: "own ", access.Global: "global ", access.Public: ""}[x.Kind]
			out = append(out, fmt.Sprintf("%s=%s%q", name, kind, x))
		case bool:
			out = append(out, name)
		case *access.Password:
			out = append(out, fmt.Sprintf("%s=%v", name, fieldsOf(*x)))
		case fmt.Stringer:
			out = append(out, fmt.Sprintf("%s=[%v]", name, x))
		default:
			out = append(out, name+"="+plain(f))
		}
	}
	return out
}

func plain(f reflect.Value) string {
	switch f.Kind() {
	case reflect.String:
		return fmt.Sprintf("%q", f.String())
	case reflect.Struct:
		return fmt.Sprint(fieldsOf(f.Interface()))
	case reflect.Slice:
		var all []any
		for i := range f.Len() {
			all = append(all, fieldsOf(f.Index(i).Interface()))
		}
		return fmt.Sprint(all...)
	default:
		return fmt.Sprint(f.Interface())
	}
}
