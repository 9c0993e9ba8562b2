package scope_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// cluster is the answer to a survey, in short: databases by OID, and markers with their comments and members.
func cluster(t *testing.T, current string, databases map[string]string, markers ...[]string) *scope.Inventory {
	t.Helper()
	var rows [][]string
	for name, oid := range databases {
		isCurrent := "false"
		if name == current {
			isCurrent = "true"
		}
		rows = append(rows, []string{"database", name, oid, isCurrent})
	}
	for _, m := range markers {
		rows = append(rows, []string{"marker", m[0], m[1], ""})
		for _, role := range m[2:] {
			if schema, oid, ok := strings.Cut(role, "="); ok {
				rows = append(rows, []string{"schema", m[0], schema, oid})
				continue
			}
			rows = append(rows, []string{"member", m[0], role, "LOGIN"})
			if role == "dba" {
				rows = append(rows, []string{"administrator", m[0], role, ""})
			}
		}
	}
	e, err := scope.Survey{}.Answer(rows)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const (
	ordersNote = `{"oid":1,"database":"orders","prefix":"orders","version":1}`
	salesNote  = `{"oid":1,"database":"orders","prefix":"orders","schema":"sales","schemaoid":7,"version":1}`
)

var (
	orders = []string{"pgscope_db_orders", ordersNote, "orders_app", "orders_a_app", "dba", "pgscope_schema_orders_sales"}
	sales  = []string{"pgscope_schema_orders_sales", salesNote, "orders_sales_clerk", "dba"}
)

// body returns the names and statements of a DO block that renames, without the frame that all have.
func body(sql string) string {
	sql = strings.TrimPrefix(sql, "DO LANGUAGE plpgsql ")
	sql = strings.ReplaceAll(strings.Trim(sql, " E'"), "''", "'")
	_, sql, _ = strings.Cut(sql, " THEN ")
	sql, _, _ = strings.Cut(sql, "DECLARE ")
	return strings.TrimSpace(sql)
}

func TestRename(t *testing.T) {
	tests := []struct {
		name, from, to string
		markers        [][]string
		want           []string
		code           string
	}{
		{name: "longer", from: "orders", to: "orders_a", markers: [][]string{orders, sales}, want: []string{
			`ALTER ROLE "pgscope_schema_orders_sales" RENAME TO "pgscope_schema_orders_a_sales"`,
			`ALTER ROLE "orders_sales_clerk" RENAME TO "orders_a_sales_clerk"`,
			`ALTER ROLE "pgscope_db_orders" RENAME TO "pgscope_db_orders_a"`,
			`ALTER ROLE "orders_a_app" RENAME TO "orders_a_a_app"`, // before orders_app takes its name
			`ALTER ROLE "orders_app" RENAME TO "orders_a_app"`,
			`COMMENT ON ROLE "pgscope_schema_orders_a_sales" IS '{"oid":1,"database":"orders_a","prefix":"orders_a","schema":"sales","schemaoid":7,"version":1}'`,
			`COMMENT ON ROLE "pgscope_db_orders_a" IS '{"oid":1,"database":"orders_a","prefix":"orders_a","version":1}'`,
		}},
		{name: "shorter", from: "orders", to: "o", markers: [][]string{orders}, want: []string{
			`ALTER ROLE "orders_app" RENAME TO "o_app"`,
			`ALTER ROLE "orders_a_app" RENAME TO "o_a_app"`,
			`ALTER ROLE "pgscope_db_orders" RENAME TO "pgscope_db_o"`,
			`COMMENT ON ROLE "pgscope_db_o" IS '{"oid":1,"database":"o","prefix":"o","version":1}'`,
		}},
		{name: "a prefix of its own stays", from: "orders", to: "sales", markers: [][]string{
			{"pgscope_db_orders", `{"oid":1,"database":"orders","prefix":"ord","version":1}`, "ord_app"},
		}, want: []string{
			`ALTER ROLE "pgscope_db_orders" RENAME TO "pgscope_db_sales"`,
			`COMMENT ON ROLE "pgscope_db_sales" IS '{"oid":1,"database":"sales","prefix":"ord","version":1}'`,
		}},
		{name: "quotes", from: "orders", to: `o"'\x`, markers: [][]string{{"pgscope_db_orders", ordersNote, `orders_a"b`}}, want: []string{
			`ALTER ROLE "orders_a""b" RENAME TO "o""'\\x_a""b"`,
			`ALTER ROLE "pgscope_db_orders" RENAME TO "pgscope_db_o""'\\x"`,
			`COMMENT ON ROLE "pgscope_db_o""'\\x" IS  E'{"oid":1,"database":"o\\\\"''\\\\\\\\x","prefix":"o\\\\"''\\\\\\\\x","version":1}'`,
		}},
		{name: "too long", from: "orders", to: strings.Repeat("x", 60), markers: [][]string{orders}, code: scope.CodeNameTooLong},
		{name: "an administrator would be a role", from: "orders", to: "d", markers: [][]string{{"pgscope_db_orders", ordersNote, "d_x"}}, code: scope.CodeObjectNotInState},
		{name: "reserved", from: "orders", to: "pg_x", markers: [][]string{orders}, code: scope.CodeReservedName},
		{name: "reserved, but no roles", from: "orders", to: "pg_x", markers: [][]string{{"pgscope_db_orders", ordersNote, "dba"}}, want: []string{
			`ALTER ROLE "pgscope_db_orders" RENAME TO "pgscope_db_pg_x"`,
			`COMMENT ON ROLE "pgscope_db_pg_x" IS '{"oid":1,"database":"pg_x","prefix":"pg_x","version":1}'`,
		}},
		{name: "not enrolled", from: "orders", to: "x", markers: [][]string{{"pgscope_db_other", `{"oid":2,"database":"other","prefix":"other","version":1}`, "other_x"}}},
		{name: "no such database", from: "nosuch", to: "x", markers: [][]string{orders}},
		{name: "the marker was a dropped namesake's", from: "orders", to: "o", markers: [][]string{
			{"pgscope_db_orders", strings.Replace(ordersNote, "1", "9", 1), "orders_app", "pgscope_schema_orders_sales"}, sales,
		}, want: []string{
			`ALTER ROLE "orders_app" RENAME TO "o_app"`,
			`ALTER ROLE "pgscope_db_orders" RENAME TO "pgscope_db_o"`,
			`ALTER ROLE "orders_sales_clerk" RENAME TO "o_sales_clerk"`,
			`ALTER ROLE "pgscope_schema_orders_sales" RENAME TO "pgscope_schema_o_sales"`,
			`COMMENT ON ROLE "pgscope_schema_o_sales" IS '{"oid":1,"database":"o","prefix":"o","schema":"sales","schemaoid":7,"version":1}'`,
			`COMMENT ON ROLE "pgscope_db_o" IS '{"oid":1,"database":"o","prefix":"o","version":1}'`,
		}},
		{name: "restored, and a schema's OID is not known here", from: "orders", to: "o", markers: [][]string{
			{"pgscope_db_orders", strings.Replace(ordersNote, "1", "9", 1), "pgscope_schema_orders_sales"},
			{"pgscope_schema_orders_sales", strings.Replace(salesNote, "1", "9", 1)},
		}, want: []string{
			`ALTER ROLE "pgscope_db_orders" RENAME TO "pgscope_db_o"`,
			`ALTER ROLE "pgscope_schema_orders_sales" RENAME TO "pgscope_schema_o_sales"`,
			`COMMENT ON ROLE "pgscope_schema_o_sales" IS '{"oid":9,"database":"o","prefix":"o","schema":"sales","schemaoid":7,"version":1}'`,
			`COMMENT ON ROLE "pgscope_db_o" IS '{"oid":1,"database":"o","prefix":"o","version":1}'`,
		}},
		{name: "ambiguous", from: "orders", to: "x", markers: [][]string{{"pgscope_db_other", `{"oid":1,"database":"other","prefix":"other","version":1}`, "other_x"}}, code: scope.CodeFeatureNotSupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			work, err := cluster(t, "work", map[string]string{"orders": "1", "other": "2", "work": "3"}, tt.markers...).Rename(tt.from, tt.to)
			sql := work.SQL
			switch {
			case tt.code != "":
				if err == nil || err.Code != tt.code || sql != "" {
					t.Fatalf("got %q, %#v", sql, err)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			var got []string
			if sql != "" {
				got = strings.Split(strings.TrimSuffix(body(sql), ";"), "; ")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSchemas: whose roles follow ALTER SCHEMA sales RENAME TO shop, and whose go with DROP
// SCHEMA tmp, in a session of orders.
func TestSchemas(t *testing.T) {
	note := func(oid, schema, schemaOID string) string {
		return `{"oid":` + oid + `,"database":"orders","prefix":"orders","schema":"` + schema + `","schemaoid":` + schemaOID + `,"version":1}`
	}
	marker := func(schema, comment string, more ...string) []string {
		return append([]string{"pgscope_schema_orders_" + schema, comment, "orders_" + schema + "_clerk"}, more...)
	}
	all := []string{"pgscope_db_orders", ordersNote, "pgscope_schema_orders_sales", "pgscope_schema_orders_trade", "pgscope_schema_orders_hr"}
	carried := []string{
		`ALTER ROLE "orders_sales_clerk" RENAME TO "orders_shop_clerk"`,
		`ALTER ROLE "pgscope_schema_orders_sales" RENAME TO "pgscope_schema_orders_shop"`,
		`COMMENT ON ROLE "pgscope_schema_orders_shop" IS '` + note("1", "shop", "8") + `'`,
	}
	tests := []struct {
		name    string
		markers [][]string
		renamed []string
		dropped string
	}{
		{name: "as made", markers: [][]string{all, marker("sales", note("1", "sales", "8"), "sales=8")}, renamed: carried},
		{name: "restored", markers: [][]string{all, marker("sales", note("9", "sales", "7"), "sales=8")}, renamed: carried},
		{name: "restored, and the OID is another's now", markers: [][]string{all, marker("sales", note("9", "sales", "7"), "sales=8", "hr=7")}, renamed: carried},
		{name: "restored, and the OID is that of the schema now", markers: [][]string{all, marker("hr", note("9", "hr", "8"), "sales=8", "hr=7")}},
		{name: "restored, and gone", markers: [][]string{all, marker("hr", note("9", "hr", "8"), "sales=8")}, dropped: "'orders_hr_clerk'"},
		{name: "gone", markers: [][]string{all, marker("sales", note("1", "sales", "7"))}, dropped: "'orders_sales_clerk'"},
		{name: "made again", markers: [][]string{all, marker("sales", note("1", "sales", "7"), "sales=8")}, renamed: carried},
		{name: "gone, and its namesake has a marker", markers: [][]string{
			all, marker("sales", note("1", "sales", "7"), "sales=8"), marker("trade", note("1", "trade", "8"), "sales=8"),
		}, renamed: []string{
			`ALTER ROLE "orders_trade_clerk" RENAME TO "orders_shop_clerk"`,
			`ALTER ROLE "pgscope_schema_orders_trade" RENAME TO "pgscope_schema_orders_shop"`,
			`COMMENT ON ROLE "pgscope_schema_orders_shop" IS '` + note("1", "shop", "8") + `'`,
		}, dropped: "'orders_sales_clerk'"},
		{name: "renamed on a direct connection", markers: [][]string{all, marker("sales", note("1", "sales", "8"), "trade=8")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := cluster(t, "orders", map[string]string{"orders": "1", "other": "2"}, tt.markers...)
			work, err := e.RenameSchema("sales", "shop")
			sql := work.SQL
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if sql != "" {
				got = strings.Split(strings.TrimSuffix(body(sql), ";"), "; ")
				slices.Sort(got[:2])
			}
			if diff := cmp.Diff(tt.renamed, got); diff != "" {
				t.Errorf("renamed (-want +got):\n%s", diff)
			}
			if dropped := strings.ReplaceAll(strings.Join(texts(e.DroppedSchemas()), ""), "''", "'"); tt.dropped == "" && dropped != "" || !strings.Contains(dropped, tt.dropped) {
				t.Errorf("dropped %s", dropped)
			}
		})
	}
}

// TestSweepTellsApart: which markers a sweep drops, which it makes fit, and which it leaves alone.
func TestSweepTellsApart(t *testing.T) {
	live := map[string]string{"orders": "1", "other": "2", "work": "3"}
	note := func(oid, database string) string {
		return `{"oid":` + oid + `,"database":"` + database + `","prefix":"` + database + `","version":1}`
	}
	tests := []struct {
		name     string
		current  string
		markers  [][]string
		want     []string // what stands in the statements
		warnings int
	}{
		{name: "all is well", markers: [][]string{orders}},
		{name: "gone", markers: [][]string{{"pgscope_db_gone", note("9", "gone"), "gone_app", "dba"}}, want: []string{`ARRAY['gone_app']`}},
		{name: "gone with a schema", markers: [][]string{
			{"pgscope_db_gone", note("9", "gone"), "gone_app"},
			{"pgscope_schema_gone_s", strings.Replace(note("9", "gone"), `,"version"`, `,"schema":"s","schemaoid":7,"version"`, 1), "gone_s_x"},
		}, want: []string{`ARRAY['gone_s_x', 'gone_app']`}},
		{name: "renamed", markers: [][]string{{"pgscope_db_old", note("2", "old"), "old_app"}}, want: []string{`"old_app" RENAME TO "other_app"`}},
		{name: "restored", markers: [][]string{{"pgscope_db_other", note("9", "other"), "other_app"}}, want: []string{`IS '{"oid":2,"database":"other"`}},
		{name: "restored, or renamed and replaced", markers: [][]string{{"pgscope_db_other", note("1", "other"), "other_app"}}, warnings: 1},
		{name: "restored, and the OID is another's for certain", markers: [][]string{orders[:3:3], {"pgscope_db_other", note("1", "other"), "other_app"}}, want: []string{`IS '{"oid":2,"database":"other"`}},
		{name: "gone, and the OID is another's for certain", markers: [][]string{orders[:3:3], {"pgscope_db_gone", note("1", "gone"), "gone_app"}}, want: []string{`ARRAY['gone_app']`}},
		{name: "renamed, and replaced by one from a dump", markers: [][]string{{"pgscope_db_old", note("2", "old"), "old_app"}, {"pgscope_db_other", note("9", "other"), "other_app"}}, warnings: 2},
		{name: "a comment of somebody else", markers: [][]string{{"pgscope_db_x", `{"oid":1,`, "x_app"}, {"pgscope_db_y", "mine", "y_app"}}},
		{name: "too long to follow", markers: [][]string{{"pgscope_db_o", note("2", "o"), "o_" + strings.Repeat("x", 60)}}, warnings: 1},
		{name: "a schema is gone", current: "orders", markers: [][]string{orders, sales}, want: []string{`ARRAY['orders_sales_clerk']`}},
		{name: "a schema is there", current: "orders", markers: [][]string{orders, append(sales[:2:2], "sales=7")}},
		{name: "seen from elsewhere", current: "work", markers: [][]string{orders, sales}},
		{name: "a schema was renamed", current: "orders", markers: [][]string{orders, append(sales[:3:3], "trade=7")}, want: []string{`"orders_sales_clerk" RENAME TO "orders_trade_clerk"`}},
		{name: "the marker was a dropped namesake's, the schema's is new", current: "work", markers: [][]string{
			{"pgscope_db_orders", note("9", "orders"), "orders_app", "pgscope_schema_orders_sales"}, sales,
		}, want: []string{`IS '{"oid":1,"database":"orders"`}},
		{name: "a schema was restored, and is seen from elsewhere", current: "work", markers: [][]string{
			orders, {"pgscope_schema_orders_sales", strings.Replace(salesNote, "1", "9", 1), "orders_sales_clerk"},
		}},
		{name: "gone with a schema, whose marker is newer", markers: [][]string{
			{"pgscope_db_gone", note("8", "gone"), "gone_app", "pgscope_schema_gone_s"},
			{"pgscope_schema_gone_s", strings.Replace(note("9", "gone"), `,"version"`, `,"schema":"s","schemaoid":7,"version"`, 1), "gone_s_x"},
		}, want: []string{`ARRAY['gone_s_x', 'gone_app']`}},
		{name: "a schema was restored", current: "other", markers: [][]string{
			{"pgscope_schema_other_s", `{"oid":9,"database":"other","prefix":"other","schema":"s","schemaoid":7,"version":1}`, "other_s_x", "s=8"},
		}, want: []string{`"oid":2,"database":"other","prefix":"other","schema":"s","schemaoid":8`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			statements, warnings := cluster(t, tt.current, live, tt.markers...).Sweep()
			if len(statements) != len(tt.want) || len(warnings) != tt.warnings {
				t.Fatalf("statements %q, warnings %q", statements, warnings)
			}
			for i, want := range tt.want {
				if got := strings.ReplaceAll(statements[i], "''", "'"); !strings.Contains(got, want) {
					t.Errorf("%q is missing in %s", want, got)
				}
			}
		})
	}
}

func TestSurveyRefusesStrangeRows(t *testing.T) {
	for _, rows := range [][][]string{{{"database", "x"}}, {{"database", "x", "y", ""}}, {{"marker", "pgscope_schema_x", salesNote, ""}, {"schema", "pgscope_schema_x", "s", "y"}}} {
		if _, err := (scope.Survey{}).Answer(rows); err == nil {
			t.Errorf("took %q", rows)
		}
	}
}

// TestHostileSession: in a session whose search_path has operators and functions that lie, whose strings have other
// rules, and whose names are full of quotes, the survey sees what there is, and the statements do what they say.
func TestHostileSession(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	const name = `o"'\d`
	c.CreateDatabase(t, name)
	c.CreateDatabase(t, "lies")
	c.Psql(t, "lies", `
		CREATE FUNCTION lie(name, name) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
		CREATE FUNCTION lie(oid, oid) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
		CREATE FUNCTION lie(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
		CREATE FUNCTION starts_with(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true';
		CREATE FUNCTION concat(VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_concat';
		CREATE FUNCTION format(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'DROP ROLE bystander' $$;
		CREATE OPERATOR = (FUNCTION = lie, LEFTARG = name, RIGHTARG = name);
		CREATE OPERATOR = (FUNCTION = lie, LEFTARG = oid, RIGHTARG = oid);
		CREATE OPERATOR = (FUNCTION = lie, LEFTARG = text, RIGHTARG = text);
		CREATE ROLE bystander`)
	conn := connect(t, c, "lies").PgConn()
	db := scope.NewDatabase(oid(t, conn, name), name, "")
	own, err := db.Qualify(`a"'\b`)
	if err != nil {
		t.Fatal(err)
	}
	run(t, conn, db.EnrolSQL(), "CREATE ROLE "+own.Ident()+" IN ROLE "+db.Marker.Ident())
	run(t, conn, "SET search_path = public, pg_catalog", "SET standard_conforming_strings = off", "SET escape_string_warning = off",
		"SET plpgsql.extra_errors = 'all'", "SET quote_all_identifiers = on")

	const renamed = `\n"'x`
	work, err := survey(t, conn, scope.Survey{Database: name}).Rename(name, renamed)
	if err != nil {
		t.Fatal(err)
	}
	run(t, conn, work.SQL, "ALTER DATABASE "+scope.QuoteIdent(name)+" RENAME TO "+scope.QuoteIdent(renamed))
	e := survey(t, conn, scope.Survey{Database: renamed})
	want := []scope.Listed{{Database: renamed, Name: `a"'\b`, Cluster: renamed + `_a"'\b`, Attributes: []string{}}}
	if diff := cmp.Diff(want, e.Roles(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	if e.Copy(renamed) == nil {
		t.Error("may be copied")
	}
	if got := survey(t, conn, scope.Survey{Database: "lies"}).Roles(); got != nil {
		t.Errorf("roles of another database: %v", got)
	}
	run(t, conn, "DROP DATABASE "+scope.QuoteIdent(renamed))
	run(t, conn, texts(survey(t, conn, scope.Survey{OID: db.OID}).Dropped())...)
	if got := c.Psql(t, "postgres", "SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)'"); got != "bystander\n" {
		t.Errorf("roles left: %q", got)
	}
}

func texts(list []scope.Work) (statements []string) {
	for _, w := range list {
		statements = append(statements, w.SQL)
	}
	return statements
}

func run(t *testing.T, conn *pgconn.PgConn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func oid(t *testing.T, conn *pgconn.PgConn, database string) uint32 {
	t.Helper()
	rows := rowsOf(t, conn, "SELECT oid::text FROM pg_database WHERE datname = "+scope.QuoteLiteral(database))
	n, err := strconv.ParseUint(rows[0][0], 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func survey(t *testing.T, conn *pgconn.PgConn, q scope.Survey) *scope.Inventory {
	t.Helper()
	sql, params := q.SQL()
	e, err := q.Answer(rowsOf(t, conn, sql, params...))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func rowsOf(t *testing.T, conn *pgconn.PgConn, sql string, params ...string) [][]string {
	t.Helper()
	values := make([][]byte, len(params))
	for i, p := range params {
		values[i] = []byte(p)
	}
	result := conn.ExecParams(t.Context(), sql, values, nil, nil, nil).Read()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	var rows [][]string
	for _, r := range result.Rows {
		row := make([]string, len(r))
		for i, v := range r {
			row[i] = string(v)
		}
		rows = append(rows, row)
	}
	return rows
}
