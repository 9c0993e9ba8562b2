package scope_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/scope"
)

// TestClaim: a role is claimed after others have changed it, by its membership's OID, where the
// server has such, and by the table.
func TestClaim(t *testing.T) {
	c := server(t)
	a, other := connect(t, c, "a"), connect(t, c, "a_b")
	var hasOIDs bool
	if err := a.QueryRow(t.Context(), "SELECT count(*) > 0 FROM pg_attribute WHERE attrelid = 'pg_auth_members'::regclass AND attname = 'oid'").Scan(&hasOIDs); err != nil {
		t.Fatal(err)
	}
	for change, want := range map[string]bool{
		"SELECT": true,
		"GRANT pgscope_db_a TO a_x WITH ADMIN OPTION":                  true,
		"GRANT helper TO a_x":                                          true,
		"BEGIN; DROP ROLE a_x; ROLLBACK":                               true,
		"DROP ROLE a_x":                                                false,
		"DROP ROLE a_x; CREATE ROLE a_x":                               false,
		"DROP ROLE a_x; CREATE ROLE a_x IN ROLE pgscope_db_b":          false,
		"ALTER ROLE a_x RENAME TO a_z":                                 false,
		"ALTER ROLE a_x RENAME TO a_z; CREATE ROLE a_x":                false,
		"REVOKE pgscope_db_a FROM a_x":                                 false,
		"REVOKE pgscope_db_a FROM a_x; ALTER ROLE a_x SUPERUSER":       false,
		"REVOKE pgscope_db_a FROM a_x; GRANT pgscope_db_b TO a_x":      false,
		"GRANT helper TO a_x; REVOKE pgscope_db_a FROM a_x":            false,
		"DROP ROLE pgscope_db_a; CREATE ROLE pgscope_db_a ROLE helper": false,
	} {
		t.Run(change, func(t *testing.T) {
			create(t, a, "a", scope.Name{Role: "x"})
			exec(t, other, "CREATE ROLE pgscope_db_b; CREATE ROLE helper IN ROLE pgscope_db_a")
			defer exec(t, other, "DROP ROLE IF EXISTS a_x, a_z, helper, pgscope_db_a, pgscope_db_b")
			q := scope.NewDatabase(0, "a", "").Inquire()
			q.Own = true
			v := ask(t, a, q)
			byTable := scope.Claim{Marker: v.DB.Marker, Role: "a_x"}
			byOID := byTable
			for c, r := range v.Roles() {
				if c == byOID.Role {
					byOID.Membership = r.Membership
				}
			}
			if m := byOID.Membership; (m.OID != 0) != hasOIDs {
				t.Errorf("of the membership it is known: %+v", m)
			}
			exec(t, other, change)
			for _, claim := range []scope.Claim{byTable, byOID} {
				if got := holds(t, a, claim); got != want {
					t.Errorf("%+v: %t, want %t", claim, got, want)
				}
			}
		})
	}
}

// holds tells whether a claim is true; its two statements must agree.
func holds(t *testing.T, conn *pgx.Conn, claim scope.Claim) bool {
	t.Helper()
	no := func(err error) bool {
		if e := (*pgconn.PgError)(nil); errors.As(err, &e) && scope.NotOwn(e.Code) {
			return true
		} else if err != nil {
			t.Fatal(err)
		}
		return false
	}
	_, err := conn.PgConn().Exec(t.Context(), claim.SQL()).ReadAll()
	asked := !no(err)
	results, err := conn.PgConn().Exec(t.Context(), claim.SetSQL(false)+"; SELECT current_user; RESET ROLE").ReadAll()
	sets := !no(err) && string(results[1].Rows[0][0]) == string(claim.Role)
	if asked != sets {
		t.Errorf("%+v: SQL says %t, SetSQL %t", claim, asked, sets)
	}
	return asked
}
