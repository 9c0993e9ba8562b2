package proxy

import (
	"cmp"
	"context"
	"iter"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The login of a session and its end wait a lot: for a packet, a connection, an answer. They are written as straight
// code, and run as coroutines on the thread of an event loop: where such code would block, it yields the thread to the
// loop, which resumes it when there is something to read or to write. A switch costs a tenth of a microsecond; a
// goroutine costs a thread that is woken, five times in a login.
//
//	loop ──▶ accept ──▶ coroutine: startup packet ┄ connect ┄ authentication ┄ ready ──▶ legs of the loop ──▶ coroutine: farewell
//	                                              ┄ the loop serves others meanwhile
//
// What takes long, or waits for something that a loop does not see, runs in a goroutine of its own: offLoop.
type coroutine struct {
	loop   *loop
	body   func() // what it runs
	resume func() // goes on with the body; on the loop's thread, while the coroutine waits
	yield  func() // called by the body: waits until resume
	stop   func() // ends an idle coroutine
}

// maxIdleCoroutines is how many coroutines without a body a loop keeps for the next, with the stacks that they have grown.
const maxIdleCoroutines = 16

type coroutineKey struct{}

// coroutineOf returns the coroutine that the caller runs in; nil for none.
func coroutineOf(ctx context.Context) *coroutine {
	co, _ := ctx.Value(coroutineKey{}).(*coroutine)
	return co
}

func withCoroutine(ctx context.Context, co *coroutine) context.Context {
	return context.WithValue(ctx, coroutineKey{}, co)
}

// spawn runs f as a coroutine until it first yields. It is called on the loop's thread. f finds
// its coroutine in its context.
func (l *loop) spawn(ctx context.Context, f func(context.Context)) {
	var co *coroutine
	if last := len(l.idle) - 1; last >= 0 {
		co, l.idle = l.idle[last], l.idle[:last]
	} else {
		co = newCoroutine(l)
	}
	co.body = func() { f(withCoroutine(ctx, co)) }
	co.resume()
}

func newCoroutine(l *loop) *coroutine {
	co := &coroutine{loop: l}
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		co.yield = func() { yield(struct{}{}) }
		for {
			co.body()
			co.body = nil
			if len(l.idle) == maxIdleCoroutines {
				return
			}
			l.idle = append(l.idle, co)
			if !yield(struct{}{}) {
				return
			}
		}
	})
	co.resume, co.stop = func() { next() }, stop
	return co
}

// offLoop runs f in a goroutine while the coroutine that calls it yields, and returns when f has. f itself is in no
// coroutine. A panic in f is one of the caller. Outside of a coroutine it only calls f.
func offLoop(ctx context.Context, f func(context.Context)) {
	co := coroutineOf(ctx)
	if co == nil {
		f(ctx)
		return
	}
	var fault error
	go func() {
		defer co.loop.post(co.resume)
		defer recovered(&fault)
		f(withCoroutine(ctx, nil))
	}()
	co.yield()
	if fault != nil {
		panic(fault)
	}
}

// adopt makes a connection one of the caller's coroutine, if it runs in one: to wait for it yields the thread.
func adopt(ctx context.Context, c net.Conn) net.Conn {
	co := coroutineOf(ctx)
	if co == nil {
		return c
	}
	d, ok := socket(c).(*descriptor)
	if !ok { // Go's
		d = &descriptor{fd: -1, conn: c, remote: c.RemoteAddr()}
		c = d
	}
	d.join(co)
	return c
}

// disown lets goroutines read and write a connection, until it is adopted again.
func disown(c net.Conn) {
	if d, ok := socket(c).(*descriptor); ok {
		d.goConn()
	}
}

// connect dials an entry with Go's dialer. In a coroutine it dials itself where the address needs no look-up: that
// takes neither a goroutine nor Go's poller.
func (u *Upstream) connect(ctx context.Context, e upstreamEntry, by time.Time) (c net.Conn, err error) {
	if co := coroutineOf(ctx); co != nil && e.network == "tcp" {
		if at, err := netip.ParseAddrPort(e.address); err == nil && at.Addr().Zone() == "" {
			return co.connect(ctx, at, by, u.keepAlive)
		}
	}
	offLoop(ctx, func(ctx context.Context) { c, err = u.dialer(by).DialContext(ctx, e.network, e.address) })
	if err != nil {
		return nil, err
	}
	return adopt(ctx, c), nil
}

func (co *coroutine) connect(ctx context.Context, to netip.AddrPort, by time.Time, keepAlive net.KeepAliveConfig) (_ net.Conn, err error) {
	fd, err := rawSocket(familyOf(to))
	if err != nil {
		return nil, err
	}
	d := &descriptor{fd: fd, coroutine: co, remote: net.TCPAddrFromAddrPort(to)}
	if err = setConnectionOptions(fd, keepAlive); err == nil {
		err = d.connect(ctx, to, by)
	}
	if err != nil {
		_ = d.Close() // the first error says more
		return nil, err
	}
	return d, nil
}

func (d *descriptor) connect(ctx context.Context, to netip.AddrPort, by time.Time) error {
	for {
		switch errno := rawConnect(d.fd, to); errno {
		case 0, unix.EISCONN:
			return nil
		case unix.EINPROGRESS, unix.EINTR: // on the same machine it is done by now
		case unix.EALREADY:
			if err := d.waitFor(ctx, by, unix.EPOLLOUT); err != nil {
				return err
			}
		default:
			return os.NewSyscallError("connect", errno)
		}
	}
}

// waitFor is wait, but no longer than until by or the end of ctx.
func (d *descriptor) waitFor(ctx context.Context, by time.Time, events uint32) error {
	ctx, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	by, _ = ctx.Deadline()
	_ = d.SetDeadline(by) // a descriptor takes every deadline
	defer func() { _ = d.SetDeadline(time.Time{}) }()
	defer interruptWith(ctx, d)()
	err := d.wait(events)
	return cmp.Or(ctx.Err(), err)
}

// Go's defaults for keep-alive probes (net.KeepAliveConfig).
const (
	keepAlivePause = 15 // seconds
	keepAliveCount = 9
)

// setConnectionOptions sets the options that Go sets on TCP connections. Accepted connections inherit their listener's.
func setConnectionOptions(fd int, k net.KeepAliveConfig) error {
	seconds := func(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
	options := []struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, cmp.Or(seconds(k.Idle), keepAlivePause)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, cmp.Or(seconds(k.Interval), keepAlivePause)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, cmp.Or(k.Count, keepAliveCount)},
	}
	if !k.Enable {
		options = options[:1]
	}
	for _, o := range options {
		if err := rawSetOption(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}
