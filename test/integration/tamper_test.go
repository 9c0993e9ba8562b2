package integration

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// tamperer stands between the proxy and a server, or between a client and the proxy, and does to each connection what
// its fault says.
type tamperer struct {
	listener *net.TCPListener
	running  sync.WaitGroup
	over     chan struct{} // closed with the test

	mu     sync.Mutex
	server *net.TCPAddr
	fault  fault
	lost   int             // how often all connections were lost
	stream [sources][]byte // what was sent since set
}

// source is who sends.
type source int

const (
	nobody    source = iota
	theServer        // or the proxy, for its client
	theProxy         // or its client
	sources          // how many there are
)

// fault is what happens to a connection. The zero value is a good one.
type fault struct {
	from  source // after that many bytes from there
	after int
	snap  bool                                   // rather: at the next boundary of messages
	past  int                                    // and so many bytes past it
	end   func(proxy, server *net.TCPConn) error // that happens
	delay time.Duration                          // or that: nothing, for a while
	forge []byte                                 // or that is put in
	step  int                                    // so many bytes are passed at a time; 0: as they come
}

// The ways in which a connection ends.
var endings = []func(proxy, server *net.TCPConn) error{
	func(proxy, server *net.TCPConn) error { // in order
		return errors.Join(proxy.Close(), server.Close())
	},
	func(proxy, server *net.TCPConn) error { // by a reset
		return errors.Join(proxy.SetLinger(0), server.SetLinger(0), proxy.Close(), server.Close())
	},
	func(proxy, _ *net.TCPConn) error { return proxy.CloseWrite() }, // the server says no more, and goes on listening
	func(_, server *net.TCPConn) error { return server.CloseWrite() },
}

// tamper starts a tamperer in front of a cluster, which works until the test ends. upstream lets a proxy use it.
func tamper(t testing.TB, c *pgtest.Cluster) (m *tamperer, upstream func(*proxy.Options)) {
	t.Helper()
	m, e := tamperAt(t, direct(c))
	u, err := proxy.NewUpstream(e.dsn("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return m, func(o *proxy.Options) { o.Upstream = u }
}

// tamperAt starts a tamperer in front of a server or a proxy. It is reached at the endpoint that is returned.
func tamperAt(t testing.TB, at endpoint) (*tamperer, endpoint) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	m := &tamperer{listener: l, over: make(chan struct{})}
	m.toward(at)
	m.running.Go(m.accept)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		close(m.over)
		m.running.Wait()
	})
	return m, reach(t, l.Addr().String())
}

func (m *tamperer) accept() {
	for {
		conn, err := m.listener.AcceptTCP()
		if err != nil {
			return
		}
		m.running.Go(func() { m.serve(conn) })
	}
}

// toward lets the connections to come go to a server or a proxy.
func (m *tamperer) toward(at endpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.server = &net.TCPAddr{IP: net.ParseIP(at.host), Port: at.port}
}

// set decides about the connections to come.
func (m *tamperer) set(f fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
	m.stream = [sources][]byte{}
}

// lose makes the connections that there are pass nothing any more, and end nowhere: a firewall has forgotten them.
func (m *tamperer) lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost++
}

// sent returns what was sent since set, of all connections.
func (m *tamperer) sent(s source) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stream[s]
}

// serve relays one connection, with the fault. What cannot be closed, or told that it is, is closed already.
func (m *tamperer) serve(conn *net.TCPConn) {
	defer func() { _ = conn.Close() }()
	m.mu.Lock()
	f, to, lost := m.fault, m.server, m.lost
	m.mu.Unlock()
	server, err := net.DialTCP("tcp", nil, to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var both sync.WaitGroup
	both.Go(func() { m.pass(f, lost, theServer, server, conn, func() error { return f.end(conn, server) }) })
	both.Go(func() { m.pass(f, lost, theProxy, conn, server, func() error { return f.end(conn, server) }) })
	both.Wait()
}

// pass copies one direction until it ends or the fault comes. What fails here fails because a peer is gone, which is what
// the tests are about.
func (m *tamperer) pass(f fault, lost int, from source, src, dst *net.TCPConn, end func() error) {
	buf := make([]byte, 8<<10)
	if f.step > 0 {
		buf = buf[:f.step]
	}
	var passed int
	border := borders{untyped: from == theProxy}
	for there := false; ; {
		n, err := src.Read(buf)
		m.mu.Lock()
		m.stream[from] = append(m.stream[from], buf[:n]...)
		gone := m.lost != lost
		m.mu.Unlock()
		if gone {
			<-m.over
			_, _ = src.Close(), dst.Close()
			return
		}
		at := f.after
		if f.snap {
			at = border.next(buf[:n], f.after) + f.past
		}
		now := buf[:n]
		if f.from == from && !there && passed+n >= at {
			there, now = true, buf[:at-passed]
		}
		_, failed := dst.Write(now)
		if rest := buf[len(now):n]; there && f.end == nil && failed == nil {
			<-time.After(f.delay) // this is the fault, not a wait for something
			_, failed = dst.Write(append(f.forge, rest...))
			f.delay, f.forge = 0, nil
		}
		if failed != nil {
			_ = src.CloseRead() // the peer is to learn of it
			return
		}
		passed += n
		if there && f.end != nil {
			_ = end()
			_, err = io.Copy(io.Discard, src) // a half that stays open is read to its end
			if err == nil {
				err = io.EOF
			}
		}
		if err != nil {
			_ = dst.CloseWrite()
			return
		}
	}
}

// borders finds the boundaries of messages in a stream, which need not be the same each time: what the proxy asks the
// server depends on what it knows.
type borders struct {
	untyped bool // the first message has no type
	seen    []byte
	last    int // the last boundary found
}

// next returns the first boundary that is not before a place, or one beyond what was seen.
func (b *borders) next(more []byte, place int) int {
	b.seen = append(b.seen, more...)
	for b.last < place {
		header := 1 // before the length
		if b.untyped && b.last == 0 {
			header = 0
		}
		if len(b.seen) < b.last+header+4 {
			return max(place, len(b.seen)) + wholeHeader
		}
		b.last += header + int(binary.BigEndian.Uint32(b.seen[b.last+header:]))
	}
	return b.last
}

const wholeHeader = 5
