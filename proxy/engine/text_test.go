package engine

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

func row(values ...string) *pgproto3.DataRow {
	r := &pgproto3.DataRow{}
	for _, v := range values {
		r.Values = append(r.Values, []byte(v))
	}
	return r
}

// answered is the server's answer to a question of the proxy.
func answered(rows ...*pgproto3.DataRow) []pgproto3.BackendMessage {
	list := []pgproto3.BackendMessage{&pgproto3.CloseComplete{}, &pgproto3.ParseComplete{}, &pgproto3.BindComplete{}}
	for _, r := range rows {
		list = append(list, r)
	}
	return append(list, &pgproto3.CommandComplete{CommandTag: []byte("SELECT")}, &pgproto3.CloseComplete{}, &pgproto3.CloseComplete{})
}

func TestTextInACharset(t *testing.T) {
	s := newTestSession(t, newBook())
	s.server(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "LATIN1"})
	s.toUser.Reset()
	s.client(&pgproto3.Query{String: "DROP ROLE \"\xe9\""})
	if !slices.ContainsFunc(describe(t, s.toServer.Bytes()), func(line string) bool {
		return line[0] == 'B' && len(line) > 20 && slices.Contains([]byte(line), 0xe9)
	}) {
		t.Errorf("the question is not in the client's character set: %q", s.toServer.Bytes())
	}
	s.toServer.Reset()
	role := [4]string{"role", "orders_\xe9", "true", `[["pgscope_db_orders", null]]`}
	s.server(append(names(append(slices.Clone(enrolled), role)...), idle)...).
		wants(&s.toServer, "Q DROP ROLE \"orders_\xe9\"|")
	s.server(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "2BP01", Message: "role \"orders_\xe9\" cannot be dropped", Routine: "DropRole"}, idle).
		wants(&s.toUser, "E SERROR|VERROR|C2BP01|Mrole \"\xe9\" cannot be dropped|RDropRole||", "Z I")
}

func TestSettingsAreAskedForInAPipeline(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Parse{Query: "SELECT 1"})
	s.toServer.Reset()
	s.client(&pgproto3.Parse{Query: `COMMENT ON ROLE x IS '\'; DROP ROLE y; --'`}, &pgproto3.Sync{}).wantsQuestion(askFlush)
	s.server(&pgproto3.ParseComplete{}).wants(&s.toUser, "1")
	// With escapes in plain strings the DROP ROLE is in a string.
	s.server(answered(row("UTF8", "UTF8", "off"))...).wantsQuestion(askFlush)
	s.server(names(enrolled...)...).
		wants(&s.toServer, `P |COMMENT ON ROLE "orders_x" IS '\'; DROP ROLE y; --'|||`, "S")
}

func TestNoticesComeWithTheFirstAnswer(t *testing.T) {
	s := newTestSession(t, newBook())
	const sql = "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'GRANT a TO b'"
	s.client(&pgproto3.Query{String: "SELECT 1"}, &pgproto3.Query{String: sql})
	s.toServer.Reset()
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle).wants(&s.toUser, "C SELECT 1|", "Z I")
	s.server(append(names(enrolled...), idle)...).wants(&s.toServer, "Q "+sql+"|").wants(&s.toUser)
	s.server(&pgproto3.ParameterStatus{Name: "x", Value: "y"}).wants(&s.toUser, "S x|y|")
	const notice = "N SNOTICE|VNOTICE|C00000|Mrole names in the body of a function are not mapped|DLine 1: GRANT.|" +
		"HThey are those of the whole cluster: write them there as the server has them, with the database's prefix.|P51||"
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("CREATE FUNCTION")}, idle).
		wants(&s.toUser, notice, "C CREATE FUNCTION|", "Z I")
}

