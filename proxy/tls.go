package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"runtime"
)

// TLSMode says what the proxy offers its clients.
type TLSMode string

const (
	TLSOff     TLSMode = "off"     // no TLS: an SSLRequest is answered with N
	TLSAllow   TLSMode = "allow"   // as the client wants it
	TLSRequire TLSMode = "require" // who does not use TLS is refused, but on Unix sockets, which have none
)

// alpnPostgres is the protocol's name in TLS: PG_ALPN_PROTOCOL, src/include/libpq/pqcomm.h.
const alpnPostgres = "postgresql"

// firstTLSByte begins a TLS connection: the record type of a ClientHello. As the first byte of a startup packet it would
// stand for one of hundreds of megabytes (ProcessSSLStartup, src/backend/tcop/backend_startup.c).
const firstTLSByte = 0x16

// transport is what a tls.Conn reads and writes. An event loop that takes over the session puts its ciphertext there, and a
// descriptor when it gives the session back.
type transport struct {
	net.Conn
	head        []byte           // was read already, and is read again first
	certificate *tls.Certificate // that the client was shown
}

func (t *transport) Read(b []byte) (int, error) {
	if len(t.head) > 0 {
		n := copy(b, t.head)
		t.head = t.head[n:]
		return n, nil
	}
	return t.Conn.Read(b)
}

// handshakes holds one for each handshake that computes. Thousands at once would keep the event loops, and so all
// sessions, from their processors for seconds.
var handshakes = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// inTurn is a client's connection for the time of its handshake, which has one of handshakes from when it has read
// something until it reads on or answers: nobody's slowness holds others up. What is left after the first answer is little.
// One goroutine at a time may use it.
type inTurn struct {
	net.Conn
	answered, computing bool
}

func (c *inTurn) Read(b []byte) (int, error) {
	c.end()
	defer func() {
		if !c.answered {
			handshakes <- struct{}{}
			c.computing = true
		}
	}()
	return c.Conn.Read(b)
}

func (c *inTurn) Write(b []byte) (int, error) {
	c.end()
	c.answered = true
	return c.Conn.Write(b)
}

func (c *inTurn) end() {
	if c.computing {
		<-handshakes
		c.computing = false
	}
}

// socket returns the connection below TLS.
func socket(c net.Conn) net.Conn {
	for {
		switch over := c.(type) {
		case *serverLink:
			c = over.Conn
		case *tls.Conn:
			c = over.NetConn()
		case *transport:
			c = over.Conn
		case *inTurn:
			c = over.Conn
		default:
			return c
		}
	}
}

// handshake makes the TLS handshake of a connection off the loop: other sessions need not wait for its computations.
func handshake(ctx context.Context, c *tls.Conn) (err error) {
	disown(c)
	offLoop(ctx, func(ctx context.Context) { err = c.HandshakeContext(ctx) })
	adopt(ctx, c)
	return err
}

// onUnixSocket reports whether the connection is local to the machine, where PostgreSQL has no TLS.
func onUnixSocket(c net.Conn) bool { return c.LocalAddr().Network() == "unix" }

// tlsState returns the state of a connection that has made its handshake; nil where it has no TLS.
func tlsState(c net.Conn) *tls.ConnectionState {
	t, ok := c.(*tls.Conn)
	if !ok {
		return nil
	}
	s := t.ConnectionState()
	return &s
}

// leaf returns the certificate itself, without its chain.
func leaf(c *tls.Certificate) (*x509.Certificate, error) {
	if c.Leaf != nil {
		return c.Leaf, nil
	}
	return x509.ParseCertificate(c.Certificate[0])
}
