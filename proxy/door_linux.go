package proxy

import (
	"context"
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
	fd      int // -1 once it is closed
	address net.Addr
	log     *zap.Logger
	enter   func(net.Conn) (*session, context.Context)
}

// open has the first loop accept what comes to a listener, and closes that: Go's poller would wake a thread for each client.
// enter returns the session of a client, with the context of its login; nil if there is to be none. It returns false where
// goroutines have to accept.
func (ls *loops) open(l net.Listener, log *zap.Logger, enter func(net.Conn) (*session, context.Context)) bool {
	if ls == nil {
		return false
	}
	fd, err := duplicate(l)
	if err != nil {
		return false
	}
	d := &door{loops: ls, loop: ls.list[0], fd: fd, address: l.Addr(), log: log, enter: enter}
	if d.address.Network() != "unix" && setConnectionOptions(fd, net.KeepAliveConfig{Enable: true}) != nil {
		_ = rawClose(fd) // the listener has another
		return false
	}
	_ = l.Close() // the copy lives on
	ls.doors = append(ls.doors, d)
	d.loop.post(d.listen)
	return true
}

// shutDoors returns when no client is being let in any more.
func (ls *loops) shutDoors() {
	if ls == nil {
		return
	}
	for _, d := range ls.doors {
		d.loop.post(d.close)
	}
	for _, l := range ls.list {
		settled := make(chan struct{})
		l.post(func() { close(settled) })
		<-settled
	}
}

func (d *door) listen() {
	if d.fd < 0 {
		return
	}
	if err := d.loop.listen(d.fd, 0, unix.EPOLLIN, d); err != nil {
		d.pause(err)
	}
}

// pause is for when there are no descriptors, or no memory, for another.
func (d *door) pause(err error) {
	d.log.Warn("accept failed", zap.Error(err))
	_ = d.loop.listen(d.fd, unix.EPOLLIN, 0, nil) // it may not have been added
	time.AfterFunc(acceptPause, func() { d.loop.post(d.listen) })
}

func (d *door) close() {
	d.loop.set(d.fd, nil)
	_ = rawClose(d.fd) // epoll forgets what is closed
	d.fd = -1
}

// ready lets one client in: when the others have had their turn, the next.
func (d *door) ready(uint32) {
	c, errno := d.accept()
	switch errno {
	case 0:
		if x, login := d.enter(c); x != nil {
			d.loops.begin(login, d.loop, x)
		}
	case unix.EAGAIN, unix.EINTR, unix.ECONNABORTED: // that client is gone already
	default:
		d.pause(errno)
	}
}

// late implements listener: it waits for as long as nobody comes.
func (d *door) late(time.Time) {}

func (d *door) accept() (*descriptor, syscall.Errno) {
	fd, from, errno := rawAccept(d.fd)
	if from == nil {
		from = d.address // who comes by a Unix socket has no name
	}
	return &descriptor{fd: fd, local: d.address, remote: from}, errno
}

// begin begins the story of a session; here is the loop on whose thread it is called.
func (ls *loops) begin(login context.Context, here *loop, x *session) {
	l := ls.next()
	if l == here {
		l.tell(login, x.serve)
		return
	}
	l.post(func() { l.tell(login, x.serve) })
}
