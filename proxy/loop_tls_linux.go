package proxy

import (
	"crypto/tls"
	"errors"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// TLS in an event loop. crypto/tls reads and writes a connection; a loop gives it, in the place of the socket,
// what it has just read of that, and a place for what it wants to write. Where no whole record is left, crypto/tls
// sees a read that ran into its deadline, which it survives: it keeps what it has of the next one. A write that
// ran into its deadline it would not survive, but here a write always succeeds; what the socket does not take of
// the records waits as it does without TLS.
//
//	socket ── read ─▶ ciphertext.in ─▶ tls.Conn.Read ──▶ engine
//	socket ◀─ write ─ ciphertext.out ◀─ tls.Conn.Write ◀─ engine

const (
	// sealedBuffer is how many bytes of records are read at a time: with what there is of a record that has not come
	// whole, 18 KiB at most, they are no more than loopBuffer when they are unsealed.
	sealedBuffer = 40 << 10
	// backlog bounds, in bytes, what may be unsent on a leg that is still read: reading TLS makes answers of its own.
	backlog = 4 * loopBuffer
)

// ciphertext is the socket as crypto/tls sees it. One serves all legs of a loop: each has it for a moment.
type ciphertext struct {
	net.Conn // nil: nothing else is asked of it

	buf []byte    // for reading
	in  []byte    // what was read and crypto/tls has not taken
	end error     // what comes after it
	out [1][]byte // what is to be written
}

func (c *ciphertext) Read(b []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, c.end
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *ciphertext) Write(b []byte) (int, error) {
	c.out[0] = append(c.out[0], b...)
	return len(b), nil
}

// begin makes room for what crypto/tls writes next.
func (c *ciphertext) begin() {
	if cap(c.out[0]) > backlog {
		c.out[0] = nil
	}
	c.out[0] = c.out[0][:0]
}

// attach gives the leg's TLS, if it has any, to the loop.
func (g *leg) attach(c net.Conn) {
	if link, ok := c.(*serverLink); ok {
		c = link.Conn
	}
	if t, ok := c.(*tls.Conn); ok {
		g.tls = t
		g.carry(&g.session.loop.ciphertext)
	}
}

// carry lets the leg's TLS read and write c.
func (g *leg) carry(c net.Conn) { g.tls.NetConn().(*transport).Conn = c } //nolint:errcheck,forcetypeassert // it is given no other

// conn returns the leg's connection. Others than the loop may use it once it is released.
func (g *leg) conn() net.Conn {
	if g.tls != nil {
		return g.tls
	}
	return &descriptor{fd: g.fd}
}

// release gives the leg's connection up, to a coroutine, or with nil to goroutines, and returns it.
func (g *leg) release(co *coroutine) net.Conn {
	d := &descriptor{fd: g.fd, mask: g.mask, coroutine: co}
	if g.mask != 0 {
		g.session.loop.set(g.fd, d)
	}
	if len(g.unsent) > 0 && g == &g.session.server { // it is lost: what comes after it would not be understood
		_ = unix.Shutdown(g.fd, unix.SHUT_WR)
	}
	if g.tls == nil {
		return d
	}
	g.carry(d)
	return g.tls
}

// readBuffered relays what crypto/tls has read already and nobody has taken: epoll does not know of it.
func (g *leg) readBuffered() {
	if g.tls != nil && !g.session.over {
		in, err := g.unseal(nil, nil)
		g.session.received(g, in, err)
	}
}

// unseal returns the plaintext of the records that were read from the socket now and before; it is good until the loop
// reads again. end is what ended the reading, nil where nothing did. What crypto/tls answers by itself is sent.
func (g *leg) unseal(sealed []byte, end error) (in []byte, err error) {
	l := g.session.loop
	c := &l.ciphertext
	c.begin()
	if c.in, c.end = sealed, end; end == nil {
		c.end = os.ErrDeadlineExceeded
	}
	n := 0
	for err == nil && n < len(l.buf) {
		var more int
		more, err = g.tls.Read(l.buf[n:])
		n += more
	}
	if len(c.out[0]) > 0 {
		g.sendRaw(c.out[:])
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return l.buf[:n], err
}

// seal returns the pieces as the socket takes them: with TLS as records, good until the next call.
func (g *leg) seal(pieces [][]byte) [][]byte {
	if g.tls == nil || len(pieces) == 0 {
		return pieces
	}
	c := &g.session.loop.ciphertext
	c.begin()
	for _, p := range pieces {
		if _, err := g.tls.Write(p); err != nil { // it was told of a record that cannot be
			g.writeFailed(err)
			return nil
		}
	}
	return c.out[:]
}
