package scope_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgscope/pgscope-proxy/scope"
)

// known reads all roles of the cluster, and the OID of the session's database.
func known(t *testing.T, conn *pgx.Conn) (oid uint32, all []scope.Known) {
	t.Helper()
	const sql = `SELECT json_agg(json_build_object('Name', rolname, 'Comment', shobj_description(oid, 'pg_authid'),
  'In', (SELECT json_agg(roleid::regrole::name) FROM pg_auth_members WHERE member = r.oid))) FROM pg_roles r`
	var text []byte
	if err := conn.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if err := conn.QueryRow(t.Context(), `SELECT oid FROM pg_database WHERE datname = current_database()`).Scan(&oid); err != nil {
		t.Fatal(err)
	}
	return oid, all
}

// meanings are what a view says of names, and of the database.
func meanings(v *scope.View, names []scope.Short) (list []string) {
	list = append(list, fmt.Sprint(v.DB.Name, v.DB.OID, v.DB.Prefix, v.DB.Marker, v.DB.Enrolled, v.DB.Contested))
	for _, n := range names {
		for _, resolve := range []func(scope.Short) (scope.Cluster, scope.Home, *scope.Error){v.ResolveOwn, v.ResolvePlain} {
			c, home, err := resolve(n)
			list = append(list, fmt.Sprint(n, ": ", c, home, err))
		}
		c, err := v.Create(n)
		list = append(list, fmt.Sprint(n, " made: ", c, err))
	}
	for c, r := range v.Roles() {
		list = append(list, fmt.Sprint(c, " is ", r.Name))
	}
	slices.Sort(list)
	return list
}

// TestDerive: what follows from all roles of the cluster is what the server answers, or the server is to be asked.
func TestDerive(t *testing.T) {
	c := server(t)
	a, ab := connect(t, c, "a"), connect(t, c, "a_b")
	short := []scope.Short{"x", "b_c", "c", "a_x", "dba", "a_dba", "postgres", "pg_monitor", "pgscope_db_a", "none"}
	names := make([]scope.Name, len(short))
	for i, s := range short {
		names[i] = scope.Name{Role: s}
	}
	compare := func(step string, conn *pgx.Conn, database string, want bool) {
		t.Helper()
		exec(t, conn, "SET search_path TO ''")
		db := scope.NewDatabase(0, database, "")
		for _, own := range []bool{false, true} {
			q := db.Inquire(names...)
			q.Own = own
			for _, s := range short {
				q.Ask(scope.Cluster(s))
			}
			oid, all := known(t, conn)
			v, ok, err := q.Derive(oid, all, "")
			if err != nil || ok != want {
				t.Fatalf("%s: %t, %v", step, ok, err)
			}
			if !ok {
				continue
			}
			if diff := cmp.Diff(meanings(ask(t, conn, q), short), meanings(v, short)); diff != "" {
				t.Errorf("%s (-asked +derived):\n%s", step, diff)
			}
		}
	}
	compare("nothing yet", a, "a", true)
	create(t, a, "a", scope.Name{Role: "x"}, scope.Name{Role: "b_x"})
	create(t, ab, "a_b", scope.Name{Role: "c"}, scope.Name{Role: "x_y"})
	exec(t, a, `CREATE ROLE dba; CREATE ROLE a_dba; CREATE ROLE c; GRANT pgscope_db_a TO dba WITH ADMIN OPTION; GRANT c TO a_x; CREATE ROLE hand IN ROLE pgscope_db_a;
CREATE ROLE pgscope_db_other; COMMENT ON ROLE pgscope_db_other IS 'nobody''s'; COMMENT ON ROLE dba IS 'a person'`)
	compare("roles", a, "a", true)
	compare("roles of the other", ab, "a_b", true)

	exec(t, a, `CREATE SCHEMA s`)
	create(t, a, "a", scope.Name{Schema: "s", Role: "x"})
	compare("a schema has roles", a, "a", false)
	compare("another database's schema has", ab, "a_b", true)
	q := scope.NewDatabase(0, "a_b", "").Inquire(scope.Name{Schema: "s", Role: "x"})
	oid, all := known(t, ab)
	if _, ok, err := q.Derive(oid, all, ""); ok || err != nil {
		t.Errorf("a schema is in question: %t, %v", ok, err)
	}
	exec(t, a, `COMMENT ON ROLE pgscope_db_a_b IS '{"oid":1,"database":"a_b","prefix":"a_b","version":1}'`)
	compare("a comment with another OID", ab, "a_b", false)
}
