package proxy

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// pair returns the two ends of a connection.
func pair(t testing.TB) (near, far int) {
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

// newTestLoop returns a loop that nobody runs.
func newTestLoop(t testing.TB) *loop {
	t.Helper()
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.closeDescriptors)
	return l
}

// loopedPair returns a session in a loop that nobody runs, and the other ends of its legs.
func loopedPair(t testing.TB, change ...func(*engine.Config)) (s *looped, user, backend int) {
	t.Helper()
	return loopedIn(t, newTestLoop(t), change...)
}

func loopedIn(t testing.TB, l *loop, change ...func(*engine.Config)) (s *looped, user, backend int) {
	t.Helper()
	config := engine.Config{Directory: unscoped{}, Mode: scope.Transparent, MaxMessage: 1 << 20}
	for _, f := range change {
		f(&config)
	}
	e := engine.New(config, engine.StartRole{})
	if err := e.Server(isReady, &l.out); err != nil || !e.Started() {
		t.Fatalf("not started: %v", err)
	}
	s = &looped{relay: newBlocking(nil, nil, nil, e).relay, loop: l}
	client, user := pair(t)
	server, backend := pair(t)
	s.client = leg{session: s, fd: client, peer: &s.server}
	s.server = leg{session: s, fd: server, peer: &s.client}
	return s, user, backend
}

// turn is one of the loop's, with one event.
func turn(g *leg, events uint32) {
	g.session.loop.turn([]unix.EpollEvent{{Fd: int32(g.fd), Events: events}})
}

// TestNextLoop: the first half of the loops serves until each of them is crowded, then all do,
// and whoever has the fewest is next.
func TestNextLoop(t *testing.T) {
	for _, tt := range []struct {
		counts []int32
		want   int
	}{
		{[]int32{0}, 0},
		{[]int32{9 * crowd}, 0},
		{[]int32{crowd - 1, 0}, 0},
		{[]int32{crowd, 0}, 1},
		{[]int32{crowd, crowd + 2}, 0},
		{[]int32{crowd, 1, 0, 0}, 1},
		{[]int32{crowd, crowd + 1, 7, 3}, 3},
		{[]int32{crowd, 0, 0}, 1},
	} {
		ls := new(loops)
		for _, n := range tt.counts {
			l := new(loop)
			l.count.Store(n)
			ls.list = append(ls.list, l)
		}
		if got := slices.Index(ls.list, ls.next()); got != tt.want {
			t.Errorf("loops with %v descriptors: %d is next, want %d", tt.counts, got, tt.want)
		}
	}
}

const someQuery = "SELECT id, total FROM orders WHERE customer = 4711\x00"

var (
	isReady  = append(wire.AppendHeader(nil, wire.ReadyForQuery, 1), wire.TxIdle)
	asks     = append(wire.AppendHeader(nil, wire.Query, len(someQuery)), someQuery...)
	answered = append(append(wire.AppendHeader(nil, wire.CommandComplete, 9), "SELECT 0\x00"...), isReady...)
)

// TestLoopAllocatesNothing: the statements of two sessions, and their answers, each in one turn of a loop.
func TestLoopAllocatesNothing(t *testing.T) {
	l := newTestLoop(t)
	type way struct {
		g        *leg
		from, to int
	}
	var there, back []way
	for range 2 {
		s, user, backend := loopedIn(t, l)
		s.begin()
		there, back = append(there, way{&s.client, user, backend}), append(back, way{&s.server, backend, user})
	}
	buf := make([]byte, 1<<10)
	events := make([]unix.EpollEvent, 0, 2)
	pass := func(message []byte, ways []way) {
		events = events[:0]
		for _, w := range ways {
			if _, err := unix.Write(w.from, message); err != nil {
				t.Fatal(err)
			}
			events = append(events, unix.EpollEvent{Fd: int32(w.g.fd), Events: unix.EPOLLIN})
		}
		l.turn(events)
		for _, w := range ways {
			if n, err := unix.Read(w.to, buf); err != nil || !bytes.Equal(buf[:n], message) {
				t.Fatalf("got %q, %v", buf[:n], err)
			}
		}
	}
	for n := 1; n <= 2; n++ {
		if allocs := testing.AllocsPerRun(100, func() {
			pass(asks, there[:n])
			pass(answered, back[:n])
		}); allocs != 0 {
			t.Errorf("%d sessions: %v allocations", n, allocs)
		}
	}
}

