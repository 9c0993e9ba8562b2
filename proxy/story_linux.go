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

// A session begins and ends as a story: code that waits, for a packet, a connection, an answer, on the thread of an event loop.
// Where it would block it leaves the thread to the loop, which goes on with it when there is something to read or to write. It is
// a coroutine: to switch to it costs a tenth of a microsecond. A goroutine costs a thread that is woken, five times in a login.
//
//	loop ──▶ accept ──▶ story: startup packet ┄ connect ┄ authentication ┄ ready ──▶ legs of the loop ──▶ story: farewell
//	                                          ┄ the loop serves others until it is its turn
//
// What takes long, or waits for something that no loop knows of, is done apart.
type story struct {
	loop  *loop
	tell  func()
	goOn  func() // on the loop's thread, while the story waits
	leave func() // waits, within the story
	end   func() // of one that rests
}

// restingStories is how many a loop keeps for the next, with the stacks that they have grown.
const restingStories = 16

type storyKey struct{}

// storyOf returns the story that is being told; nil for none.
func storyOf(ctx context.Context) *story {
	t, _ := ctx.Value(storyKey{}).(*story)
	return t
}

func withStory(ctx context.Context, t *story) context.Context {
	return context.WithValue(ctx, storyKey{}, t)
}

// tell begins a story, on the loop's thread. f finds it in its context.
func (l *loop) tell(ctx context.Context, f func(context.Context)) {
	var t *story
	if last := len(l.rests) - 1; last >= 0 {
		t, l.rests = l.rests[last], l.rests[:last]
	} else {
		t = newStory(l)
	}
	t.tell = func() { f(withStory(ctx, t)) }
	t.goOn()
}

func newStory(l *loop) *story {
	t := &story{loop: l}
	next, stop := iter.Pull(func(yield func(struct{}) bool) {
		t.leave = func() { yield(struct{}{}) }
		for {
			t.tell()
			t.tell = nil
			if len(l.rests) == restingStories {
				return
			}
			l.rests = append(l.rests, t)
			if !yield(struct{}{}) {
				return
			}
		}
	})
	t.goOn, t.end = func() { next() }, stop
	return t
}

// apart runs f in a goroutine, if it is called in a story, and returns when f has. f is in no story.
func apart(ctx context.Context, f func(context.Context)) {
	t := storyOf(ctx)
	if t == nil {
		f(ctx)
		return
	}
	var fault error
	go func() {
		defer t.loop.post(t.goOn)
		defer recovered(&fault)
		f(withStory(ctx, nil))
	}()
	t.leave()
	if fault != nil {
		panic(fault)
	}
}

// adopt makes a connection part of the story that is being told, if there is one: to wait for it is to leave the thread.
func adopt(ctx context.Context, c net.Conn) net.Conn {
	t := storyOf(ctx)
	if t == nil {
		return c
	}
	d, ok := socket(c).(*descriptor)
	if !ok { // Go's
		d = &descriptor{fd: -1, conn: c, remote: c.RemoteAddr()}
		c = d
	}
	d.join(t)
	return c
}

// disown lets goroutines read and write a connection, until it is adopted again.
func disown(c net.Conn) {
	if d, ok := socket(c).(*descriptor); ok {
		d.others()
	}
}

// connect is Go's dialer for an entry, but in a story: there an address needs no goroutine, and the connection no poller.
func (u *Upstream) connect(ctx context.Context, e upstreamEntry, by time.Time) (c net.Conn, err error) {
	if t := storyOf(ctx); t != nil && e.network == "tcp" {
		if at, err := netip.ParseAddrPort(e.address); err == nil && at.Addr().Zone() == "" {
			return t.connect(ctx, at, by, u.keepAlive)
		}
	}
	apart(ctx, func(ctx context.Context) { c, err = u.dialer(by).DialContext(ctx, e.network, e.address) })
	if err != nil {
		return nil, err
	}
	return adopt(ctx, c), nil
}

func (t *story) connect(ctx context.Context, to netip.AddrPort, by time.Time, keepAlive net.KeepAliveConfig) (_ net.Conn, err error) {
	fd, err := rawSocket(familyOf(to))
	if err != nil {
		return nil, err
	}
	d := &descriptor{fd: fd, story: t, remote: net.TCPAddrFromAddrPort(to)}
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

// waitFor is wait, at most to that time or the end of ctx.
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

// What Go gives connections of which nothing else is said (net.KeepAliveConfig).
const (
	keepAlivePause = 15 // seconds
	keepAliveCount = 9
)

// setConnectionOptions sets what Go sets on TCP connections. What is accepted has the options of its listener.
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
