package scope

import "fmt"

// Claim says that a role is one of a database's own: that it is a member of the marker, as that was when the role was
// learned. It is not true of a role that was dropped, renamed, made anew elsewhere, or taken out of the marker.
type Claim struct {
	Marker, Role Cluster
	// Membership is the role's in the marker, where it is known.
	Membership Membership
}

// Membership is a role's membership in the marker, as a list of all roles tells it. It is zero where that is not known:
// only PostgreSQL 16 and later have OIDs of memberships.
type Membership struct {
	OID  uint32
	Role uint32 // the OID of the role
}

// NotOwn reports whether the SQLSTATE is one by which the statement of [Claim.SQL] says no: the marker does not have the
// role (division_by_zero), or there is none of that name (undefined_object).
func NotOwn(code string) bool { return code == "22012" || code == "42704" }

// SQL returns a statement that succeeds if the claim is true at this moment, and fails with an
// SQLSTATE of NotOwn if it is not.
func (c Claim) SQL() string {
	return "SELECT 1 OPERATOR(pg_catalog./) pg_catalog.count(*) " + c.holds()
}

// SetSQL returns a query that sets the role, as SET ROLE or SET LOCAL ROLE, if the claim is true. Where the marker does
// not have the role, the query has no row and sets none; where there is none of that name, it fails as SQL.
func (c Claim) SetSQL(local bool) string {
	return fmt.Sprintf("SELECT pg_catalog.set_config('role', %s, %t) ", c.Role.Literal(), local) + c.holds()
}

// holds is what gives a query a row if the claim is true. Names are constants, which the server looks up when it reads
// them: nothing is left of them in the plan. A membership that has an OID is there or is not, but never becomes
// another's: pg_describe_object (what it says is of no account) finds it by index, and sees what is committed, whatever
// the transaction's snapshot. Without one the table is read, which has to be planned.
func (c Claim) holds() string {
	role := QuoteLiteral(c.Role.Ident()) + "::pg_catalog.regrole"
	if m := c.Membership; m.OID != 0 {
		return fmt.Sprintf("WHERE %s OPERATOR(pg_catalog.=) %d::pg_catalog.oid "+
			"AND pg_catalog.pg_describe_object(1261::pg_catalog.oid, %d::pg_catalog.oid, 0) IS NOT NULL", role, m.Role, m.OID)
	}
	return fmt.Sprintf("FROM pg_catalog.pg_auth_members "+
		"WHERE roleid OPERATOR(pg_catalog.=) %s::pg_catalog.regrole AND member OPERATOR(pg_catalog.=) %s",
		QuoteLiteral(c.Marker.Ident()), role)
}
