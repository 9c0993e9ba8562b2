package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// faulty is a directory with a fault.
type faulty struct{ unscoped }

func (faulty) Stale() bool { panic("a fault") }

// TestFaultEndsItsSession: a panic in the engine is the end of one session, and its client is told.
func TestFaultEndsItsSession(t *testing.T) {
	client, far := net.Pipe()
	defer func() { _ = errors.Join(client.Close(), far.Close()) }()
	r := newBlocking(nil, client, client, engine.New(engine.Config{Directory: faulty{}, MaxMessage: 1 << 10}, engine.StartRole{}))
	var out engine.Out
	err := r.feedServer(append(wire.AppendHeader(nil, wire.ReadyForQuery, 1), wire.TxIdle), &out)
	var fault *panicked
	if !errors.As(err, &fault) || len(fault.stack) == 0 {
		t.Fatalf("error %v", err)
	}
	r.finish(ending{byServer, err})
	if told := lastError(r.relay); told == nil || told.Code != codeInternalError || told.Severity != wire.SeverityFatal {
		t.Errorf("the client is told %+v", told)
	}
}

// atRest is an engine whose server has begun the session and waits.
func atRest(t *testing.T) *engine.Engine {
	t.Helper()
	var out engine.Out
	e := engine.New(engine.Config{Directory: unscoped{}, MaxMessage: 1 << 10}, engine.StartRole{})
	if err := e.Server(append(wire.AppendHeader(nil, wire.ReadyForQuery, 1), wire.TxIdle), &out); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestLastWordsComeLast: what the client has not taken of its answer comes before the reason why its session is over.
func TestLastWordsComeLast(t *testing.T) {
	client, user := net.Pipe()
	server, backend := net.Pipe()
	defer func() { _ = errors.Join(client.Close(), server.Close()) }()
	e := atRest(t)
	r := newBlocking(nil, client, server, e).relay
	r.end, r.unsent = ending{side: byShutdown}, []byte("the rest of an answer")
	go func() {
		new(session).farewell(t.Context(), r)
		_ = client.Close()
	}()
	go func() { _, _ = io.Copy(io.Discard, backend) }()
	want := wire.AppendError(r.unsent, wire.Fields{Severity: wire.SeverityFatal, Code: stopping().Code, Message: stopping().Message})
	if heard, err := io.ReadAll(user); err != nil || !bytes.Equal(heard, want) {
		t.Errorf("the client hears %q, %v, want %q", heard, err, want)
	}
}

// TestReadingIsNoRest: the time of a client that rests begins when it has taken its answer.
func TestReadingIsNoRest(t *testing.T) {
	client, far := net.Pipe()
	defer func() { _ = errors.Join(client.Close(), far.Close()) }()
	e := atRest(t)
	r := newBlocking(nil, client, client, e).relay
	at := time.Now()
	later := func() bool {
		at = at.Add(time.Hour)
		r.expire(at, Timeouts{Idle: time.Hour})
		return r.ended.Load()
	}
	for _, behind := range []bool{true, true, true, false} {
		if r.noteBehind(behind); later() {
			t.Fatalf("ended, and the client was behind: %v", behind)
		}
	}
	if !later() {
		t.Error("not ended after an hour")
	}
}

// TestFaultAtTheEndEndsItsSession: nor is a panic while a session ends that of others. Where the engine has had a fault
// before, it is likely.
func TestFaultAtTheEndEndsItsSession(t *testing.T) {
	upstream, err := NewUpstream("host=127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	logged, logs := observer.New(zap.ErrorLevel)
	srv, err := New(Options{Upstream: upstream, Settings: Settings{Policy: policy.Default()}, Log: zap.New(logged)})
	if err != nil {
		t.Fatal(err)
	}
	client, user := net.Pipe()
	server, backend := net.Pipe()
	s, _ := srv.enter(t.Context(), client)
	s.relay = newBlocking(s, client, server, nil).relay // without an engine, it fails at once
	s.relayed(t.Context())
	for _, far := range []net.Conn{user, backend} {
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a connection of the session is open: %v", err)
		}
	}
	if len(srv.sessions) > 0 || logs.FilterMessage("the proxy failed").Len() != 1 {
		t.Errorf("%d sessions, the log has %v", len(srv.sessions), logs.All())
	}
}
