package scope

import (
	"strings"
	"testing"
)

func TestQualify(t *testing.T) {
	orders := NewDatabase(16384, "orders", "")
	short := NewDatabase(16384, "orders", "o")
	sales := orders.newSchema(30000, "sales")
	long := strings.Repeat("x", 56)
	for _, tt := range []struct {
		name    string
		qualify func(Short) (Cluster, *Error)
		role    Short
		want    Cluster
		code    string
		hint    string
	}{
		{"database", orders.Qualify, "customer", "orders_customer", "", ""},
		{"prefix", short.Qualify, "customer", "o_customer", "", ""},
		{"schema", sales.Qualify, "customer", "orders_sales_customer", "", ""},
		{"schema of a prefix", short.newSchema(1, "sales").Qualify, "customer", "o_sales_customer", "", ""},
		{"as written", orders.Qualify, `Q"x é`, `orders_Q"x é`, "", ""},
		{"longest", orders.Qualify, Short(long), Cluster("orders_" + long), "", ""},
		{"too long", orders.Qualify, Short(long + "x"), "", CodeNameTooLong, "at most 56 bytes"},
		{"bytes count", orders.Qualify, Short(strings.Repeat("é", 29)), "", CodeNameTooLong, "at most 56 bytes"},
		{"too long in a schema", sales.Qualify, Short(long[:51]), "", CodeNameTooLong, "at most 50 bytes"},
		{"schema without room", orders.newSchema(1, long).Qualify, "x", "", CodeNameTooLong, "at most 0 bytes"},
		{"predefined", NewDatabase(1, "pg", "").Qualify, "x", "", CodeReservedName, "another prefix"},
		{"reserved", NewDatabase(1, "pgscope", "").Qualify, "db_x", "", CodeReservedName, "another prefix"},
		{"reserved by a schema", NewDatabase(1, "pgscope", "").newSchema(1, "db").Qualify, "x", "", CodeReservedName, "another prefix"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.qualify(tt.role)
			switch {
			case err == nil && (got != tt.want || tt.code != ""):
				t.Errorf("%q, want %q %s", got, tt.want, tt.code)
			case err != nil && (err.Code != tt.code || got != "" || !strings.Contains(err.Hint, tt.hint)):
				t.Errorf("%q, %+v", got, err)
			}
		})
	}
}

func TestMarkers(t *testing.T) {
	long := strings.Repeat("x", 60)
	for _, tt := range []struct {
		name                 string
		db                   Database
		schema               string
		marker, schemaMarker Cluster
		text, schemaText     string
	}{
		{
			"plain", NewDatabase(16384, "orders", ""), "sales",
			"pgscope_db_orders", "pgscope_schema_orders_sales",
			`{"oid":16384,"database":"orders","prefix":"orders","version":1}`,
			`{"oid":16384,"database":"orders","prefix":"orders","schema":"sales","schemaoid":30000,"version":1}`,
		},
		{
			"prefix", NewDatabase(16384, "orders", "o"), "sales",
			"pgscope_db_orders", "pgscope_schema_orders_sales",
			`{"oid":16384,"database":"orders","prefix":"o","version":1}`,
			`{"oid":16384,"database":"orders","prefix":"o","schema":"sales","schemaoid":30000,"version":1}`,
		},
		{
			"too long", NewDatabase(16384, long, "o"), "sales",
			"pgscope_db_16384", "pgscope_schema_16384_30000",
			`{"oid":16384,"database":"` + long + `","prefix":"o","version":1}`,
			`{"oid":16384,"database":"` + long + `","prefix":"o","schema":"sales","schemaoid":30000,"version":1}`,
		},
		{
			"quotes", NewDatabase(16384, `a"<&>`, ""), `é\`,
			`pgscope_db_a"<&>`, `pgscope_schema_a"<&>_é\`,
			`{"oid":16384,"database":"a\"<&>","prefix":"a\"<&>","version":1}`,
			`{"oid":16384,"database":"a\"<&>","prefix":"a\"<&>","schema":"é\\","schemaoid":30000,"version":1}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.db.newSchema(30000, tt.schema)
			if tt.db.Marker != tt.marker || s.Marker != tt.schemaMarker {
				t.Errorf("markers %q and %q", tt.db.Marker, s.Marker)
			}
			if got := tt.db.Comment(); got != tt.text {
				t.Errorf("comment %s", got)
			}
			if got := tt.db.schemaComment(s).text(); got != tt.schemaText {
				t.Errorf("comment %s", got)
			}
			for _, text := range []string{tt.text, tt.schemaText} {
				if m, ok := parseMarker(text); !ok || m.text() != text {
					t.Errorf("%s is read as %+v", text, m)
				}
			}
		})
	}
}

