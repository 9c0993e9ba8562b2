package engine

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

func TestUntouchedStatementsPass(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "SELECT 1"}).wants(&s.toServer, "Q SELECT 1|")
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle).wants(&s.toUser, "C SELECT 1|", "Z I")
	if !s.e.Idle() {
		t.Error("not idle after the answer")
	}
}

func TestCreateRoleIsHeldAskedAndSent(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "CREATE ROLE reader"}).wantsQuestion(askSync)
	if !s.e.Held() {
		t.Fatal("the client is not held")
	}
	s.server(append(names(enrolled...), idle)...).
		wants(&s.toServer, `Q CREATE ROLE "orders_reader" IN ROLE "pgscope_db_orders"|`).
		wants(&s.toUser)
	s.server(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42710", Message: `role "orders_reader" already exists`, Routine: "CreateRole"}, idle).
		wants(&s.toUser, `E SERROR|VERROR|C42710|Mrole "reader" already exists|RCreateRole||`, "Z I")
}

func TestQuestionInPipelineEndsInFlush(t *testing.T) {
	s := newTestSession(t, newBook())
	parse := func(sql string) []pgproto3.FrontendMessage {
		return []pgproto3.FrontendMessage{&pgproto3.Parse{Query: sql}, &pgproto3.Bind{}, &pgproto3.Execute{}}
	}
	s.client(parse("SELECT 1")...)
	s.toServer.Reset()
	s.client(append(parse("DROP ROLE reader"), &pgproto3.Sync{})...).wantsQuestion(askFlush)
	s.server(&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}).
		wants(&s.toUser, "1", "2", "C SELECT 1|")
	s.server(names(enrolled...)...).wants(&s.toUser).
		wants(&s.toServer, `P |DROP ROLE "orders_reader"|||`, "B ||||||||", "E |||||", "S")
	if s.e.pending.n != 4 {
		t.Errorf("%d answers awaited", s.e.pending.n)
	}
}

// TestDeallocatingIsNotAskedAbout: it goes as it is whatever roles are called, and behind a question in the same pipeline
// the server would not take DISCARD ALL.
func TestDeallocatingIsNotAskedAbout(t *testing.T) {
	for _, sql := range []string{"DEALLOCATE q", "DEALLOCATE ALL", "SELECT 1; DEALLOCATE q", "DISCARD ALL"} {
		s := newTestSession(t, newBook())
		s.client(&pgproto3.Parse{Name: "q", Query: "CREATE ROLE reader"}, &pgproto3.Bind{PreparedStatement: "q"}, &pgproto3.Execute{})
		s.server(append(names(enrolled...), idle)...)
		s.toServer.Reset()
		s.client(&pgproto3.Query{String: sql}).wants(&s.toServer, "Q "+sql+"|")
	}
}

func TestErrorBeforeTheQuestionDropsTheStatement(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Parse{Query: "SELECT nosuch"}, &pgproto3.Parse{Name: "r", Query: "DROP ROLE reader"}, &pgproto3.Execute{}, &pgproto3.Sync{})
	s.toServer.Reset()
	failed := &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "42703", Message: "no"}
	s.server(failed).wants(&s.toUser, "E SERROR|VERROR|C42703|Mno||").wants(&s.toServer, "S")
	s.server(idle).wants(&s.toUser, "Z I")
	if s.e.Waiting() {
		t.Error("still waiting")
	}
}

func TestRefusalTakesThePlaceOfTheServersError(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "SELECT 1; CREATE ROLE pg_mine"}).wantsQuestion(askSync)
	s.server(append(names(enrolled...), idle)...).
		wants(&s.toServer, "Q SELECT 1; SELECT pg_catalog.pgscope_refused_0()|")
	s.server(
		&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")},
		&pgproto3.ErrorResponse{Severity: "FEHLER", SeverityUnlocalized: "ERROR", Code: "42883", Message: "Funktion pg_catalog.pgscope_refused_0() existiert nicht", Position: 18},
		idle,
	).wants(&s.toUser, "C SELECT 1|",
		`E SFEHLER|VERROR|C42939|Mrole name "pg_mine" is reserved|DRole names starting with "pg_" are reserved.||`, "Z I")
}

func TestFaultRefusesTheStatement(t *testing.T) {
	s := newTestSession(t, newBook())
	s.host.decide = func(*policy.Facts, policy.Action) policy.Decision { panic("a fault") }
	s.client(&pgproto3.Query{String: "SELECT 1; CREATE ROLE reader"}).wantsQuestion(askSync)
	s.server(append(names(enrolled...), idle)...).
		wants(&s.toServer, "Q SELECT 1; SELECT pg_catalog.pgscope_refused_0()|")
	if len(s.host.faults) != 1 || !strings.HasPrefix(s.host.faults[0], "panic: a fault\n") {
		t.Errorf("told of %q", s.host.faults)
	}
}

