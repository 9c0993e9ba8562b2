package yamlfile

import (
	"maps"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Value is a place in a file and what stands there. What is asked of it and is not so, goes into the file's errors.
type Value struct {
	file *File
	node ast.Node
	key  *token.Token // where it is the value of a key
}

// Line returns the line that the value begins in, from 1; 0 where the file is empty.
func (v Value) Line() int {
	if p := v.position(); p != nil {
		return p.Line
	}
	return 0
}

// Place returns where the value stands: the file's name, and line and column, from 1.
func (v Value) Place() (file string, line, column int) {
	if v.file == nil {
		return "", 0, 0
	}
	if p := v.position(); p != nil {
		return v.file.name, p.Line, p.Column
	}
	return v.file.name, 0, 0
}

// position is the value's own place; that of its key where it has none.
func (v Value) position() *token.Position {
	switch n := v.node.(type) {
	case nil:
	case *ast.MappingNode: // its token is the first colon of a block, the brace of a flow
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken().Position
		}
		return n.Start.Position
	case *ast.MappingValueNode:
		return n.Key.GetToken().Position
	case *ast.NullNode: // may be made up by the parser
		if v.key == nil {
			return n.GetToken().Position
		}
	default:
		return n.GetToken().Position
	}
	if v.key != nil {
		return v.key.Position
	}
	return nil
}

// Errorf adds a mistake at the value's place.
func (v Value) Errorf(format string, args ...any) { v.file.errorf(v.position(), format, args...) }

// KeyErrorf adds a mistake at the place of the key that the value belongs to.
func (v Value) KeyErrorf(format string, args ...any) {
	if v.key == nil {
		v.Errorf(format, args...)
		return
	}
	v.file.errorf(v.key.Position, format, args...)
}

// Empty reports whether nothing stands there, as after a colon.
func (v Value) Empty() bool {
	_, null := v.node.(*ast.NullNode)
	return v.node == nil || null
}

// Text returns the scalar that stands there as it is written, without quotes; false, and an error, where it is none.
func (v Value) Text() (string, bool) {
	switch n := v.node.(type) {
	case nil, *ast.NullNode:
		v.Errorf(`a value is missing; "" is the empty one`)
		return "", false
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	default:
		v.Errorf("%s stands where one value should", kind(n))
		return "", false
	}
}

// List returns the values of a list. One value that is no list stands for a list of itself. An empty list is an error.
func (v Value) List() []Value {
	n, ok := v.node.(*ast.SequenceNode)
	if !ok {
		return []Value{v}
	}
	if len(n.Values) == 0 {
		v.Errorf("an empty list")
	}
	list := make([]Value, len(n.Values))
	for i, item := range n.Values {
		list[i] = Value{file: v.file, node: item}
	}
	return list
}

// Items returns the values of a list, which may be empty. One value that is no list is an error; the empty value is an
// empty list.
func (v Value) Items() []Value {
	if n, ok := v.node.(*ast.SequenceNode); ok {
		list := make([]Value, len(n.Values))
		for i, item := range n.Values {
			list[i] = Value{file: v.file, node: item}
		}
		return list
	}
	if !v.Empty() {
		v.Errorf("%s stands where a list should", kind(v.node))
	}
	return nil
}

// Mapping calls known[key] for each key of a mapping, in the order of the file. A key that is not known, or stands
// there twice, is an error. The empty value is an empty mapping.
func (v Value) Mapping(known map[string]func(Value)) {
	v.Entries(func(key string, value Value) {
		if read, ok := known[key]; ok {
			read(value)
			return
		}
		value.KeyErrorf(`unknown key "%s"%s`, key, Suggest(key, slices.Collect(maps.Keys(known))))
	})
}

// Entries calls entry for each key of a mapping, whatever its name, in the order of the file. A key that stands there
// twice is an error. The empty value is an empty mapping; false, and an error, where something else stands.
func (v Value) Entries(entry func(key string, value Value)) bool {
	pairs, ok := v.pairs()
	seen := make(map[string]bool, len(pairs))
	for _, n := range pairs {
		key, ok := Value{file: v.file, node: n.Key}.Text()
		if !ok {
			continue
		}
		if seen[key] {
			v.file.errorf(n.Key.GetToken().Position, `key "%s" stands here twice`, key)
			continue
		}
		seen[key] = true
		entry(key, Value{file: v.file, node: n.Value, key: n.Key.GetToken()})
	}
	return ok
}

// Keys returns the keys of a mapping; none where something else stands.
func (v Value) Keys() []string {
	var keys []string
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		pairs, _ := v.pairs()
		for _, n := range pairs {
			keys = append(keys, n.Key.GetToken().Value)
		}
	}
	return keys
}

func (v Value) pairs() ([]*ast.MappingValueNode, bool) {
	switch n := v.node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case nil, *ast.NullNode:
		return nil, true
	default:
		v.Errorf("%s stands where keys and values should", kind(n))
		return nil, false
	}
}

func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "a YAML anchor, alias or merge key, which have no use here,"
	case *ast.TagNode:
		return "a YAML tag, which has no use here,"
	default:
		return "one value"
	}
}
