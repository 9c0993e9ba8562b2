package engine

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// refusedByServer is what the server says of a statement that stands for a refused one.
var refusedByServer = &pgproto3.ErrorResponse{
	Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42883", Message: "function pg_catalog.pgscope_refused_0() does not exist",
}

// watch collects the records of a session.
func (s *session) watch() *[]string {
	var list []string
	s.e.cfg.Recorded = true
	s.host.done = func(st Statement) {
		list = append(list, fmt.Sprintf("%s: %s → %s", st.Result, st.Written, st.Sent))
	}
	return &list
}

func TestNoStatementWithoutARecord(t *testing.T) {
	s := newTestSession(t, newBook())
	records := s.watch()
	s.host.full = true
	s.client(&pgproto3.Query{String: "DROP ROLE a"}).wantsQuestion(askSync)
	s.server(append(names(enrolled...), idle)...).wants(&s.toServer, "Q SELECT pg_catalog.pgscope_refused_0()|")
	s.server(refusedByServer, idle).wants(&s.toUser,
		"E SERROR|VERROR|C53000|Mthe audit log cannot keep up|DNo role statement runs without a record of it.|"+
			"HTry again. If it stays so, see the proxy's log: the audit log cannot be written, perhaps.||", "Z I")
	s.client(&pgproto3.Query{String: "SELECT 1"}).wants(&s.toServer, "Q SELECT 1|")
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle)
	s.host.full = false
	s.client(&pgproto3.Query{String: "DROP ROLE a"})
	s.server(append(names(enrolled...), idle)...)
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("DROP ROLE")}, idle)
	if diff := cmp.Diff([]string{"53000: DROP ROLE a → ", `00000: DROP ROLE a → DROP ROLE "orders_a"`}, *records); diff != "" {
		t.Errorf("records (-want +got)\n%s", diff)
	}
}

// TestEachStatementOfATextHasARecord, without what stands between them; of very many there is one.
func TestEachStatementOfATextHasARecord(t *testing.T) {
	s := newTestSession(t, newBook())
	records := s.watch()
	s.client(&pgproto3.Query{String: "DROP ROLE a /* and */ ; SELECT 1; GRANT SELECT ON t TO a"})
	s.server(append(names(enrolled...), idle)...)
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("DROP ROLE")}, idle)
	many := strings.Repeat("DROP ROLE a;", maxRecords+1)
	s.client(&pgproto3.Query{String: many})
	s.server(append(names(enrolled...), idle)...)
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("DROP ROLE")}, idle)
	if diff := cmp.Diff([]string{
		`00000: DROP ROLE a → DROP ROLE "orders_a"`, `00000: GRANT SELECT ON t TO a → GRANT SELECT ON t TO "orders_a"`,
		"00000: " + many + " → " + strings.Repeat(`DROP ROLE "orders_a";`, maxRecords+1),
	}, *records); diff != "" {
		t.Errorf("records (-want +got)\n%s", diff)
	}
}

// TestPreparedIsAskedAboutAgain: each Execute is one more decision, and one more record.
func TestPreparedIsAskedAboutAgain(t *testing.T) {
	s := newTestSession(t, newBook())
	records, denied := s.watch(), false
	s.host.decide = func(*policy.Facts, policy.Action) policy.Decision {
		if denied {
			return policy.Decision{Verdict: policy.Deny, Err: &scope.Error{Code: "42501", Message: "no"}}
		}
		return policy.Decision{Verdict: policy.Allow}
	}
	s.client(&pgproto3.Parse{Name: "s", Query: "DROP ROLE a"}, &pgproto3.Sync{})
	s.server(append(names(enrolled...), idle)...)
	s.server(&pgproto3.ParseComplete{}, idle)
	s.toServer.Reset()
	s.toUser.Reset()
	run := []pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, &pgproto3.Sync{}}
	s.client(run...).wants(&s.toServer, "B |s|||||||", "E |||||", "S")
	s.server(&pgproto3.BindComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("DROP ROLE")}, idle).wants(&s.toUser, "2", "C DROP ROLE|", "Z I")
	denied = true
	s.client(run...).wants(&s.toServer, "B |s|||||||", "P pgscope_question|SELECT pg_catalog.pgscope_refused_0()|||", "S")
	s.server(&pgproto3.BindComplete{}, refusedByServer, idle).wants(&s.toUser, "2", "E SERROR|VERROR|C42501|Mno||", "Z I")
	if diff := cmp.Diff([]string{`00000: DROP ROLE a → DROP ROLE "orders_a"`, "42501: DROP ROLE a → "}, *records); diff != "" {
		t.Errorf("records (-want +got)\n%s", diff)
	}
	if s.e.Waiting() {
		t.Error("still waiting")
	}
}

