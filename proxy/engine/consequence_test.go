package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// What is done around a statement that drops or renames a scope: consequence.go.

// wantsSaid is wants with statements of the proxy's own cut short.
func (s *session) wantsSaid(lines ...string) *session {
	s.t.Helper()
	var got []string
	for _, line := range describe(s.t, s.toServer.Bytes()) {
		switch {
		case strings.Contains(line, "pg_shdescription"):
			line = "P the scopes?"
		case strings.Contains(line, "DO LANGUAGE plpgsql"):
			line = "P do!"
		case strings.HasPrefix(line, "B Ppgscope") || line[0] == 'B' || line[0] == 'C':
			continue
		}
		got = append(got, line)
	}
	if diff := cmp.Diff(lines, got); diff != "" {
		s.t.Errorf("written (-want +got):\n%s", diff)
	}
	s.toServer.Reset()
	return s
}

// scopes is the server's answer to a survey: database orders with a role and a schema with another.
func scopes(databases ...string) [][4]string {
	rows := [][4]string{
		{"marker", "pgscope_db_orders", ordersMarker, ""},
		{"marker", "pgscope_schema_orders_s", `{"oid":16384,"database":"orders","prefix":"orders","schema":"s","schemaoid":7,"version":1}`, ""},
		{"member", "pgscope_db_orders", "orders_reader", ""},
		{"member", "pgscope_db_orders", "pgscope_schema_orders_s", ""},
		{"member", "pgscope_schema_orders_s", "orders_s_clerk", ""},
	}
	for _, d := range databases {
		rows = append(rows, [4]string{"database", d, map[string]string{"orders": "16384", "work": "16999"}[d], fmt.Sprint(d == "orders")})
	}
	return rows
}

const execute = "E pgscope_question|||||"

func TestDropDatabaseHasAnAftermath(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "DROP DATABASE orders"}, &pgproto3.Query{String: "SELECT 1"})
	s.toServer.Reset()
	s.server(append(names(enrolled...), idle)...).wantsSaid("P the scopes?", execute, "S")
	s.server(append(names(scopes("orders", "work")...), idle)...).wantsSaid("Q DROP DATABASE orders|")
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("DROP DATABASE")}, idle).
		wants(&s.toUser, "C DROP DATABASE|").wantsSaid("P the scopes?", execute, "S")
	s.server(append(names(scopes("work")...), idle)...).wants(&s.toUser).wantsSaid("P do!", execute, "S")
	if s.e.Idle() || !s.e.Waiting() {
		t.Error("idle in the aftermath")
	}
	s.server(names()[:3]...).
		server(&pgproto3.NoticeResponse{Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: "00000", Message: "stays", Where: "PL/pgSQL"}).
		server(append(names()[3:], idle)...).
		wants(&s.toUser, "N SNOTICE|VNOTICE|C00000|Mstays||", "Z I").
		wants(&s.toServer, "Q SELECT 1|")
}

func TestFailedDropHasNone(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "DROP SCHEMA s"})
	s.server(append(names(enrolled...), idle)...)
	s.toServer.Reset()
	s.server(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "3F000", Message: "no"}, idle).
		wants(&s.toUser, "E SERROR|VERROR|C3F000|Mno||", "Z I").wants(&s.toServer)
	if !s.e.Idle() {
		t.Error("not idle")
	}
}

func TestErrorInAnAftermath(t *testing.T) {
	for status, want := range map[byte]string{'I': "N SWARNING|VWARNING|C57014|Mcancelled||", 'T': "E SERROR|VERROR|C57014|Mcancelled||"} {
		s := newTestSession(t, newBook())
		s.e.status = status
		s.client(&pgproto3.Query{String: "DROP SCHEMA s"})
		s.server(append(names(enrolled...), &pgproto3.ReadyForQuery{TxStatus: status})...)
		s.server(&pgproto3.CommandComplete{CommandTag: []byte("DROP SCHEMA")}, &pgproto3.ReadyForQuery{TxStatus: status})
		s.toUser.Reset()
		after := map[byte]byte{'I': 'I', 'T': 'E'}[status]
		s.server(&pgproto3.CloseComplete{}, &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "57014", Message: "cancelled"},
			&pgproto3.ReadyForQuery{TxStatus: after}).wants(&s.toUser, want, fmt.Sprintf("Z %c", after))
		if s.e.Held() {
			t.Error("still held")
		}
	}
}

