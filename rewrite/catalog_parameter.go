package rewrite

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// Parameters are those of a statement that the client declares as OIDs, or as regroles, or as arrays of these: the first
// 64 of them, the first in the lowest bit. Such a parameter names no role by its text.
type Parameters uint64

// oidTypes are the types of them (src/include/catalog/pg_type.dat), and by which names PREPARE has them here.
var oidTypes = map[string][2]uint32{
	"oid": {26, 1028}, "regrole": {typeRegrole, typeRegroles}, "int8": {20, 1016}, "int4": {23, 1007}, "int2": {21, 1005},
}

// DeclaredOIDs tells them by the types that a Parse declares.
func DeclaredOIDs(types []uint32) (p Parameters) {
	for i, typ := range types {
		for _, known := range oidTypes {
			if typ == known[0] || typ == known[1] {
				p |= 1 << i
			}
		}
	}
	return p
}

// declaredOIDs tells them by those of a PREPARE.
func declaredOIDs(types []*pg.Node) (p Parameters) {
	for i, typ := range types {
		name, _ := typeOf(typ.GetTypeName())
		if _, ok := oidTypes[name]; ok {
			p |= 1 << i
		}
	}
	return p
}

// takesOIDs reports whether a parameter is one of them.
func (c *catalogReader) takesOIDs(n *pg.ParamRef) bool {
	return n.Number > 0 && c.OIDs&(1<<(n.Number-1)) != 0
}
