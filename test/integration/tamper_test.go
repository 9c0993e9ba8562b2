package integration

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// tamperer stands between the proxy and a server, and does to each connection what its fault says.
type tamperer struct {
	listener *net.TCPListener
	server   *net.TCPAddr
	running  sync.WaitGroup

	mu    sync.Mutex
	fault fault
	count [sources]int // bytes sent since set
}

// source is who sends.
type source int

const (
	nobody source = iota
	theServer
	theProxy
	sources // how many there are
)

// fault is what happens to a connection. The zero value is a good one.
type fault struct {
	from  source // after that many bytes from there
	after int
	end   func(proxy, server *net.TCPConn) error // that happens
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
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	m = &tamperer{listener: l, server: &net.TCPAddr{IP: net.ParseIP(c.Host), Port: c.Port}}
	m.running.Go(m.accept)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		m.running.Wait()
	})
	e := reach(t, l.Addr().String())
	u, err := proxy.NewUpstream(e.dsn("postgres", "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return m, func(o *proxy.Options) { o.Upstream = u }
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

// set decides about the connections to come.
func (m *tamperer) set(f fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
	m.count = [sources]int{}
}

// sent returns how many bytes were sent since set.
func (m *tamperer) sent(s source) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count[s]
}

// serve relays one connection, with the fault. What cannot be closed, or told that it is, is closed already.
func (m *tamperer) serve(conn *net.TCPConn) {
	defer func() { _ = conn.Close() }()
	server, err := net.DialTCP("tcp", nil, m.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	m.mu.Lock()
	f := m.fault
	m.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { m.pass(f, theServer, server, conn, func() error { return f.end(conn, server) }) })
	both.Go(func() { m.pass(f, theProxy, conn, server, func() error { return f.end(conn, server) }) })
	both.Wait()
}

// pass copies one direction until it ends or the fault comes. What fails here fails because a peer is gone, which is what
// the tests are about.
func (m *tamperer) pass(f fault, from source, src, dst *net.TCPConn, end func() error) {
	buf := make([]byte, 8<<10)
	if f.step > 0 {
		buf = buf[:f.step]
	}
	for left := f.after; ; {
		n, err := src.Read(buf)
		ends := f.from == from && n >= left
		if ends {
			n = left
		}
		left -= n
		m.mu.Lock()
		m.count[from] += n
		m.mu.Unlock()
		if _, failed := dst.Write(buf[:n]); failed != nil {
			_ = src.CloseRead() // the peer is to learn of it
			return
		}
		if ends {
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
