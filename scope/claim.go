package scope

import "fmt"

// NotOwn reports whether the SQLSTATE is one by which the statement of [Database.ClaimSQL] says no: the marker does not have the role
// (division_by_zero), or there is none of that name (undefined_object).
func NotOwn(code string) bool { return code == "22012" || code == "42704" }

// ClaimSQL returns a statement that succeeds if, at this moment, the role is one of the database's own, and fails with
// an SQLSTATE of NotOwn if it is not: dropped, renamed, made anew elsewhere, taken out of the marker. It takes the marker for
// what it was when the role was learned. pg_auth_members may have a row for each grantor (from PostgreSQL 16 on). The names are
// constants, which the server looks up when it reads them: nothing is left of them in the plan.
func (d Database) ClaimSQL(c Cluster) string {
	return fmt.Sprintf("SELECT 1 OPERATOR(pg_catalog./) pg_catalog.count(*) FROM pg_catalog.pg_auth_members "+
		"WHERE roleid OPERATOR(pg_catalog.=) %s::pg_catalog.regrole AND member OPERATOR(pg_catalog.=) %s::pg_catalog.regrole",
		QuoteLiteral(d.Marker.Ident()), QuoteLiteral(c.Ident()))
}
