package scope_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// server is a cluster with databases a and a_b.
func server(t *testing.T) *pgtest.Cluster {
	t.Helper()
	c := pgtest.Start(t, pgtest.Options{})
	for _, name := range []string{"a", "a_b"} {
		c.CreateDatabase(t, name)
	}
	return c
}

func connect(t *testing.T, c *pgtest.Cluster, database string, settings ...string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DSN(append([]string{"dbname=" + database}, settings...)...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ask puts an inquiry to the server in a session, as the proxy does.
func ask(t *testing.T, conn *pgx.Conn, q scope.Inquiry) *scope.View {
	t.Helper()
	sql, params := q.SQL()
	values := make([][]byte, len(params))
	for i, p := range params {
		values[i] = []byte(p)
	}
	result := conn.PgConn().ExecParams(t.Context(), sql, values, nil, nil, nil).Read()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	rows := make([][]string, len(result.Rows))
	for i, r := range result.Rows {
		for _, v := range r {
			rows[i] = append(rows[i], string(v))
		}
	}
	v, err := q.Answer(rows, "")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// look asks until the view can tell what the names mean.
func look(t *testing.T, conn *pgx.Conn, db scope.Database, names ...scope.Name) *scope.View {
	t.Helper()
	for range 3 {
		v := ask(t, conn, db.Inquire(names...))
		if v.Knows(names...) {
			return v
		}
		db = v.DB
	}
	t.Fatalf("%v cannot be known", names)
	return nil
}

// create makes roles as the proxy does, and returns their names on the server.
func create(t *testing.T, conn *pgx.Conn, database string, names ...scope.Name) (made []string) {
	t.Helper()
	for _, n := range names {
		v := look(t, conn, scope.NewDatabase(0, database, ""), n)
		var schemas []scope.Schema
		if n.Schema != "" {
			schemas = append(schemas, v.DB.Schema(n.Schema))
		}
		exec(t, conn, v.DB.EnrolSQL(schemas...))
		v = look(t, conn, v.DB, n)
		var c scope.Cluster
		var err *scope.Error
		marker := v.DB.Marker
		if n.Schema == "" {
			c, err = v.Create(n.Role)
		} else {
			c, err = v.CreateIn(n.Schema, n.Role)
			marker = v.DB.Schema(n.Schema).Marker
		}
		if err != nil {
			t.Fatal(err)
		}
		exec(t, conn, fmt.Sprintf("CREATE ROLE %s IN ROLE %s", c.Ident(), marker.Ident()))
		made = append(made, string(c))
	}
	return made
}

// TestInquiry goes through what a server with schemas can be in.
func TestInquiry(t *testing.T) {
	c := server(t)
	a, ab := connect(t, c, "a"), connect(t, c, "a_b")
	db := scope.NewDatabase(0, "a", "")

	v := ask(t, a, db.Inquire(scope.Name{Role: "x"}))
	if v.DB.Enrolled || v.DB.OID == 0 || v.DB.Prefix != "a" || v.DB.Schemas != nil {
		t.Errorf("before all: %+v", v.DB)
	}
	exec(t, a, `CREATE SCHEMA s; CREATE SCHEMA "T ""\é"; CREATE SCHEMA b_c`)
	exec(t, ab, `CREATE SCHEMA c`)
	got := create(t, a, "a", scope.Name{Role: "x"}, scope.Name{Schema: "s", Role: "x"}, scope.Name{Schema: `T "\é`, Role: `q"\`})
	got = append(got, create(t, ab, "a_b", scope.Name{Schema: "c", Role: "y"})...)
	got = append(got, create(t, a, "a", scope.Name{Schema: "b_c", Role: "z"})...) // the marker's readable name is taken
	if diff := cmp.Diff([]string{"a_x", "a_s_x", `a_T "\é_q"\`, "a_b_c_y", "a_b_c_z"}, got); diff != "" {
		t.Fatalf("made (-want +got):\n%s", diff)
	}

	resolve := func(step string, conn *pgx.Conn, database string, n scope.Name, want string) {
		t.Helper()
		v := look(t, conn, scope.NewDatabase(0, database, ""), n)
		var c scope.Cluster
		var home scope.Home
		var err *scope.Error
		if n.Schema == "" {
			c, home, err = v.Resolve(n.Role)
		} else {
			c, home, err = v.ResolveIn(n.Schema, n.Role)
		}
		got := string(c)
		switch {
		case err != nil:
			got = err.Message
		case home == scope.Missing:
			got += " (missing)"
		}
		if got != want {
			t.Errorf("%s: %s is %s, want %s", step, n.Short(), got, want)
		}
	}
	resolve("plain", a, "a", scope.Name{Role: "x"}, "a_x")
	resolve("plain", a, "a", scope.Name{Schema: "s", Role: "x"}, "a_s_x")
	resolve("plain", a, "a", scope.Name{Schema: `T "\é`, Role: `q"\`}, `a_T "\é_q"\`)
	resolve("plain", a, "a", scope.Name{Schema: "b_c", Role: "z"}, "a_b_c_z")
	resolve("plain", a, "a", scope.Name{Schema: "b_c", Role: "y"}, `role "b_c.y" does not exist`)
	resolve("plain", ab, "a_b", scope.Name{Schema: "c", Role: "z"}, `role "c.z" does not exist`)
	resolve("plain", ab, "a_b", scope.Name{Role: "c_y"}, `role "c_y" does not exist`)
	resolve("plain", a, "a", scope.Name{Role: "s_x"}, `role "s_x" does not exist`)
	resolve("plain", ab, "a_b", scope.Name{Schema: "s", Role: "x"}, `schema "s" does not exist`)

	exec(t, a, `SET search_path = nowhere, s, public`)
	resolve("along the path", a, "a", scope.Name{Role: "x"}, "a_s_x")
	exec(t, a, `ALTER SCHEMA s RENAME TO r`)
	resolve("renamed", a, "a", scope.Name{Schema: "r", Role: "x"}, "a_s_x")
	resolve("renamed", a, "a", scope.Name{Schema: "s", Role: "x"}, `schema "s" does not exist`)
	resolve("renamed", a, "a", scope.Name{Role: "x"}, "a_x")
	exec(t, a, `DROP SCHEMA r`)
	resolve("dropped", a, "a", scope.Name{Schema: "s", Role: "x"}, "a_s_x")
	exec(t, a, `CREATE SCHEMA s`)
	resolve("made again", a, "a", scope.Name{Role: "x"}, "a_s_x")

	own := func(v *scope.View) (list []string) {
		for c, r := range v.Roles() {
			list = append(list, fmt.Sprintf("%s %s", c, r.Name))
		}
		slices.Sort(list)
		return list
	}
	list := []string{`a_T "\é_q"\ T "\é.q"\`, "a_b_c_z b_c.z", "a_s_x s.x", "a_x x"}
	q := db.Inquire()
	q.Own = true
	if diff := cmp.Diff(list, own(ask(t, a, q))); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(list, own(ask(t, ab, q))); diff != "" {
		t.Errorf("roles as another database sees them (-want +got):\n%s", diff)
	}

	exec(t, a, `SET ROLE "a_x"; SET search_path = "$user", b_c`)
	q.User = true
	v = ask(t, a, q)
	if name, _ := v.Name(v.User); name != (scope.Name{Role: "x"}) || v.SearchPath != `"$user", b_c` {
		t.Errorf("the session is %s along %s", v.User, v.SearchPath)
	}
	if _, own := v.Name(v.Session); own || v.Session != "postgres" {
		t.Errorf("the session is of %s", v.Session)
	}
}

// TestInquiryOfARestoredCluster: in a dump's markers no OID is right, and names count.
func TestInquiryOfARestoredCluster(t *testing.T) {
	c := server(t)
	a := connect(t, c, "a")
	exec(t, a, `CREATE SCHEMA s; CREATE ROLE pgscope_db_a; CREATE ROLE pgscope_schema_a_s IN ROLE pgscope_db_a;
		CREATE ROLE a_s_x IN ROLE pgscope_schema_a_s;
		COMMENT ON ROLE pgscope_db_a IS '{"oid":4000000000,"database":"a","prefix":"a","version":1}';
		COMMENT ON ROLE pgscope_schema_a_s IS '{"oid":4000000000,"database":"a","prefix":"a","schema":"s","schemaoid":2200,"version":1}'`)
	n := scope.Name{Schema: "s", Role: "x"}
	v := look(t, a, scope.NewDatabase(0, "a", ""), n)
	if got, home, err := v.ResolveIn("s", "x"); got != "a_s_x" || home != scope.Own || err != nil {
		t.Errorf("%s, %v, %v", got, home, err)
	}
	if s := v.DB.Schema("public"); s.Enrolled { // though 2200 is its OID
		t.Errorf("schema public has the marker of another: %+v", s)
	}
}

// TestHostileComments: what others may write on markers' comments fails no statement and gives no role away.
func TestHostileComments(t *testing.T) {
	c := server(t)
	a := connect(t, c, "a")
	exec(t, a, `CREATE SCHEMA s`)
	create(t, a, "a", scope.Name{Schema: "s", Role: "x"}, scope.Name{Role: "y"})
	for i, comment := range []string{
		``, `{`, `{"oid":`, `{"oid":99999999999999999999,`, `,"schemaoid":99999999999999999999,`, `{"schemaoid":2200,"schemaoid":1,}`,
		strings.Repeat("[", 10_000), `{"oid":%d,"database":"a","prefix":"a","schema":"s","schemaoid":0,"version":1}`,
		`{"oid":%d,"database":"a","prefix":"a","schema":"","schemaoid":2200,"version":1}`,
	} {
		v := look(t, a, scope.NewDatabase(0, "a", ""), scope.Name{Role: "y"})
		comment = strings.ReplaceAll(comment, "%d", fmt.Sprint(v.DB.OID))
		marker := scope.Cluster(fmt.Sprintf("pgscope_schema_hostile_%d", i))
		exec(t, a, fmt.Sprintf("CREATE ROLE %s IN ROLE pgscope_db_a; COMMENT ON ROLE %[1]s IS %s; GRANT %[1]s TO a_y, postgres",
			marker.Ident(), scope.QuoteLiteral(comment)))
		v = look(t, a, scope.NewDatabase(0, "a", ""), scope.Name{Schema: "s", Role: "x"}, scope.Name{Role: "y"}, scope.Name{Role: "postgres"})
		for want, n := range map[scope.Cluster]scope.Name{"a_y": {Role: "y"}, "postgres": {Role: "postgres"}} {
			if got, _, err := v.Resolve(n.Role); got != want || err != nil {
				t.Errorf("with the comment %.50s, %s is %s, %v", comment, n.Short(), got, err)
			}
		}
		if got, home, err := v.ResolveIn("s", "x"); got != "a_s_x" || home != scope.Own || err != nil {
			t.Errorf("with the comment %.50s, s.x is %s, %v, %v", comment, got, home, err)
		}
	}
}

// TestInquiryAmongLies: in a session whose search_path has operators, functions, types and tables of its own before
// PostgreSQL's, the answer is the same.
func TestInquiryAmongLies(t *testing.T) {
	c := server(t)
	a := connect(t, c, "a")
	exec(t, a, `CREATE SCHEMA s`)
	create(t, a, "a", scope.Name{Role: "x"}, scope.Name{Schema: "s", Role: "x"})
	names := []scope.Name{{Role: "x"}, {Schema: "s", Role: "x"}, {Role: "nobody"}, {Role: "postgres"}}
	honest := look(t, a, scope.NewDatabase(0, "a", ""), names...)

	exec(t, a, `CREATE SCHEMA lies`)
	var lies strings.Builder
	for _, operator := range []string{"=", "<>", "<", ">", ">=", "<=", "~~", "^@"} {
		for _, types := range []string{"name,name", "text,text", "oid,oid", "name,text", "text,name", "int4,int4", "bool,bool"} {
			left, right, _ := strings.Cut(types, ",")
			function := fmt.Sprintf("lies.f(pg_catalog.%s, pg_catalog.%s)", left, right)
			fmt.Fprintf(&lies, "CREATE OR REPLACE FUNCTION %s RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'a lie'; END$$;", function)
			fmt.Fprintf(&lies, "CREATE OPERATOR lies.%s (LEFTARG = pg_catalog.%s, RIGHTARG = pg_catalog.%s, FUNCTION = lies.f);", operator, left, right)
		}
	}
	for _, function := range []string{
		"starts_with(text, text)", "strpos(text, text)", "split_part(text, text, int)", "current_setting(text)", "current_setting(text, bool)",
		"current_schemas(bool)", "current_database()", "to_json(anyelement)", "concat(VARIADIC text[])",
		"json_build_array(VARIADIC text[])", "current_user()",
	} {
		fmt.Fprintf(&lies, "CREATE FUNCTION lies.%s RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'a lie'; END$$;", function)
	}
	for _, relation := range []string{"pg_roles", "pg_database", "pg_namespace", "pg_auth_members", "pg_shdescription", "marker", "marked", "db"} {
		fmt.Fprintf(&lies, "CREATE VIEW lies.%s AS SELECT 1/0 AS oid;", relation)
	}
	lies.WriteString("CREATE DOMAIN lies.name AS int CHECK (false); CREATE DOMAIN lies.text AS int CHECK (false); CREATE DOMAIN lies.bool AS int CHECK (false);")
	exec(t, a, lies.String())
	exec(t, a, "SET search_path = lies, pg_catalog; SET standard_conforming_strings = off; SET quote_all_identifiers = on")

	v := look(t, a, scope.NewDatabase(0, "a", ""), names...)
	for _, n := range names {
		r1, h1, _ := honest.Resolve(n.Role)
		r2, h2, _ := v.Resolve(n.Role)
		if r1 != r2 || h1 != h2 {
			t.Errorf("%s is %s (%v), and among lies %s (%v)", n.Short(), r1, h1, r2, h2)
		}
	}
	if got, home, err := v.ResolveIn("s", "x"); got != "a_s_x" || home != scope.Own || err != nil {
		t.Errorf("s.x is %s, %v, %v", got, home, err)
	}
	exec(t, a, "RESET standard_conforming_strings")
	exec(t, a, "BEGIN; CREATE SCHEMA made")
	made := scope.Name{Schema: "made", Role: "x"}
	v = look(t, a, v.DB, made)
	exec(t, a, v.DB.EnrolSQL(v.DB.Schema("made")))
	if v = look(t, a, v.DB, made); !v.DB.Schema("made").Enrolled {
		t.Errorf("not enrolled: %+v", v.DB)
	}
}

// TestLongNameWithDots: a name that no role can have stands for none of a schema, however many there might be.
func TestLongNameWithDots(t *testing.T) {
	name := scope.Name{Role: scope.Short(strings.Repeat("a.", 1<<20))}
	if q := scope.NewDatabase(1, "orders", "").Inquire(name); len(q.Names)+len(q.Schemas) > 0 {
		t.Errorf("asks about %d roles and %d schemas", len(q.Names), len(q.Schemas))
	}
}
