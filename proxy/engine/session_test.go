package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// A case is what the client and the server send, in order, and what the engine writes to each: see
// TestCreateRoleIsHeldAskedAndSent.

// book is a directory that knows what it is told, and is never stale.
type book struct {
	db       scope.Database
	roles    map[scope.Cluster]scope.Short
	stale    bool
	doubtful []scope.Cluster
	known    *Rewritings
}

func newBook() *book {
	db := scope.NewDatabase(16384, "orders", "")
	db.Enrolled = true
	return &book{db: db, roles: map[scope.Cluster]scope.Short{}, known: NewRewritings()}
}

func (b *book) Census() *scope.Census    { return nil }
func (b *book) Database() scope.Database { return b.db }
func (b *book) Prefix() string           { return "" }

func (b *book) Own(c scope.Cluster) (scope.Short, bool) {
	s, ok := b.roles[c]
	return s, ok
}

func (b *book) Stale() bool             { return b.stale }
func (b *book) Rewritings() *Rewritings { return b.known }

func (b *book) Recall(name scope.Short) (*scope.View, scope.Claim) {
	c := scope.Cluster(b.db.Prefix + "_" + string(name))
	if b.roles[c] != name {
		return nil, scope.Claim{}
	}
	v := b.db.View()
	v.Created(c, scope.Own)
	return v, scope.Claim{Marker: b.db.Marker, Role: c}
}

func (b *book) Admit(scope.Cluster, scope.Short)         {}
func (b *book) Admitted(scope.Cluster, scope.Short) bool { return true }
func (b *book) Doubt(q *scope.Inquiry)                   { q.Own = b.stale; q.Ask(b.doubtful...) }
func (b *book) Changed(...scope.Cluster)                 {}
func (b *book) Prepared()                                {}
func (b *book) Committed()                               {}
func (b *book) Columns(int) rewrite.Columns              { return rewrite.Columns{} }
func (b *book) LearnColumns(int, rewrite.Columns)        {}

func (b *book) Learn(v *scope.View) {
	for c, r := range v.Roles() {
		b.roles[c] = r.Name
	}
	b.known = NewRewritings()
}

// host allows everything, and lets a test look and decide otherwise.
type host struct {
	decide func(*policy.Facts, policy.Action) policy.Decision
	saw    func(*rewrite.Result)
	faults []string
	done   func(Statement)
	full   bool // no record can be kept

	vacated, forgotten []string
}

func (h *host) Decide(f *policy.Facts, a policy.Action) policy.Decision {
	if h.decide != nil {
		return h.decide(f, a)
	}
	return policy.Decision{Verdict: policy.Allow}
}

func (h *host) Saw(_ string, r *rewrite.Result) {
	if h.saw != nil {
		h.saw(r)
	}
}

func (h *host) Done(st Statement)                       { h.done(st) }
func (h *host) Room() bool                              { return !h.full }
func (*host) Needs(int, ...policy.Kind) (n policy.Need) { return n }
func (h *host) Failed(fault string)                     { h.faults = append(h.faults, fault) }
func (h *host) Vacate(database string)                  { h.vacated = append(h.vacated, database) }
func (h *host) Forget(database string)                  { h.forgotten = append(h.forgotten, database) }
func (*host) Now() (never time.Time)                    { return never }
func (*host) AccessChanged()                            {}

// session is an engine under test, with what it has written.
type session struct {
	t                *testing.T
	e                *Engine
	host             *host
	toServer, toUser bytes.Buffer
	rest             []byte // of the client's input, not taken yet
	chunk            func(int) int
	written          func() // called after each write; nil for nothing
	waits            bool   // what is to be done apart waits
	apart            func() // … until the test does it
}

func newTestSession(t *testing.T, b *book) *session {
	h := new(host)
	e := New(Config{
		Host: h, Directory: b, Mode: scope.Transparent, MaxMessage: 1 << 20, Login: "postgres", LoginName: "postgres",
	}, StartRole{})
	e.beginning, e.status = nil, wire.TxIdle
	return &session{t: t, e: e, host: h, chunk: func(n int) int { return n }}
}

