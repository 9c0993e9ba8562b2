package scope

import "fmt"

// CodeNotOwn is the SQLSTATE (division_by_zero) by which the statement of [Database.ClaimSQL] says no.
const CodeNotOwn = "22012"

// ClaimSQL returns a statement that succeeds if, at this moment, the role is one of the database's own, and fails with
// CodeNotOwn if it is not: dropped, renamed, made anew elsewhere, taken out of the marker. It takes the marker for
// what it was when the role was learned. pg_auth_members may have a row for each grantor (from PostgreSQL 16 on). Where the server reads all
// of it, since it expects few rows, it looks the marker up once, and the role for each member of it.
func (d Database) ClaimSQL(c Cluster) string {
	return fmt.Sprintf("SELECT 1 OPERATOR(pg_catalog./) pg_catalog.count(*) FROM pg_catalog.pg_auth_members "+
		"WHERE roleid OPERATOR(pg_catalog.=) (SELECT pg_catalog.to_regrole(%s)::pg_catalog.oid) "+
		"AND member OPERATOR(pg_catalog.=) pg_catalog.to_regrole(%s)::pg_catalog.oid",
		QuoteLiteral(d.Marker.Ident()), QuoteLiteral(c.Ident()))
}
