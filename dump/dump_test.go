package dump

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgscope/pgscope-proxy/scope"
)

// TestJoin: what of pg_dump's text gives way to the roles, and what must not.
func TestJoin(t *testing.T) {
	roles := &Roles{
		schemas: []string{"sales", "Big"},
		roles:   []role{{name: scope.Name{Role: "app"}, attributes: defaults, limit: "-1", settings: []setting{{here: true, name: "work_mem", value: "'1MB'"}}}},
	}
	const (
		own = "--\n-- Roles of the database\n--\n\nSET client_encoding = 'UTF8';\n\n" +
			"CREATE SCHEMA IF NOT EXISTS \"sales\";\nCREATE SCHEMA IF NOT EXISTS \"Big\";\nCREATE DBONLY ROLE \"app\";\n"
		here = "ALTER DBONLY ROLE \"app\" IN DATABASE :\"DBNAME\" SET \"work_mem\" TO '1MB';\n"
	)
	tests := []struct {
		name       string
		create     bool
		dump, want string
	}{
		{
			name: "schemas",
			dump: "-- Name: sales; Type: SCHEMA; Schema: -\nCREATE SCHEMA sales;\nCREATE SCHEMA \"Big\";\nCREATE SCHEMA other;\nCREATE SCHEMA sales;\n",
			want: own + here + "\n-- Name: sales; Type: SCHEMA; Schema: -\nCREATE SCHEMA IF NOT EXISTS sales;\nCREATE SCHEMA IF NOT EXISTS \"Big\";\nCREATE SCHEMA other;\nCREATE SCHEMA sales;\n",
		},
		{
			name: "a row that looks like a schema",
			dump: "-- Name: t; Type: TABLE; Schema: public\nCOPY t FROM stdin;\nCREATE SCHEMA sales;\n\\connect x\n",
			want: own + here + "\n-- Name: t; Type: TABLE; Schema: public\nCOPY t FROM stdin;\nCREATE SCHEMA sales;\n\\connect x\n",
		},
		{
			name: "a line longer than the buffer, and none at the end",
			dump: strings.Repeat("x", 5000) + "\nCREATE SCHEMA sales;\nend",
			want: own + here + "\n" + strings.Repeat("x", 5000) + "\nCREATE SCHEMA IF NOT EXISTS sales;\nend",
		},
		{
			name: "a database whose owner is one of the roles", create: true,
			dump: "CREATE DATABASE d;\nALTER DATABASE d OWNER TO app;\n\\connect d\nCREATE SCHEMA sales;\nALTER DATABASE d OWNER TO x;\n",
			want: "CREATE DATABASE d;\n\\connect d\n\n" + own + "\nALTER DATABASE d OWNER TO app;\nCREATE SCHEMA IF NOT EXISTS sales;\nALTER DATABASE d OWNER TO x;\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got strings.Builder
			if err := Join(&got, roles, strings.NewReader(tt.dump), tt.create); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A name that has a line break in it does not end the comment that tells of it.
func TestRemarkIsOneLine(t *testing.T) {
	var roles Roles
	roles.remark("Role %s.", "a\rDROP TABLE t;\nb")
	var b strings.Builder
	if err := roles.Write(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\n-- Role a DROP TABLE t; b.\n") {
		t.Errorf("the remark is not one line:\n%q", b.String())
	}
}