// TestTooManyPrepared: a statement that could not be remembered could be executed without a decision and a record.
func TestTooManyPrepared(t *testing.T) {
	for _, c := range []struct {
		sql  string
		most int // such statements
	}{
		{"DROP ROLE a", maxPrepared},
		{"DROP ROLE a -- " + strings.Repeat("x", maxPreparedSize/8), 4}, // as it was written, and as it is sent
	} {
		s := newTestSession(t, newBook())
		prepare := func(name string) *session {
			s.client(&pgproto3.Parse{Name: name, Query: c.sql}, &pgproto3.Sync{})
			s.toServer.Reset()
			s.server(append(names(enrolled...), idle)...)
			return s
		}
		refused := func(name string) {
			t.Helper()
			prepare(name).wants(&s.toServer, "P "+name+"|SELECT pg_catalog.pgscope_refused_0()|||", "S").server(refusedByServer, idle)
		}
		for i := range c.most - 1 {
			prepare(fmt.Sprint(i)).server(&pgproto3.ParseComplete{}, idle)
		}
		for range 2 { // the unnamed one takes the place of the one before it
			prepare("").server(&pgproto3.ParseComplete{}, idle)
		}
		refused("more")
		taken := func(name string) {
			t.Helper()
			prepare(name).server(&pgproto3.ParseComplete{}, idle)
			if got := describe(t, s.toServer.Bytes()); !strings.HasPrefix(got[0], "P "+name+`|DROP ROLE "orders_a"`) {
				t.Errorf("%q", got)
			}
		}
		s.client(&pgproto3.Close{ObjectType: 'S', Name: "0"}, &pgproto3.Sync{})
		s.server(&pgproto3.CloseComplete{}, idle)
		taken("more")
		refused("again")
		s.client(&pgproto3.Query{String: `DEALLOCATE "1"`}).server(&pgproto3.CommandComplete{CommandTag: []byte("DEALLOCATE")}, idle)
		taken("again")
		refused("once more")
		if n := len(s.e.prepared.statements.known); n != c.most {
			t.Errorf("%d are remembered, want %d", n, c.most)
		}
	}
}

// TestAbandonedStatements: what was sent and not answered has a record without a result; what was only prepared has none.
func TestAbandonedStatements(t *testing.T) {
	s := newTestSession(t, newBook())
	records := s.watch()
	s.client(&pgproto3.Parse{Query: "DROP ROLE a"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{})
	s.server(append(names(enrolled...), idle)...)
	s.e.Abandon()
	if diff := cmp.Diff([]string{`: DROP ROLE a → DROP ROLE "orders_a"`}, *records); diff != "" {
		t.Errorf("records (-want +got)\n%s", diff)
	}
}

// TestWantsAheadAreBounded: each Execute of a statement about many roles is decided about again, and has a record of all of
// them. A client cannot have more of these at a time than of texts.
func TestWantsAheadAreBounded(t *testing.T) {
	const many = 1000
	s := newTestSession(t, newBook())
	decided := 0
	s.host.decide = func(*policy.Facts, policy.Action) (d policy.Decision) { decided++; return d }
	s.client(&pgproto3.Parse{Name: "a", Query: "GRANT x TO y" + strings.Repeat(", y", many-1)}, &pgproto3.Sync{})
	role := func(name string) [4]string {
		return [4]string{"role", name, "false", `[["pgscope_db_orders", "", null]]`}
	}
	s.server(append(names(append(enrolled, role("orders_x"), role("orders_y"))...), idle)...).server(&pgproto3.ParseComplete{}, idle)
	s.client(&pgproto3.Bind{PreparedStatement: "a"})
	decided = 0
	for range many {
		s.client(&pgproto3.Execute{})
	}
	if most := maxAwaitedSize/int(unsafe.Sizeof(Want{})) + many; decided < many || decided > most || !s.e.Held() {
		t.Errorf("%d actions are decided about at a time; at most %d are to be", decided, most)
	}
}