func TestParseMarkerRefuses(t *testing.T) {
	for _, comment := range []string{
		"", "null", "[]", "a comment", `{"oid":0,"database":"a","prefix":"a","version":1}`,
		`{"oid":1,"database":"a","prefix":"","version":1}`, `{"oid":1,"database":"a","prefix":"a"}`,
		`{"oid":-1,"database":"a","prefix":"a","version":1}`, `{"oid":4294967296,"database":"a","prefix":"a","version":1}`,
		`{"oid":1,"database":"a","prefix":"a","version":1} x`,
	} {
		if m, ok := parseMarker(comment); ok {
			t.Errorf("%s is read as %+v", comment, m)
		}
	}
}

func TestNameSpellings(t *testing.T) {
	for _, tt := range []struct {
		name  Name
		short Short
		ident string
	}{
		{Name{"", "customer"}, "customer", `"customer"`},
		{Name{"sales", "customer"}, "sales.customer", `"sales"."customer"`},
		{Name{`a"b`, `c.d`}, `a"b.c.d`, `"a""b"."c.d"`},
	} {
		if tt.name.Short() != tt.short || tt.name.Ident() != tt.ident {
			t.Errorf("%+v: %s, %s", tt.name, tt.name.Short(), tt.name.Ident())
		}
	}
	for s, want := range map[string]string{`a`: `'a'`, `a'b`: `'a''b'`, `a\b'`: ` E'a\\b'''`} {
		if got := QuoteLiteral(s); got != want {
			t.Errorf("QuoteLiteral(%s) is %s", s, got)
		}
	}
}

func TestReplaceUser(t *testing.T) {
	for _, tt := range []struct {
		path, want string // want is empty where nothing is replaced
	}{
		{`"$user", public`, `"a""b", public`},
		{`public,"$user"`, `public,"a""b"`},
		{`$user,$USER , x`, `"a""b","a""b" , x`},
		{`x, "$user" ,"$user"`, `x, "a""b" ,"a""b"`},
		{``, ``},
		{`public`, ``},
		{`"$USER"`, ``},
		{`"a, ""$user"",b"`, ``},
		{`"a,$user,b"`, ``},
		{`$users, a$user`, ``},
		{`"$user`, ``},
		{`,`, ``},
	} {
		got, found := ReplaceUser(tt.path, `a"b`)
		if want := tt.want != ""; found != want || want && got != tt.want || !want && got != tt.path {
			t.Errorf("%s becomes %s, %v", tt.path, got, found)
		}
	}
}

func FuzzReplaceUser(f *testing.F) {
	f.Add(`"$user", public`)
	f.Add(`"a, ""$user"",b", $user`)
	f.Fuzz(func(t *testing.T, path string) {
		got, found := ReplaceUser(path, "x")
		if !found && got != path {
			t.Errorf("%q was changed to %q", path, got)
		}
		if again, found := ReplaceUser(got, "x"); found {
			t.Errorf("%q became %q, and that %q", path, got, again)
		}
	})
}

func TestSettingConstants(t *testing.T) {
	tests := []struct{ name, stored, want string }{
		{"work_mem", "4MB", `'4MB'`},
		{"DateStyle", "ISO, MDY", `'ISO, MDY'`},
		{"my.path", `a\b'c`, `E'a\\b''c'`},
		{"search_path", `"$user", public`, `'$user', 'public'`},
		{"Search_Path", `a,b`, `'a', 'b'`},
		{"search_path", `""`, `''`},
		{"search_path", ``, `''`},
		{"search_path", `"a, ""b""" , c`, `'a, "b"', 'c'`},
		{"search_path", `"open`, `'open'`}, // the server does not store such
		{"temp_tablespaces", `"", b`, `'', 'b'`},
		{"search_path", ` Sales , "Sales" `, `'sales', 'Sales'`},
	}
	for _, tt := range tests {
		if got := SettingConstants(tt.name, tt.stored); got != tt.want {
			t.Errorf("%s = %s\ngot  %s\nwant %s", tt.name, tt.stored, got, tt.want)
		}
	}
}