func TestFunctionsThatTakeRolesAreNotCalledByOID(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.FunctionCall{Function: 2705}).wants(&s.toServer, "Q SELECT pg_catalog.pgscope_refused_0()|")
	failed := &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42883", Message: "function pg_catalog.pgscope_refused_0() does not exist"}
	s.server(failed, idle).wants(&s.toUser,
		`E SERROR|VERROR|C0A000|Mfunction "pg_has_role" cannot be called by its OID|HCall it in a SELECT.||`, "Z I")
	s.client(&pgproto3.FunctionCall{Function: 1397})
	if s.toServer.Bytes()[0] != wire.FunctionCall {
		t.Errorf("sent %q", s.toServer.Bytes())
	}
	s.server(&pgproto3.FunctionCallResponse{Result: []byte("7")}, idle)
	if !s.e.Idle() {
		t.Error("not idle after the answers")
	}
	var out Out
	if _, err := s.e.Client([]byte("F\x00\x00\x00\x06\x00\x00"), &out); err == nil {
		t.Error("a call without an OID is taken")
	}
}

func TestStartRoleIsSetFirst(t *testing.T) {
	begin := func(start StartRole) *session {
		s := newTestSession(t, newBook())
		s.e.beginning = &beginning{role: start.read()}
		s.server(idle).wantsQuestion(askSync)
		return s
	}
	own := append(slices.Clone(enrolled), [4]string{"role", "orders_x", "true", `[["pgscope_db_orders", ""]]`},
		[4]string{"role", "postgres", "true", ""}, [4]string{"role", "billing_x", "true", `[["pgscope_db_billing", "{\"oid\":1,\"database\":\"billing\",\"prefix\":\"billing\",\"version\":1}"]]`})
	failure := func(s *session, messages []pgproto3.BackendMessage) (report scope.Error) {
		t.Helper()
		var in []byte
		for _, m := range messages {
			var err error
			if in, err = m.Encode(in); err != nil {
				t.Fatal(err)
			}
		}
		var failed *Error
		if err := s.e.Server(in, &Out{}); !errors.As(err, &failed) {
			t.Fatalf("the session goes on: %v", err)
		}
		return failed.Report
	}

	t.Run("set", func(t *testing.T) {
		s := begin(StartRole{Role: "x", Set: true})
		s.server(append(names(own...), idle)...).wants(&s.toUser)
		if got := describe(t, s.toServer.Bytes()); len(got) != 7 || got[1] != "P pgscope_question|SET role TO 'orders_x'|||" {
			t.Errorf("sent %q", got)
		}
		if s.e.Started() {
			t.Error("started before the role is set")
		}
		s.server(append(answered(), idle)...).wants(&s.toUser, "Z I")
	})
	t.Run("failed", func(t *testing.T) {
		s := begin(StartRole{Role: "x", Set: true})
		s.server(append(names(own...), idle)...)
		refused := &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "22023", Message: `role "orders_x" does not exist`, Routine: "call_string_check_hook"}
		if got := failure(s, []pgproto3.BackendMessage{&pgproto3.CloseComplete{}, &pgproto3.ParseComplete{}, refused, idle}); got.Code != "22023" || got.Message != `role "x" does not exist` {
			t.Errorf("a role that does not exist: the client is told %+v", got)
		}
	})
	t.Run("authorization", func(t *testing.T) {
		s := begin(StartRole{Authorization: "x", Authorized: true})
		s.server(append(names(own...), idle)...).wants(&s.toUser, "Z I")
		s = begin(StartRole{Authorization: "billing_x", Authorized: true})
		if got := failure(s, append(names(own...), idle)); got.Message != `role "billing_x" does not exist` {
			t.Errorf("a session_authorization of another database: the client is told %+v", got)
		}
	})
	t.Run("unanswered", func(t *testing.T) {
		s := begin(StartRole{Role: "x", Set: true})
		refused := &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "57014", Message: "canceled"}
		if got := failure(s, []pgproto3.BackendMessage{&pgproto3.CloseComplete{}, refused, idle}); got.Code != "57014" {
			t.Errorf("another error of the server: the client is told %+v", got)
		}
	})
}
