package integration

import (
	"io"
	"net"
	stdsync "sync"
	"testing"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// tamperer stands between the proxy and a server, and does to each connection what its fault says.
type tamperer struct {
	listener net.Listener
	server   string
	running  stdsync.WaitGroup

	mu    stdsync.Mutex
	fault fault
	count map[source]int // bytes of the last connection, by who sent them
}

// source is who sends.
type source int

const (
	nobody source = iota
	theServer
	theProxy
)

// fault is what happens to a connection. The zero value is a good one.
type fault struct {
	from  source // after that many bytes from there
	after int
	end   func(proxy, server *net.TCPConn) // that happens
	step  int                              // so many bytes are passed at a time; 0: as they come
}

// The ways in which a connection ends.
var endings = []func(proxy, server *net.TCPConn){
	func(proxy, server *net.TCPConn) { // in order
		proxy.Close()
		server.Close()
	},
	func(proxy, server *net.TCPConn) { // by a reset
		proxy.SetLinger(0)
		server.SetLinger(0)
		proxy.Close()
		server.Close()
	},
	func(proxy, _ *net.TCPConn) { proxy.CloseWrite() }, // the server says no more, and goes on listening
	func(_, server *net.TCPConn) { server.CloseWrite() },
}

// tamper starts a tamperer in front of a cluster, which works until the test ends. upstream lets a proxy use it.
func tamper(t testing.TB, c *pgtest.Cluster) (m *tamperer, upstream func(*proxy.Options)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m = &tamperer{listener: l, server: direct(c).address(), count: map[source]int{}}
	m.running.Go(m.accept)
	t.Cleanup(func() {
		l.Close()
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
		conn, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.running.Go(func() { m.serve(conn.(*net.TCPConn)) })
	}
}

// set decides about the connections to come.
func (m *tamperer) set(f fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
	clear(m.count)
}

// sent returns how many bytes were sent since set.
func (m *tamperer) sent(s source) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count[s]
}

func (m *tamperer) serve(conn *net.TCPConn) {
	defer conn.Close()
	other, err := net.Dial("tcp", m.server)
	if err != nil {
		return
	}
	defer other.Close()
	server := other.(*net.TCPConn)
	m.mu.Lock()
	f := m.fault
	m.mu.Unlock()
	var both stdsync.WaitGroup
	both.Go(func() { m.pass(f, theServer, conn, server, func() { f.end(conn, server) }) })
	both.Go(func() { m.pass(f, theProxy, server, conn, func() { f.end(conn, server) }) })
	both.Wait()
}

// pass copies one direction until it ends or the fault comes.
func (m *tamperer) pass(f fault, from source, dst, src *net.TCPConn, end func()) {
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
			src.CloseRead() // the peer is to learn of it
			return
		}
		if ends {
			end()
			io.Copy(io.Discard, src) // a half that stays open is read to its end
			dst.CloseWrite()
			return
		}
		if err != nil {
			dst.CloseWrite()
			return
		}
	}
}
