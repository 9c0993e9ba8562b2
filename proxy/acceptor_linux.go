package proxy

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptor is a listener in a loop: it accepts clients, and starts their sessions.
type acceptor struct {
	loops   *loops
	loop    *loop
	fd      int // -1 once it is closed
	address net.Addr
	failed  func(error)
	enter   func(net.Conn) (*session, context.Context)
}

// acceptFrom has the first loop accept the clients of a listener, and closes the listener: Go's poller would wake a
// thread for each client. enter returns the session of a client with the context of its login, nil where the client is
// not to be served. It returns false where goroutines have to accept. failed is told why none can be accepted for a while.
func (ls *loops) acceptFrom(l net.Listener, failed func(error), enter func(net.Conn) (*session, context.Context)) bool {
	if ls == nil {
		return false
	}
	fd, err := duplicate(l)
	if err != nil {
		return false
	}
	a := &acceptor{loops: ls, loop: ls.list[0], fd: fd, address: l.Addr(), failed: failed, enter: enter}
	if a.address.Network() != "unix" && setConnectionOptions(fd, net.KeepAliveConfig{Enable: true}) != nil {
		_ = rawClose(fd) // the listener has another
		return false
	}
	_ = l.Close() // the copy lives on
	ls.acceptors = append(ls.acceptors, a)
	a.loop.post(a.listen)
	return true
}

// stopAccepting closes the acceptors, and returns when the loops have begun all sessions that were accepted before.
func (ls *loops) stopAccepting() {
	if ls == nil {
		return
	}
	for _, a := range ls.acceptors {
		a.loop.post(a.close)
	}
	for _, l := range ls.list {
		settled := make(chan struct{})
		l.post(func() { close(settled) })
		<-settled
	}
}

func (a *acceptor) listen() {
	if a.fd < 0 {
		return
	}
	if err := a.loop.setInterest(a.fd, 0, unix.EPOLLIN, a); err != nil {
		a.pause(err)
	}
}

// pause stops accepting for a moment: the process is out of descriptors or memory.
func (a *acceptor) pause(err error) {
	a.failed(err)
	_ = a.loop.setInterest(a.fd, unix.EPOLLIN, 0, nil) // it may not have been added
	time.AfterFunc(acceptPause, func() { a.loop.post(a.listen) })
}

func (a *acceptor) close() {
	a.loop.set(a.fd, nil)
	_ = rawClose(a.fd) // epoll forgets what is closed
	a.fd = -1
}

// ready accepts one client; epoll tells of the next when the others of the loop have had their turn.
func (a *acceptor) ready(uint32) {
	c, errno := a.accept()
	switch errno {
	case 0:
		if sess, login := a.enter(c); sess != nil {
			a.loops.begin(login, a.loop, sess)
		}
	case unix.EAGAIN, unix.EINTR, unix.ECONNABORTED: // that client is gone already
	default:
		a.pause(errno)
	}
}

// expire implements handler: an acceptor waits without a deadline.
func (a *acceptor) expire(time.Time) {}

func (a *acceptor) accept() (*descriptor, syscall.Errno) {
	fd, from, errno := rawAccept(a.fd)
	if from == nil {
		from = a.address // a client on a Unix socket has no address of its own
	}
	return &descriptor{fd: fd, local: a.address, remote: from}, errno
}

// begin starts a session as a coroutine of the next loop; here is the loop on whose thread begin is called.
func (ls *loops) begin(login context.Context, here *loop, sess *session) {
	l := ls.next()
	if l == here {
		l.spawn(login, sess.serve)
		return
	}
	l.post(func() { l.spawn(login, sess.serve) })
}
