package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/scope"
)

const salesMarker = `{"oid":16384,"database":"orders","prefix":"orders","schema":"sales","schemaoid":30000,"version":1}`

// alongSales is what the server says to a session whose search_path has schema sales in it.
func alongSales(rows ...[4]string) [][4]string {
	return append(slices.Concat(enrolled, [][4]string{
		{"session", `["orders_app", "orders_app"]`, `"$user", sales`, `["sales"]`},
		{"namespace", "sales", "30000", ""},
		{"schema", "pgscope_schema_orders_sales", "sales", salesMarker},
	}), rows...)
}

func salesRole(name string) [4]string {
	return [4]string{"role", name, "false", fmt.Sprintf("[[%q, %q, %q]]", "pgscope_schema_orders_sales", salesMarker, "sales")}
}

// TestNamesAlongTheSearchPath: where the first answer tells of a schema with roles, its roles are asked about too. In a
// pipeline as well.
func TestNamesAlongTheSearchPath(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "SET ROLE reader"}).wantsQuestion(askSync)
	s.server(append(names(alongSales()...), idle)...).wants(&s.toUser).wantsQuestion(askSync)
	s.server(append(names(alongSales(salesRole("orders_sales_reader"))...), idle)...).
		wants(&s.toServer, `Q SET ROLE "orders_sales_reader"|`)
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("SET")}, idle).wants(&s.toUser, "C SET|", "Z I")

	s.client(&pgproto3.Parse{Query: "SELECT 1"})
	s.toServer.Reset()
	s.client(&pgproto3.Parse{Query: "SET ROLE reader"}).wantsQuestion(askFlush)
	s.server(&pgproto3.ParseComplete{}).wants(&s.toUser, "1")
	s.server(names(alongSales()...)...).wantsQuestion(askFlush)
	s.server(names(alongSales(salesRole("orders_sales_reader"))...)...).
		wants(&s.toUser).wants(&s.toServer, `P |SET ROLE "orders_sales_reader"|||`)
}

// TestSearchPathOfAScopedRole: "$user" in the search_path becomes what the client calls its role, before the client is
// told that it may begin.
func TestSearchPathOfAScopedRole(t *testing.T) {
	b := newBook()
	b.stale = true
	s := newTestSession(t, b)
	s.e.beginning, s.e.cfg.Login, s.e.cfg.LoginName = new(beginning), "orders_app", "app"
	s.server(idle).wants(&s.toUser).wantsQuestion(askSync)
	own := [4]string{"role", "orders_app", "true", fmt.Sprintf("[[%q, %q, null]]", "pgscope_db_orders", ordersMarker)}
	s.server(append(names(alongSales(own)...), idle)...).wants(&s.toUser).wantsQuestion(askSync) // its roles, too
	s.server(append(names(alongSales(own)...), idle)...).wants(&s.toUser)
	if got := s.toServer.String(); !strings.Contains(got, "set_config") || !strings.Contains(got, `"app", sales`) {
		t.Errorf("asked for %q", got)
	}
	if s.e.Started() {
		t.Error("the client was told that it may begin")
	}
	s.server(append(names([4]string{}), idle)...).wants(&s.toUser, "Z I")
}

// TestSearchPathOfAKnownRole: then only the search_path is asked for, and where it is the common one, replaced at once.
func TestSearchPathOfAKnownRole(t *testing.T) {
	for _, path := range []string{`"$user", public`, "public", `other, "$user"`} {
		s := newTestSession(t, newBook())
		s.e.beginning, s.e.cfg.Login, s.e.cfg.LoginName = new(beginning), "orders_app", "app"
		s.server(idle).wants(&s.toUser)
		if got := s.toServer.String(); !strings.Contains(got, "CASE WHEN") || !strings.Contains(got, `"app", public`) && !strings.Contains(got, "app, public") {
			t.Errorf("asked for %q", got)
		}
		s.toServer.Reset()
		row := &pgproto3.DataRow{Values: [][]byte{[]byte(path), nil}}
		if path == commonPath {
			row.Values[1] = []byte("app, public")
		}
		answer := append(slices.Clone(good), idle)
		answer[3] = row
		s.server(answer...)
		if path == `other, "$user"` {
			if got := s.toServer.String(); !strings.Contains(got, "set_config") || !strings.Contains(got, "other, ") {
				t.Errorf("asked for %q", got)
			}
			s.server(append(slices.Clone(good), idle)...)
		} else {
			s.wants(&s.toServer)
		}
		s.wants(&s.toUser, "Z I")
		if keeps := s.e.userPath.standard != ""; keeps != (path != "public") {
			t.Errorf("%s: watches for its return: %t", path, keeps)
		}
	}
}

// TestTooManyCandidates: what one text makes the proxy ask for is bounded.
func TestTooManyCandidates(t *testing.T) {
	b := newBook()
	b.db.Schemas = make([]scope.Schema, maxCandidates/2)
	s := newTestSession(t, b)
	s.client(&pgproto3.Query{String: "DROP ROLE a, b"}, &pgproto3.Query{String: "SELECT 1"}).
		wants(&s.toServer, "Q SELECT pg_catalog.pgscope_refused_0()|", "Q SELECT 1|")
	s.server(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42883", Message: "pgscope_refused_0"}, idle)
	if got := s.toUser.String(); !strings.Contains(got, scope.CodeProgramLimitExceeded) {
		t.Errorf("answered %q", got)
	}
	dotted := "DROP ROLE a"
	for i := range maxCandidates/25 + 1 {
		dotted += fmt.Sprintf(`, "%d%s"`, i, strings.Repeat(".a", 25))
	}
	s = newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: dotted}).wants(&s.toServer, "Q SELECT pg_catalog.pgscope_refused_0()|")
}
