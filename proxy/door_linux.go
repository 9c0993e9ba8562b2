package proxy

import (
	"errors"
	"net"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// door is a listener in a loop, which lets clients in and begins their stories.
type door struct {
	loops   *loops
	loop    *loop
	raw     syscall.RawConn // Go's: whoever uses it sees when the listener is closed
	fd      int
	address net.Addr
	log     *zap.Logger
	enter   func(net.Conn) *session
}

// open has the first loop accept what comes to a listener. enter returns the session of a client; nil if there is to be none. It
// returns false where goroutines have to accept.
func (ls *loops) open(l net.Listener, log *zap.Logger, enter func(net.Conn) *session) bool {
	listener, ok := l.(syscall.Conn)
	if ls == nil || !ok {
		return false
	}
	raw, err := listener.SyscallConn()
	if err != nil {
		return false
	}
	d := &door{loops: ls, loop: ls.list[0], raw: raw, address: l.Addr(), log: log, enter: enter}
	if raw.Control(func(fd uintptr) { d.fd = int(fd) }) != nil {
		return false
	}
	if d.address.Network() != "unix" && setConnectionOptions(d.fd, net.KeepAliveConfig{Enable: true}) != nil {
		return false
	}
	d.loop.post(d.listen)
	return true
}

// settle returns when no client is being let in any more. The listeners are closed.
func (ls *loops) settle() {
	if ls == nil {
		return
	}
	for _, l := range ls.list {
		settled := make(chan struct{})
		l.post(func() { close(settled) })
		<-settled
	}
}

func (d *door) listen() {
	err := net.ErrClosed
	_ = d.raw.Control(func(uintptr) { // fails where the listener is closed
		d.loop.set(d.fd, d)
		err = d.loop.control(unix.EPOLL_CTL_ADD, d.fd, unix.EPOLLIN)
	})
	if err != nil && !errors.Is(err, net.ErrClosed) {
		d.pause(err)
	}
}

// pause is for when there are no descriptors, or no memory, for another.
func (d *door) pause(err error) {
	d.log.Warn("accept failed", zap.Error(err))
	_ = d.raw.Control(func(uintptr) { _ = d.loop.control(unix.EPOLL_CTL_DEL, d.fd, 0) })
	time.AfterFunc(acceptPause, func() { d.loop.post(d.listen) })
}

// ready lets one client in: when the others have had their turn, the next.
func (d *door) ready(uint32) {
	c, errno := d.accept()
	switch errno {
	case 0:
		if x := d.enter(c); x != nil {
			d.loops.begin(d.loop, x)
		}
	case unix.EAGAIN, unix.EINTR, unix.ECONNABORTED: // that client is gone already
	case unix.EBADF: // the listener is
	default:
		d.pause(errno)
	}
}

// late implements listener: it waits for as long as nobody comes.
func (d *door) late(time.Time) {}

func (d *door) accept() (c *descriptor, errno syscall.Errno) {
	if d.raw.Control(func(listener uintptr) {
		c = &descriptor{local: d.address}
		c.fd, c.remote, errno = rawAccept(int(listener))
	}) != nil {
		return nil, unix.EBADF
	}
	if c.remote == nil {
		c.remote = d.address // who comes by a Unix socket has no name
	}
	return c, errno
}

// begin begins the story of a session, on the loops in turn; here is the loop on whose thread it is called.
func (ls *loops) begin(here *loop, x *session) {
	l := ls.list[ls.next%len(ls.list)]
	ls.next++
	if l == here {
		l.tell(x.ctx, x.serve)
		return
	}
	l.post(func() { l.tell(x.ctx, x.serve) })
}
