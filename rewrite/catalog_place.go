package rewrite

import (
	"math"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// The tree says where an expression begins, or where its operator is, and never where it ends. This file finds the
// places in the tokens.

// token returns the place of the token at a location of the tree.
func (c *catalogReader) token(location int32) stretch {
	i := c.tokens.index(c.base + int(location))
	if location < 0 || i >= len(c.tokens.list) {
		return stretch{}
	}
	return stretch{c.tokens.list[i].start, c.tokens.list[i].end}
}

// names steps over a qualified name from token i on, the last part of which is want, and returns the token after it.
func (c *catalogReader) names(i int, want string) (next int, ok bool) {
	for {
		s, after, err := c.tokens.name(i)
		if err != nil {
			return i, false
		}
		if c.tokens.kind(after) != tokenDot {
			return after, sameName(string(s.name), want)
		}
		i = after + 1
	}
}

// closing returns the byte after the parenthesis or bracket that closes the one at token i; none where it is none.
func (c *catalogReader) closing(i int) int {
	if j := c.tokens.closingToken(i); j != none {
		return c.tokens.list[j].end
	}
	return none
}

// argumentPlaces returns the places of n arguments between the parenthesis at token open and the one that closes it; nil
// where there are not so many, or key words among them that are no part of them.
func (c *catalogReader) argumentPlaces(open, n int) []stretch {
	list := make([]stretch, 0, n)
	closing := c.tokens.closingToken(open)
	if closing == none || n == 0 {
		return list
	}
	add := func(from, to int) {
		switch c.tokens.kind(from) {
		case pg.Token_DISTINCT, pg.Token_ALL, pg.Token_VARIADIC:
			from++
		}
		if from < to {
			list = append(list, stretch{c.tokens.list[from].start, c.tokens.list[to-1].end})
		}
	}
	depth, start := 0, open+1
	end := closing
	for i := open + 1; i < closing; i++ {
		depth += c.tokens.nesting(i)
		switch k := c.tokens.kind(i); {
		case depth > 0:
		case k == tokenComma:
			add(start, i)
			start = i + 1
		case k == pg.Token_ORDER:
			end, i = i, closing // ORDER BY in an aggregate
		}
	}
	add(start, end)
	if len(list) != n {
		return nil
	}
	return list
}

// cast returns the places of a cast, and of what is cast.
func (c *catalogReader) cast(n *pg.TypeCast) (whole, operand stretch) {
	t := c.tokens
	typeAt := t.index(c.base + int(n.TypeName.GetLocation()))
	if n.TypeName.GetLocation() < 0 || typeAt >= len(t.list) {
		return stretch{}, stretch{}
	}
	at := t.index(c.base + int(n.Location))
	switch {
	case n.Location < 0: // regrole 'x'
		if a := n.Arg.GetAConst(); a != nil && a.Location > n.TypeName.Location {
			operand = c.token(a.Location)
			return stretch{t.list[typeAt].start, operand.end}, operand
		}
	case t.kind(at) == pg.Token_CAST:
		if end := c.closing(at + 1); end != none && typeAt-1 > at+2 {
			return stretch{t.list[at].start, end}, stretch{t.list[at+2].start, t.list[typeAt-2].end}
		}
	case t.kind(at) == pg.Token_TYPECAST:
		first := c.leftmost(n.Arg, at)
		if first == none {
			break
		}
		end := c.typeEnd(typeAt)
		return stretch{t.list[first].start, t.list[end-1].end}, stretch{t.list[first].start, t.list[at-1].end}
	}
	return stretch{}, stretch{}
}

// typeEnd returns the token after the simple type name at token i.
func (c *catalogReader) typeEnd(i int) int {
	for {
		_, next, err := c.tokens.name(i)
		if err != nil {
			return i + 1
		}
		i = next
		if c.tokens.kind(i) != tokenDot {
			break
		}
		i++
	}
	if c.tokens.kind(i) == pg.Token_ARRAY {
		i++
	}
	for end := c.tokens.closingToken(i); end != none; end = c.tokens.closingToken(i) { // varchar(10)[]
		i = end + 1
	}
	return i
}

// leftmost returns the token that an expression begins with that ends before token end: the leftmost of its nodes, and
// the parentheses that enclose it.
func (c *catalogReader) leftmost(n proto.Message, end int) int {
	location := leftmost(n)
	if location == math.MaxInt32 {
		return none
	}
	first := c.tokens.index(c.base + int(location))
	depth, open := 0, 0
	for i := first; i < end; i++ {
		depth += c.tokens.nesting(i)
		open = min(open, depth)
	}
	for ; open < 0; open++ {
		first--
		if c.tokens.kind(first) != tokenOpen {
			return none
		}
	}
	return first
}

// leftmost returns the least location in a tree, math.MaxInt32 where it has none.
func leftmost(m proto.Message) int32 {
	least := int32(math.MaxInt32)
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Name() == "location" && f.Kind() == protoreflect.Int32Kind {
			if l := int32(v.Int()); l >= 0 { //nolint:gosec // it is one
				least = min(least, l)
			}
		}
		for child := range nodesOf(f, v) {
			least = min(least, leftmost(child.Interface()))
		}
		return true
	})
	return least
}

