package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"
)

// newLongSession is a session all of whose texts are long. What is to be done apart waits until finish.
func newLongSession(t *testing.T) *session {
	s := newTestSession(t, newBook())
	s.e.cfg.LongText, s.waits = 1, true
	return s
}

// finish does what is to be done apart.
func (s *session) finish() *session {
	s.t.Helper()
	again, _ := s.e.Apart()
	if s.apart == nil || again != nil || !s.e.Held() || s.e.Idle() {
		s.t.Fatal("nothing is to be done, or twice, or nobody waits for it")
	}
	work := s.apart
	s.apart = nil
	work()
	s.e.Worked()
	s.pump()
	return s
}

// TestApartIsTheSame: whether a text is read apart, nobody can tell by what is written.
func TestApartIsTheSame(t *testing.T) {
	want, got := newTestSession(t, newBook()), newTestSession(t, newBook())
	got.e.cfg.LongText = 1
	conversation(want)
	conversation(got)
	if diff := cmp.Diff(want.toServer.String(), got.toServer.String()); diff != "" {
		t.Errorf("to the server (-at once +apart):\n%s", diff)
	}
	if diff := cmp.Diff(want.toUser.String(), got.toUser.String()); diff != "" {
		t.Errorf("to the client (-at once +apart):\n%s", diff)
	}
	if got.apart == nil {
		t.Error("nothing was done apart")
	}
}

// TestLongTextWaits: until it is read, nothing of it or behind it goes to the server, whose words pass; and again until
// it is mapped.
func TestLongTextWaits(t *testing.T) {
	s := newLongSession(t)
	s.client(&pgproto3.Query{String: "GRANT a TO b"}, &pgproto3.Query{String: "SELECT 1"}).wants(&s.toServer)
	s.server(&pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}).wants(&s.toUser, "S TimeZone|UTC|").wants(&s.toServer)
	s.finish().wantsQuestion(askSync)
	s.server(append(names(enrolled...), idle)...).wants(&s.toServer)
	s.finish().wants(&s.toServer, `Q GRANT "orders_a" TO "orders_b"|`, "Q SELECT 1|").wants(&s.toUser)
}

// TestLongTextBehindAnError: what the server discards is not asked about either.
func TestLongTextBehindAnError(t *testing.T) {
	s := newLongSession(t)
	s.client(&pgproto3.Parse{Query: "SELECT 1"}, &pgproto3.Parse{Query: "GRANT a TO b"}, &pgproto3.Sync{}).wants(&s.toServer, "P |SELECT 1|||")
	s.server(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42703", Message: "no"}).
		wants(&s.toUser, "E SERROR|VERROR|C42703|Mno||")
	s.finish().wants(&s.toServer, "S")
	s.server(idle).wants(&s.toUser, "Z I")
	if s.e.Held() || !s.e.Idle() {
		t.Error("still waiting")
	}
}

// TestCanceledLongText: the server does not know it, so it could not be cancelled there. It fails as others do.
func TestCanceledLongText(t *testing.T) {
	s := newLongSession(t)
	records := s.watch()
	s.client(&pgproto3.Query{String: "GRANT a TO b"})
	s.e.Cancel()
	s.finish().wants(&s.toServer)
	s.finish().wants(&s.toServer, "Q SELECT pg_catalog.pgscope_refused_0()|")
	s.server(&pgproto3.ErrorResponse{
		Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42883", Message: "function pg_catalog.pgscope_refused_0() does not exist",
	}, idle).wants(&s.toUser, "E SERROR|VERROR|C57014|Mcanceling statement due to user request||", "Z I")
	if diff := cmp.Diff([]string{"57014: GRANT a TO b → "}, *records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// TestCancelOfWhatTheServerDoes: that is for the server to cancel, and not what waits behind it.
func TestCancelOfWhatTheServerDoes(t *testing.T) {
	s := newLongSession(t)
	s.client(&pgproto3.Query{String: "SELECT 1"}, &pgproto3.Query{String: "GRANT a TO b"}).wants(&s.toServer, "Q SELECT 1|")
	s.e.Cancel()
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle)
	s.finish().wantsQuestion(askSync)
}

// TestLongTextThatCannotBeRead: to tell what is a secret in it is done apart too.
func TestLongTextThatCannotBeRead(t *testing.T) {
	s := newLongSession(t)
	s.e.options.ServerVersion = 150000 // which reads no more than the parser
	records := s.watch()
	s.client(&pgproto3.Query{String: "GRANT a TO"}).finish().wants(&s.toServer)
	if len(*records) > 0 {
		t.Error("a record of what has not happened")
	}
	s.finish()
	if got := describe(t, s.toServer.Bytes()); len(got) != 1 {
		t.Errorf("sent %q", got)
	}
}