func TestOtherErrorsOfARefusedStatementPass(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "CREATE ROLE pg_mine"})
	s.server(append(names(enrolled...), &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
	s.server(&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "57014", Message: "canceling statement due to user request"}, idle).
		wants(&s.toUser, "E SERROR|VERROR|C57014|Mcanceling statement due to user request||", "Z I")
}

func TestFailedQuestionIsTheAnswer(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "DROP ROLE reader"})
	s.toServer.Reset()
	aborted := &pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "25P02", Message: "aborted"}
	failed := &pgproto3.ReadyForQuery{TxStatus: 'E'}
	s.server(&pgproto3.CloseComplete{}, aborted, failed).
		wants(&s.toUser).
		wants(&s.toServer, "Q SELECT pg_catalog.pgscope_refused_0()|")
	s.server(aborted, failed).wants(&s.toUser, "E SERROR|VERROR|C25P02|Maborted||", "Z E")
}

func TestCopyInIgnoresSync(t *testing.T) {
	s := newTestSession(t, newBook())
	// As libpq's PQexecParams does: Sync before it knows that the statement is a COPY, and again behind CopyDone.
	s.client(&pgproto3.Parse{Query: "COPY t FROM STDIN"}, &pgproto3.Bind{}, &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{})
	s.server(&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.NoData{}, &pgproto3.CopyInResponse{})
	s.client(&pgproto3.CopyData{Data: []byte("1\n")}, &pgproto3.CopyDone{}, &pgproto3.Sync{})
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("COPY 1")}, idle)
	if !s.e.Idle() {
		t.Errorf("%d answers awaited after COPY", s.e.pending.n)
	}
}

// TestManyCopies: for each COPY of a pipeline the answers behind it stay where they are.
func TestManyCopies(t *testing.T) {
	var p pending
	for range 1000 {
		p.push(readyQuery, nil)
		p.push(copyEnded, nil)
	}
	for p.n > 2 {
		last := p.at(p.n - 1)
		p.copying()
		p.ready(true)
		if p.at(p.n-1) != last {
			t.Fatalf("with %d answers awaited, the last was moved", p.n)
		}
	}
}

// TestManySyncsInACopy: as many as a client may run ahead of the server.
func TestManySyncsInACopy(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "COPY t FROM STDIN"}).server(&pgproto3.CopyInResponse{})
	sync := wire.AppendHeader(nil, wire.Sync, 0)
	var out Out
	if _, err := s.e.Client(bytes.Repeat(sync, maxAwaited), &out); err != nil {
		t.Fatal(err)
	}
	if _, err := s.e.Client(sync, &out); err == nil {
		t.Error("one more is noted")
	}
}

// TestTextsAheadAreBounded: texts are kept until they are answered. A client that has sent enough of them is held until it is,
// and the server, which may keep its answers up to the next Sync, is asked for them.
func TestTextsAheadAreBounded(t *testing.T) {
	s := newTestSession(t, newBook())
	text := "DEALLOCATE a /*" + strings.Repeat("x", 1<<16) + "*/"
	n := 0
	for ; !s.e.Held() && n < 10*maxAwaitedSize/len(text); n++ {
		s.toServer.Reset()
		s.client(&pgproto3.Parse{Name: "a", Query: text})
	}
	if s.e.pending.size > maxAwaitedSize+len(text) || !s.e.Held() {
		t.Fatalf("%d bytes are kept of %d texts", s.e.pending.size, n)
	}
	s.wants(&s.toServer, "H")
	s.server(&pgproto3.ParseComplete{})
	if s.e.Held() || s.e.pending.n != n-1 {
		t.Errorf("%d of %d texts are sent, and the client is held", s.e.pending.n, n)
	}
	for range n - 1 {
		s.server(&pgproto3.ParseComplete{})
	}
	if s.e.pending.size != 0 || s.e.pending.n != 0 {
		t.Errorf("%d bytes are kept of %d texts", s.e.pending.size, s.e.pending.n)
	}
}

func TestStartAsksForTheDirectory(t *testing.T) {
	b := newBook()
	b.stale = true
	s := newTestSession(t, b)
	s.e.beginning = new(beginning)
	s.server(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 2}}, idle).
		wants(&s.toUser, "K |||\x01|||\x02").
		wantsQuestion(askSync)
	rows := append(slices.Clone(enrolled), [4]string{"own", "orders_reader", "true", "pgscope_db_orders"},
		[4]string{"role", "postgres", "true", ""})
	s.server(append(names(rows...), idle)...).wants(&s.toUser, "Z I")
	if !s.e.Started() || b.roles["orders_reader"] != "reader" {
		t.Error("the directory was not learned")
	}
}