// columnRef returns the place of a column's name with its qualifiers.
func (c *catalogReader) columnRef(n *pg.ColumnRef) stretch {
	first := c.tokens.index(c.base + int(n.Location))
	last := first
	for range n.Fields {
		_, next, err := c.tokens.name(last)
		if err != nil {
			return stretch{}
		}
		if c.tokens.kind(next) != tokenDot {
			return stretch{c.tokens.list[first].start, c.tokens.list[next-1].end}
		}
		last = next + 1
	}
	return stretch{}
}

// node returns the place of an expression that may be an access list or a regrole; none for others.
func (c *catalogReader) node(n *pg.Node) stretch {
	t := c.tokens
	from := func(location int32) int { return t.index(c.base + int(location)) }
	place := func(first, next int) stretch {
		if first == none || next <= first || next > len(t.list) {
			return stretch{}
		}
		return stretch{t.list[first].start, t.list[next-1].end}
	}
	switch v := n.GetNode().(type) {
	case *pg.Node_ColumnRef:
		return c.columnRef(v.ColumnRef)
	case *pg.Node_FuncCall:
		next, ok := c.names(from(v.FuncCall.Location), funcName(v.FuncCall))
		if ok && t.kind(next) == tokenOpen && v.FuncCall.AggFilter == nil && v.FuncCall.Over == nil { // which stand behind it
			return place(from(v.FuncCall.Location), t.closingToken(next)+1)
		}
	case *pg.Node_AArrayExpr:
		if first := from(v.AArrayExpr.Location); t.kind(first) == pg.Token_ARRAY {
			return place(first, t.closingToken(first+1)+1)
		}
	case *pg.Node_CoalesceExpr:
		return place(from(v.CoalesceExpr.Location), t.closingToken(from(v.CoalesceExpr.Location)+1)+1)
	case *pg.Node_CaseExpr:
		return place(from(v.CaseExpr.Location), t.closingToken(from(v.CaseExpr.Location))+1)
	case *pg.Node_MinMaxExpr:
		return place(from(v.MinMaxExpr.Location), t.closingToken(from(v.MinMaxExpr.Location)+1)+1)
	case *pg.Node_SubLink:
		if first := from(v.SubLink.Location); t.kind(first) == pg.Token_ARRAY {
			return place(first, t.closingToken(first+1)+1)
		} else if t.kind(first) == tokenOpen {
			return place(first, t.closingToken(first)+1)
		}
	case *pg.Node_TypeCast:
		whole, _ := c.cast(v.TypeCast)
		return whole
	case *pg.Node_AIndirection:
		inner := c.node(v.AIndirection.Arg)
		if inner == (stretch{}) || len(v.AIndirection.Indirection) != 1 {
			return stretch{}
		}
		next := t.index(inner.end)
		first := t.index(inner.start)
		for t.kind(next) == tokenClose && t.kind(first-1) == tokenOpen {
			first, next = first-1, next+1
		}
		return place(first, t.closingToken(next)+1)
	}
	return stretch{}
}
