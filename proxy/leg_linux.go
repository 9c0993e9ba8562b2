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
	paused  bool      // it is not read: the client is held, or has sent Terminate
	batched bool      // the loop's batch has something for it
	closing bool      // TLS has reported its end while the leg could not be read on; it is read again for that when it can
	unsent  []byte    // what the connection has not taken yet; meanwhile nothing is read from the peer
	tls     *tls.Conn // nil without TLS
}

// expire ends a reset that takes too long.
func (g *leg) expire(now time.Time) {
	switch p := g.session.resetting; {
	case p == nil || g != &g.session.server:
	case now.Before(p.until):
		g.session.loop.expireBy(p.until)
	default:
		g.session.resetDone(os.ErrDeadlineExceeded)
	}
}

// ready handles what epoll says about a leg.
func (g *leg) ready(events uint32) {
	if g.session.resetting != nil {
		g.session.resetAnswered()
		return
	}
	if events&unix.EPOLLOUT != 0 {
		g.flush()
	}
	if s := g.session; !s.over && g.mask&unix.EPOLLIN != 0 && events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0 {
		if g.readable() {
			s.read(g)
		} else {
			g.setInterest(g.mask &^ unix.EPOLLIN)
		}
	} else if !s.over && events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 && g.mask&unix.EPOLLOUT == 0 {
		g.setInterest(0) // gone while it is not to be read. What it said before that is, when it can be; then its end shows
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

// send writes the pieces to a leg, at the end of the loop's turn where they are small; what the connection does not take
// waits in unsent.
func (g *leg) send(pieces [][]byte) {
	if g.session.over {
		return
	}
	g.sendRaw(g.seal(pieces))
}

// sendRaw is send below TLS: the pieces go to the socket as they are.
func (g *leg) sendRaw(pieces [][]byte) {
	switch {
	case g.session.loop.batch.take(g, pieces):
		pieces = nil
	case len(g.unsent) == 0:
		pieces = g.write(pieces)
	default:
	}
	for _, p := range pieces {
		g.unsent = append(g.unsent, p...)
	}
	g.updateInterest()
	g.peer.updateInterest()
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
			g.writeFailed(os.NewSyscallError("write", errno))
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

// writeFailed deals with a leg that takes no more. A server may have said why: then that is still to be read.
func (g *leg) writeFailed(err error) {
	s := g.session
	if g == &s.client {
		s.torn = true
		s.stop(ending{byClient, err})
		return
	}
	g.unsent = nil
	s.client.paused = true
}

// flush writes what waits.
func (g *leg) flush() {
	rest := g.write([][]byte{g.unsent})
	if len(rest) == 0 {
		g.unsent = nil
	} else {
		g.unsent = rest[0]
	}
	g.updateInterest()
	g.peer.updateInterest()
	if s := g.session; g == &s.client && !s.over && s.engine.Goodbye() {
		s.goodbye()
	}
}

// readable reports whether the session can take more from the leg.
func (g *leg) readable() bool {
	return !g.paused && len(g.peer.unsent) == 0 && len(g.unsent) <= backlog
}

// updateInterest makes epoll wait for what the leg can do: be read while its peer takes what is read, be written while
// something is unsent. Reading is never switched off here, but in ready, when there is something that must not be read:
// most legs can be read again before that, and save two system calls.
func (g *leg) updateInterest() {
	s := g.session
	if s.over {
		return
	}
	if behind := len(g.unsent) > 0; behind != s.behind && g == &s.client {
		s.noteBehind(behind)
	}
	if g.closing && g.readable() {
		g.readBuffered()
		return
	}
	mask := g.mask & (attached | unix.EPOLLIN)
	if g.readable() {
		mask |= attached | unix.EPOLLIN
	}
	if len(g.unsent) > 0 {
		mask |= attached | unix.EPOLLOUT
	}
	if mask != g.mask {
		g.setInterest(mask)
	}
}

// setInterest tells epoll what to wait for.
func (g *leg) setInterest(mask uint32) {
	before := g.mask
	g.mask = mask
	if err := g.session.loop.setInterest(g.fd, before, mask, g); err != nil {
		g.session.stop(ending{g.side(), err})
	}
}