func (s *session) client(messages ...pgproto3.FrontendMessage) *session {
	s.t.Helper()
	for _, m := range messages {
		b, err := m.Encode(nil)
		if err != nil {
			s.t.Fatal(err)
		}
		s.rest = append(s.rest, b...)
	}
	s.pump()
	return s
}

func (s *session) pump() {
	s.t.Helper()
	for {
		var out Out
		n := s.chunk(len(s.rest))
		taken, err := s.e.Client(s.rest[:n], &out)
		s.rest = s.rest[taken:]
		s.collect(&out)
		if err != nil {
			s.t.Fatal(err)
		}
		if work, _ := s.e.Apart(); work != nil {
			if s.apart = work; s.waits {
				return
			}
			work()
			s.e.Worked()
			continue
		}
		if s.e.Held() || len(s.rest) == 0 {
			return
		}
	}
}

func (s *session) server(messages ...pgproto3.BackendMessage) *session {
	s.t.Helper()
	var in []byte
	for _, m := range messages {
		var err error
		if in, err = m.Encode(in); err != nil {
			s.t.Fatal(err)
		}
	}
	for len(in) > 0 {
		var out Out
		n := s.chunk(len(in))
		err := s.e.Server(in[:n], &out)
		s.collect(&out)
		if err != nil {
			s.t.Fatal(err)
		}
		in = in[n:]
	}
	s.pump()
	return s
}

func (s *session) collect(out *Out) {
	for _, b := range out.Server.Bufs {
		s.toServer.Write(b)
	}
	for _, b := range out.Client.Bufs {
		s.toUser.Write(b)
	}
	if s.written != nil {
		s.written()
	}
}

// wants compares what was written since the last call with lines such as "Q CREATE ROLE x|".
func (s *session) wants(leg *bytes.Buffer, lines ...string) *session {
	s.t.Helper()
	if diff := cmp.Diff(lines, describe(s.t, leg.Bytes())); diff != "" {
		s.t.Errorf("written (-want +got):\n%s", diff)
	}
	leg.Reset()
	return s
}

func describe(t *testing.T, b []byte) []string {
	t.Helper()
	var lines []string
	for len(b) > 0 {
		h, more, err := wire.ParseHeader(b)
		if err != nil || more || len(b) < h.Frame() {
			t.Fatalf("not a message: %q", b)
		}
		body := strings.ReplaceAll(string(b[wire.HeaderSize:h.Frame()]), "\x00", "|")
		if strings.Contains(body, "current_setting") {
			body = "the names?"
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%c %s", h.Type, body)))
		b = b[h.Frame():]
	}
	return lines
}

// question and its answer, in Sync and in Flush mode.
var (
	askSync  = []string{"C Spgscope_question|", "P the names?", "B", "E", "C Ppgscope_question|", "C Spgscope_question|", "S"}
	askFlush = append(slices.Clone(askSync[:6]), "H")
)

// names is the server's answer to a question about names.
func names(rows ...[4]string) []pgproto3.BackendMessage {
	list := []pgproto3.BackendMessage{&pgproto3.CloseComplete{}, &pgproto3.ParseComplete{}, &pgproto3.BindComplete{}}
	for _, r := range rows {
		list = append(list, &pgproto3.DataRow{Values: [][]byte{[]byte(r[0]), []byte(r[1]), []byte(r[2]), []byte(r[3])}})
	}
	return append(list, &pgproto3.CommandComplete{CommandTag: []byte("SELECT")}, &pgproto3.CloseComplete{}, &pgproto3.CloseComplete{})
}

const ordersMarker = `{"oid":16384,"database":"orders","prefix":"orders","version":1}`

var (
	enrolled = [][4]string{{"database", "orders", "16384", ""}, {"marker", "pgscope_db_orders", "16385", ordersMarker}}
	idle     = &pgproto3.ReadyForQuery{TxStatus: 'I'}
)

func (s *session) wantsQuestion(mode []string) *session {
	s.t.Helper()
	got := describe(s.t, s.toServer.Bytes())
	for i := range got {
		if got[i][0] == 'B' || got[i][0] == 'E' {
			got[i] = got[i][:1]
		}
	}
	if diff := cmp.Diff(mode, got); diff != "" {
		s.t.Errorf("question (-want +got):\n%s", diff)
	}
	s.toServer.Reset()
	return s
}