func TestParameterStatusShowsTheShortName(t *testing.T) {
	b := newBook()
	b.roles["orders_reader"] = "reader"
	s := newTestSession(t, b)
	s.server(&pgproto3.ParameterStatus{Name: "session_authorization", Value: "orders_reader"}).
		wants(&s.toUser, "S session_authorization|reader|")
}

func TestViolationsEndTheSession(t *testing.T) {
	for name, in := range map[string]string{
		"unknown type":        "y\x00\x00\x00\x04",
		"password afterwards": "p\x00\x00\x00\x05\x00",
		"lying length":        "Q\x00\x00\x00\x03",
		"4 GB":                "d\xff\xff\xff\xff",
		"no terminator":       "Q\x00\x00\x00\x05x",
		"two strings":         "Q\x00\x00\x00\x08a\x00b\x00",
	} {
		t.Run(name, func(t *testing.T) {
			var out Out
			if _, err := newTestSession(t, newBook()).e.Client([]byte(in), &out); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// TestAnswersAreBounded: what the server says to the proxy's own question is kept until it is there whole.
func TestAnswersAreBounded(t *testing.T) {
	s := newTestSession(t, newBook())
	s.client(&pgproto3.Query{String: "CREATE ROLE reader"}).wantsQuestion(askSync)
	var out Out
	if err := s.e.Server(wire.AppendHeader(nil, wire.DataRow, maxAnswer+1), &out); err == nil {
		t.Error("a row of more than an answer may have is waited for")
	}
}

// conversation has something of everything, for tests that vary how it is cut.
func conversation(s *session) {
	s.client(&pgproto3.Query{String: "SELECT 1"}, &pgproto3.Query{String: "GRANT reader TO postgres"}, &pgproto3.Query{String: "SELECT 2"})
	s.server(&pgproto3.RowDescription{}, &pgproto3.DataRow{Values: [][]byte{bytes.Repeat([]byte("x"), 9000)}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle)
	s.server(append(names(append(slices.Clone(enrolled), [4]string{"role", "postgres", "true", ""})...), idle)...)
	s.server(&pgproto3.NoticeResponse{Severity: "NOTICE", Code: "00000", Message: `role "orders_reader"`}, &pgproto3.CommandComplete{CommandTag: []byte("GRANT ROLE")}, idle)
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle)
	s.client(&pgproto3.Parse{Query: "SET ROLE reader"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Flush{}, &pgproto3.Sync{}, &pgproto3.Terminate{})
	s.server(append(names(enrolled...), idle)...)
	s.server(&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("SET")}, idle)
}

// TestChunks checks that what is written does not depend on how the bytes arrive.
func TestChunks(t *testing.T) {
	whole := newTestSession(t, newBook())
	conversation(whole)
	for seed := range uint64(200) {
		s := newTestSession(t, newBook())
		r := rand.New(rand.NewPCG(seed, 0))
		s.chunk = func(n int) int { return min(n, 1+r.IntN(1+r.IntN(40))) }
		conversation(s)
		if diff := cmp.Diff(whole.toServer.String(), s.toServer.String()); diff != "" {
			t.Fatalf("to the server, seed %d:\n%s", seed, diff)
		}
		if diff := cmp.Diff(whole.toUser.String(), s.toUser.String()); diff != "" {
			t.Fatalf("to the client, seed %d:\n%s", seed, diff)
		}
	}
}

// TestBoundaries: a message of the proxy may be put wherever what was written before it are whole messages, and nowhere
// else.
func TestBoundaries(t *testing.T) {
	s := newTestSession(t, newBook())
	s.chunk = func(n int) int { return min(n, 1) }
	whole := func(b []byte) bool {
		for len(b) > 0 {
			h, more, err := wire.ParseHeader(b)
			if err != nil || more || len(b) < h.Frame() {
				return false
			}
			b = b[h.Frame():]
		}
		return true
	}
	s.written = func() {
		if got, want := s.e.ClientAtBoundary(), whole(s.toUser.Bytes()); got != want {
			t.Fatalf("client at a boundary: %v, want %v after %q", got, want, s.toUser.Bytes())
		}
		if got, want := s.e.ServerAtBoundary(), whole(s.toServer.Bytes()); got != want {
			t.Fatalf("server at a boundary: %v, want %v after %q", got, want, s.toServer.Bytes())
		}
	}
	conversation(s)
}
