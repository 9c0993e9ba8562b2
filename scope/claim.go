package scope

import "fmt"

// NotOwn reports whether the SQLSTATE is one by which the statement of [Database.ClaimSQL] says no: the marker does not have the role
// (division_by_zero), or there is none of that name (undefined_object).
func NotOwn(code string) bool { return code == "22012" || code == "42704" }

// ClaimSQL returns a statement that succeeds if, at this moment, the role is one of the database's own, and fails with
// an SQLSTATE of NotOwn if it is not: dropped, renamed, made anew elsewhere, taken out of the marker. It takes the marker for
// what it was when the role was learned.
func (d Database) ClaimSQL(c Cluster) string {
	return "SELECT 1 OPERATOR(pg_catalog./) pg_catalog.count(*) " + d.holds(c)
}

// ClaimedSQL returns a query that sets the role, as SET ROLE or SET LOCAL ROLE, if it is one of the database's own. Where the marker does
// not have it, the query has no row and sets none; where there is none of that name, it fails as ClaimSQL.
func (d Database) ClaimedSQL(c Cluster, local bool) string {
	return fmt.Sprintf("SELECT pg_catalog.set_config('role', %s, %t) ", c.Literal(), local) + d.holds(c)
}

// holds is what a query reads that has a row if the marker has the role; from PostgreSQL 16 on, one for each grantor. The names are
// constants, which the server looks up when it reads them: nothing is left of them in the plan.
func (d Database) holds(c Cluster) string {
	return fmt.Sprintf("FROM pg_catalog.pg_auth_members "+
		"WHERE roleid OPERATOR(pg_catalog.=) %s::pg_catalog.regrole AND member OPERATOR(pg_catalog.=) %s::pg_catalog.regrole",
		QuoteLiteral(d.Marker.Ident()), QuoteLiteral(c.Ident()))
}
