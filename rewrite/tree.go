package rewrite

import (
	"iter"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// repeats reports whether a node is of a part of the text that another before it is of too: of SET (a, b) = (SELECT …) the
// tree has the query for each of the columns.
func repeats(m proto.Message) bool {
	n, ok := m.(*pg.MultiAssignRef)
	return ok && n.Colno > 1
}

// walk visits every node of a tree, a parent before its children.
func walk(m protoreflect.Message, visit func(proto.Message)) {
	if repeats(m.Interface()) {
		return
	}
	visit(m.Interface())
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		for child := range nodesOf(f, v) {
			walk(child, visit)
		}
		return true
	})
}

// nodesOf returns the nodes in a field: one, those of a list, or none where it holds something else.
func nodesOf(f protoreflect.FieldDescriptor, v protoreflect.Value) iter.Seq[protoreflect.Message] {
	return func(yield func(protoreflect.Message) bool) {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for list, i := v.List(), 0; i < list.Len() && yield(list.Get(i).Message()); i++ {
			}
		default:
			yield(v.Message())
		}
	}
}

// content returns the node that a Node envelops; nil for none.
func content(n *pg.Node) (m proto.Message) {
	if n == nil {
		return nil
	}
	n.ProtoReflect().Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		m = v.Message().Interface()
		return true
	})
	return m
}
