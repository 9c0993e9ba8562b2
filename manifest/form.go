package manifest

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
)

// A form is what may stand in one place of a file. The reader and the JSON Schema are both made from it, so that the
// two cannot say different things.
type form[T any] struct {
	// read returns what stands there. What is wrong goes into the file's errors, and the zero value says so.
	read func(yamlfile.Value) T
	// schema describes the form. Forms that others refer to by name go into defs.
	schema func(defs map[string]any) map[string]any
}

// A key is one key of a mapping that is read into a T.
type key[T any] struct {
	name, doc string
	required  bool
	narrows   bool
	read      func(*T, yamlfile.Value)
	schema    func(defs map[string]any) map[string]any
}

// field is a key whose value has a form. Where the file has nothing after the colon, it is as if the key were not there.
func field[T, V any](name, doc string, f form[V], to func(*T) *V) key[T] {
	return key[T]{
		name: name, doc: doc, schema: f.schema,
		read: func(t *T, v yamlfile.Value) { *to(t) = f.read(v) },
	}
}

// must makes the key one that has to be there.
func (k key[T]) must() key[T] {
	k.required = true
	return k
}

// narrow makes the key one that says less where it is there than where it is not: what would be made
// of an empty one is not what was meant.
func (k key[T]) narrow() key[T] {
	k.narrows = true
	return k
}

// within makes keys of a part of T keys of T.
func within[T, U any](keys []key[U], part func(*T) *U) []key[T] {
	lifted := make([]key[T], len(keys))
	for i, k := range keys {
		lifted[i] = key[T]{
			name: k.name, doc: k.doc, required: k.required, narrows: k.narrows, schema: k.schema,
			read: func(t *T, v yamlfile.Value) { k.read(part(t), v) },
		}
	}
	return lifted
}

// located is embedded in what is read from a mapping and knows where that stands.
type located struct{ at yamlfile.Value }

func (l *located) locate(v yamlfile.Value) { l.at = v }

// object is a mapping with these keys and no others.
func object[T any](name string, keys ...key[T]) form[T] {
	index := make(map[string]key[T], len(keys))
	names := make([]string, len(keys))
	for i, k := range keys {
		index[k.name], names[i] = k, k.name
	}
	read := func(v yamlfile.Value) T {
		var t T
		if l, ok := any(&t).(interface{ locate(yamlfile.Value) }); ok {
			l.locate(v)
		}
		seen := make(map[string]bool, len(keys))
		ok := v.Entries(func(name string, value yamlfile.Value) {
			switch k, known := index[name]; {
			case !known:
				value.KeyErrorf(`unknown key "%s"%s`, name, yamlfile.Suggest(name, names))
			case !value.Empty():
				seen[name] = true
				k.read(&t, value)
			case k.narrows:
				value.KeyErrorf("nothing stands after %s", name)
			}
		})
		for _, k := range keys {
			if ok && k.required && !seen[k.name] {
				v.Errorf("%s is missing", k.name)
			}
		}
		return t
	}
	return form[T]{read, func(defs map[string]any) map[string]any { return objectSchema(defs, name, keys) }}
}

// listOf is a list, which may be empty; nil where none stands.
func listOf[T any](item form[T]) form[[]T] {
	return form[[]T]{
		read: func(v yamlfile.Value) []T {
			items := v.Items()
			if items == nil {
				return nil
			}
			list := make([]T, len(items))
			for i, v := range items {
				list[i] = item.read(v)
			}
			return list
		},
		schema: func(defs map[string]any) map[string]any {
			return map[string]any{"type": "array", "items": item.schema(defs)}
		},
	}
}

// someOf is a list that is not empty.
func someOf[T any](item form[T]) form[[]T] {
	list := listOf(item)
	return form[[]T]{
		read: func(v yamlfile.Value) []T {
			items := list.read(v)
			if items != nil && len(items) == 0 {
				v.KeyErrorf("the list is empty")
			}
			return items
		},
		schema: func(defs map[string]any) map[string]any {
			schema := list.schema(defs)
			schema["minItems"] = 1
			return schema
		},
	}
}

// named is a value under a name that the file's author chose.
type named[T any] struct {
	name  string
	at    yamlfile.Value
	value T
}

// dictOf is a mapping from names that the file's author chose.
func dictOf[T any](item form[T]) form[[]named[T]] {
	return form[[]named[T]]{
		read: func(v yamlfile.Value) []named[T] {
			var list []named[T]
			v.Entries(func(name string, value yamlfile.Value) {
				list = append(list, named[T]{name, value, item.read(value)})
			})
			return list
		},
		schema: func(defs map[string]any) map[string]any {
			return map[string]any{"type": "object", "additionalProperties": item.schema(defs)}
		},
	}
}

// ignored is anything at all: what is there for other programs.
func ignored() form[struct{}] {
	return form[struct{}]{
		read:   func(yamlfile.Value) struct{} { return struct{}{} },
		schema: func(map[string]any) map[string]any { return map[string]any{} },
	}
}

// text is a scalar and its place. The empty one is none: it was not written, or what was wrong with it has been told.
type text struct {
	s  string
	at yamlfile.Value
}

func (t text) place() access.Place { return place(t.at) }

func place(v yamlfile.Value) access.Place {
	file, line, column := v.Place()
	return access.Place{File: file, Line: line, Column: column}
}

// textOf is a text for which check has nothing to say.
func textOf(schema map[string]any, check func(string) (problem string)) form[text] {
	return form[text]{
		read: func(v yamlfile.Value) text {
			s, ok := v.Text()
			if !ok {
				return text{at: v}
			}
			if problem := check(s); problem != "" {
				v.Errorf("%s", problem)
				return text{at: v}
			}
			return text{s, v}
		},
		schema: func(map[string]any) map[string]any { return schema },
	}
}

// oneOf is one of a few words.
func oneOf(words ...string) form[text] {
	return textOf(map[string]any{"enum": words}, func(s string) string {
		if slices.Contains(words, s) {
			return ""
		}
		return `"` + s + `" is not known here` + yamlfile.Suggest(s, words)
	})
}