func TestRenameHasAForeword(t *testing.T) {
	s := newTestSession(t, newBook())
	begin := func() {
		s.client(&pgproto3.Query{String: "ALTER DATABASE orders RENAME TO sales"}, &pgproto3.Query{String: "SELECT 1"})
		s.server(append(names(enrolled...), idle)...)
		s.toServer.Reset()
		s.server(append(names(scopes("orders", "work")...), idle)...)
		sent := describe(t, s.toServer.Bytes())
		s.toServer.Reset()
		if len(sent) != 2 || !strings.HasPrefix(sent[0], "Q DO LANGUAGE plpgsql ") || !strings.HasSuffix(sent[0], "; ALTER DATABASE orders RENAME TO sales|") {
			t.Fatalf("sent %q", sent)
		}
	}
	begin()
	s.server(&pgproto3.NoticeResponse{Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: "00000", Message: "MD5", Where: "PL/pgSQL"},
		&pgproto3.CommandComplete{CommandTag: []byte("DO")}, &pgproto3.CommandComplete{CommandTag: []byte("ALTER DATABASE")}, idle,
		&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle).
		wants(&s.toUser, "N SNOTICE|VNOTICE|C00000|MMD5||", "C ALTER DATABASE|", "Z I", "C SELECT 1|", "Z I")
	begin()
	s.server(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42710", Message: "exists", Where: "PL/pgSQL"}, idle).
		wants(&s.toUser, "E SERROR|VERROR|C42710|Mexists||", "Z I")
}

func TestForewordGoesBeforeExecute(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Parse{Query: "ALTER SCHEMA s RENAME TO x"})
	s.server(append(names(enrolled...), idle)...)
	rows := append(scopes("orders"), [4]string{"schema", "pgscope_schema_orders_s", "s", "7"})
	s.server(append(names(rows...), idle)...)
	s.toServer.Reset()
	s.client(&pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}).wantsSaid("P do!", execute, "H")
	s.server(&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}).wants(&s.toUser, "1", "2")
	s.server(names()...).wants(&s.toServer, "E |||||", "S")
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("ALTER SCHEMA")}, idle).wants(&s.toUser, "C ALTER SCHEMA|", "Z I")
}

// TestManyChanges: what there is much of in a text is not gone through for each of its statements.
func TestManyChanges(t *testing.T) {
	const many = 100
	complete := &pgproto3.CommandComplete{CommandTag: []byte("SET")}
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: strings.Repeat("SET a.b = 1; ", many) + strings.Repeat("ALTER DATABASE work RENAME TO w; ", many)})
	s.server(append(names(enrolled...), idle)...).server(append(names(scopes("work")...), idle)...)
	for range many {
		s.server(complete)
	}
	if len(s.host.vacated) != 1 || len(s.host.forgotten) != 0 {
		t.Errorf("before a database is renamed, %d are vacated and %d forgotten", len(s.host.vacated), len(s.host.forgotten))
	}
	if s.server(idle); len(s.host.forgotten) != 2*many {
		t.Errorf("%d databases are forgotten", len(s.host.forgotten))
	}

	s = newTestSession(t, newBook())
	refused := 0
	s.host.saw = func(r *rewrite.Result) { refused = len(r.Refusals) }
	s.client(&pgproto3.Query{String: strings.Repeat("ALTER DATABASE orders RENAME TO o; ", many) + "GRANT a TO b"})
	s.server(append(names(enrolled...), idle)...).server(append(names(scopes("orders")...), idle)...)
	if refused != 1 {
		t.Errorf("%d statements are refused; the first ends the text", refused)
	}

	var changes []rewrite.Change
	for i := range many {
		changes = append(changes, rewrite.Change{Kind: rewrite.RenameDatabase, Name: fmt.Sprint(i)})
	}
	if list := scopesToAsk(changes, scope.Database{}); len(list) != maxScopes+1 {
		t.Errorf("%d scopes are to be asked about", len(list))
	}
}
