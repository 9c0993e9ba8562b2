package proxy

import (
	"crypto/tls"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leg is one connection of a session.
type leg struct {
	session *looped
	peer    *leg
	fd      int
	mask    uint32    // what epoll waits for; 0: not attached
	deaf    bool      // nothing is read: the client is held, or has said goodbye
	last    bool      // crypto/tls has said with its last words that it has ended: they are to be taken first
	unsent  []byte    // what the connection would not take yet; meanwhile nothing is read from the peer
	tls     *tls.Conn // nil without TLS
}

// late ends a reset that takes too long.
func (g *leg) late(now time.Time) {
	switch p := g.session.parting; {
	case p == nil || g != &g.session.server:
	case now.Before(p.until):
		g.session.loop.wake(p.until)
	default:
		g.session.parted(os.ErrDeadlineExceeded)
	}
}

// ready handles what epoll says about a leg.
func (g *leg) ready(events uint32) {
	if g.session.parting != nil {
		g.session.answered()
		return
	}
	if events&unix.EPOLLOUT != 0 {
		g.flush()
	}
	if s := g.session; !s.over && g.mask&unix.EPOLLIN != 0 && events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0 {
		if g.hears() {
			s.read(g)
		} else {
			g.await(g.mask &^ unix.EPOLLIN)
		}
	} else if !s.over && events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 && g.mask&unix.EPOLLOUT == 0 {
		s.stop(ending{g.side(), io.EOF}) // gone while it was not listened to
	}
}

func (g *leg) side() side {
	if g == &g.session.client {
		return byClient
	}
	return byServer
}

// read reads once from a leg. It returns neither bytes nor an error where there are none.
func (g *leg) read() (in []byte, err error) {
	l := g.session.loop
	buf := l.buf
	if g.tls != nil {
		buf = l.ciphertext.buf
	}
	n, errno := rawRead(g.fd, buf)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return nil, nil
	case errno != 0:
		return nil, os.NewSyscallError("read", errno)
	case n == 0:
		err = io.EOF
	}
	if g.tls != nil {
		return g.unseal(buf[:n], err)
	}
	return buf[:n], err
}

// send writes the pieces to a leg; what it will not take waits.
func (g *leg) send(pieces [][]byte) {
	if g.session.over {
		return
	}
	g.put(g.seal(pieces))
}

// put is send for what the socket is to be given as it is.
func (g *leg) put(pieces [][]byte) {
	if len(g.unsent) == 0 {
		pieces = g.write(pieces)
	}
	for _, p := range pieces {
		g.unsent = append(g.unsent, p...)
	}
	g.listen()
	g.peer.listen()
}

// write writes what the connection takes, and returns the rest.
func (g *leg) write(pieces [][]byte) [][]byte {
	for len(pieces) > 0 {
		var n int
		var errno syscall.Errno
		if len(pieces) == 1 {
			n, errno = rawWrite(g.fd, pieces[0])
		} else {
			n, errno = rawWritev(g.fd, pieces)
		}
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return pieces
		default:
			g.broken(os.NewSyscallError("write", errno))
			return nil
		}
		for len(pieces) > 0 && n >= len(pieces[0]) {
			n -= len(pieces[0])
			pieces = pieces[1:]
		}
		if n > 0 {
			pieces[0] = pieces[0][n:]
		}
	}
	return nil
}

// broken is for a leg that takes no more. A server may have said why, and that is still to be read.
func (g *leg) broken(err error) {
	s := g.session
	if g == &s.client {
		s.torn = true
		s.stop(ending{byClient, err})
		return
	}
	g.unsent = nil
	s.client.deaf = true
}

// flush writes what waits.
func (g *leg) flush() {
	rest := g.write([][]byte{g.unsent})
	if len(rest) == 0 {
		g.unsent = nil
	} else {
		g.unsent = rest[0]
	}
	g.listen()
	g.peer.listen()
	if s := g.session; g == &s.client && !s.over && s.engine.Goodbye() {
		s.goodbye()
	}
}

// hears reports whether what the leg says can be taken.
func (g *leg) hears() bool { return !g.deaf && len(g.peer.unsent) == 0 && len(g.unsent) <= backlog }

// listen makes epoll wait for what the leg can do: be read while its peer takes what is read, be written when something
// waits. A leg that shall not be read is found out when it has something to say: most are to be read again before.
func (g *leg) listen() {
	if g.session.over {
		return
	}
	if g.last && g.hears() {
		g.listenBehind()
		return
	}
	mask := g.mask & (attached | unix.EPOLLIN)
	if g.hears() {
		mask |= attached | unix.EPOLLIN
	}
	if len(g.unsent) > 0 {
		mask |= attached | unix.EPOLLOUT
	}
	if mask != g.mask {
		g.await(mask)
	}
}

// await tells epoll what to wait for.
func (g *leg) await(mask uint32) {
	before := g.mask
	g.mask = mask
	if err := g.session.loop.listen(g.fd, before, mask, g); err != nil {
		g.session.stop(ending{g.side(), err})
	}
}