// alone is the owner of a session that nothing else knows of.
type alone struct{ over bool }

func (*alone) waited(time.Duration)      {}
func (*alone) inTurn(_ int, work func()) { work() }
func (*alone) park(net.Conn) *parked     { return &parked{} }
func (o *alone) relayed(context.Context) { o.over = true }

// TestGoodbyeBeforeReading: a client that leaves before it has read the answer still gets it, and then the server is
// told at once, or made ready for the next.
func TestGoodbyeBeforeReading(t *testing.T) {
	const row = 40 << 10
	answer := bytes.Join([][]byte{wire.AppendHeader(nil, wire.DataRow, row), make([]byte, row), answered}, nil)
	goodbye := wire.AppendHeader(nil, wire.Terminate, 0)
	for _, keep := range []bool{false, true} {
		o := new(alone)
		s, user, backend := loopedPair(t, func(c *engine.Config) { c.Keep = keep })
		s.owner = o
		s.begin()
		if err := unix.SetsockoptInt(s.client.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<10); err != nil {
			t.Fatal(err)
		}
		say := func(from int, g *leg, message []byte) {
			if n, err := unix.Write(from, message); err != nil || n < len(message) {
				t.Fatalf("%d bytes of %d written: %v", n, len(message), err)
			}
			turn(g, unix.EPOLLIN)
		}
		say(user, &s.client, asks)
		say(backend, &s.server, answer)
		say(user, &s.client, goodbye)
		if len(s.client.unsent) == 0 || o.over {
			t.Fatalf("keep %v: %d bytes wait, the session is over: %v", keep, len(s.client.unsent), o.over)
		}
		var told []byte
		for buf := make([]byte, 1<<10); len(told) < len(answer); {
			n, err := unix.Read(user, buf)
			if err != nil {
				t.Fatalf("keep %v: %v after %d bytes of %d", keep, err, len(told), len(answer))
			}
			told = append(told, buf[:n]...)
			turn(&s.client, unix.EPOLLOUT)
		}
		heard := make([]byte, 1<<10)
		n, err := unix.Read(backend, heard)
		want := slices.Concat(asks, goodbye)
		if keep {
			want = slices.Concat(asks, new(talk).ask(new(lease).resetSQL()...))
		}
		if !bytes.Equal(told, answer) || !o.over || err != nil || !bytes.Equal(heard[:n], want) {
			t.Errorf("keep %v: the session is over: %v, the server heard %q, %v", keep, o.over, heard[:n], err)
		}
	}
}

// TestEndBeforeReading: a session that ends before its client has read the answer hands on what the client has not got.
// What the server has not got is lost, and it gets no last word behind half a message.
func TestEndBeforeReading(t *testing.T) {
	s, user, backend := loopedPair(t)
	s.owner = new(alone)
	s.begin()
	for _, g := range []*leg{&s.client, &s.server} {
		if err := unix.SetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<10); err != nil {
			t.Fatal(err)
		}
		g.send([][]byte{bytes.Repeat([]byte("x"), 40<<10)})
	}
	s.stop(ending{side: byShutdown})
	if told := len(drain(t, user)); told+len(s.relay.unsent) != 40<<10 || len(s.relay.unsent) == 0 || s.torn {
		t.Errorf("the client got %d bytes, and %d are owed; it is taken for torn: %v", told, len(s.relay.unsent), s.torn)
	}
	if _, err := unix.Write(s.server.fd, []byte("X")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("to write to the server, which got %d bytes: %v", len(drain(t, backend)), err)
	}
}
