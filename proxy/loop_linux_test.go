package proxy

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// pair returns the two ends of a connection.
func pair(t *testing.T) (near, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range fds {
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
	})
	return fds[0], fds[1]
}

// loopedPair returns a session in a loop that nobody runs, and the other ends of its legs.
func loopedPair(t *testing.T) (s *looped, user, backend int) {
	t.Helper()
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.closeDescriptors)
	e := engine.New(engine.Config{Directory: unscoped{}, Mode: scope.Transparent, MaxMessage: 1 << 20}, engine.StartRole{})
	if err := e.Server(isReady, &l.out); err != nil || !e.Started() {
		t.Fatalf("not started: %v", err)
	}
	s = &looped{relay: newRelay(nil, nil, nil, e), loop: l}
	client, user := pair(t)
	server, backend := pair(t)
	s.client = leg{session: s, fd: client, peer: &s.server}
	s.server = leg{session: s, fd: server, peer: &s.client}
	return s, user, backend
}

const someQuery = "SELECT id, total FROM orders WHERE customer = 4711\x00"

var (
	isReady  = append(wire.AppendHeader(nil, wire.ReadyForQuery, 1), wire.TxIdle)
	asks     = append(wire.AppendHeader(nil, wire.Query, len(someQuery)), someQuery...)
	answered = append(append(wire.AppendHeader(nil, wire.CommandComplete, 9), "SELECT 0\x00"...), isReady...)
)

// TestLoopAllocatesNothing: a statement and its answer, through a loop.
func TestLoopAllocatesNothing(t *testing.T) {
	s, user, backend := loopedPair(t)
	s.begin()
	buf := make([]byte, 1<<10)
	pass := func(from, to int, g *leg, message []byte) {
		if _, err := unix.Write(from, message); err != nil {
			t.Fatal(err)
		}
		g.ready(unix.EPOLLIN)
		if n, err := unix.Read(to, buf); err != nil || !bytes.Equal(buf[:n], message) {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		pass(user, backend, &s.client, asks)
		pass(backend, user, &s.server, answered)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
