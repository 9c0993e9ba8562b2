package proxy

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
)

// An event loop is the other driver of a relay. Two goroutines wake a goroutine for each message on each leg, and that
// is what they cost: a loop is one thread that reads what is there and writes it at once. There are several (loops_linux.go);
// a session is in one of them (looped_linux.go) with two legs (leg_linux.go), which may have TLS (loop_tls_linux.go). How sessions
// begin and end on the thread: story_linux.go.
//
//	         ┌───────────── loop: one thread, one buffer ─────────────┐
//	client ──┼▶ read ─▶ engine.Client ─▶ write ─▶ (rest waits) ───────┼─▶ server
//	client ◀─┼─ (rest waits) ◀─ write ◀─ engine.Server ◀─ read ◀──────┼── server
//	         └─────────────────────────────────────────────────────────┘
//
// Nothing is kept for a session at rest but two descriptors, an engine and the bytes that a leg would not take.

const (
	loopBuffer = 64 << 10 // bytes read at a time, for all sessions of a loop together
	loopEvents = 256      // taken from the kernel at a time
	loopPause  = 5        // milliseconds without an event until a loop leaves its processor to others
)

// loop is one thread with its sessions.
type loop struct {
	epoll     int
	bell      int          // an eventfd: there is something in posted
	listeners []listener   // by descriptor: who is told of its events
	count     atomic.Int32 // of the descriptors in listeners
	buf       []byte
	out       engine.Out

	hold  bool      // it may keep a processor while it waits: there are others
	due   time.Time // when the first of those that wait has waited for too long, at the earliest; zero for never
	rests []*story  // that are told to the end, and can tell another

	ciphertext ciphertext // of the leg with TLS whose turn it is

	mu     sync.Mutex
	posted []func()
	closed bool
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), unix.Close(epoll))
	}
	l := &loop{epoll: epoll, bell: bell, buf: make([]byte, loopBuffer)}
	l.ciphertext.buf = make([]byte, sealedBuffer)
	if err := l.control(unix.EPOLL_CTL_ADD, bell, unix.EPOLLIN); err != nil {
		return nil, errors.Join(err, unix.Close(epoll), unix.Close(bell))
	}
	return l, nil
}

func (l *loop) closeDescriptors() {
	_ = unix.Close(l.epoll)
	_ = unix.Close(l.bell)
}

func (l *loop) control(op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})) //nolint:gosec // descriptors are small
}

// post lets the loop's thread run f soon, unless the loop has ended.
func (l *loop) post(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.posted = append(l.posted, f)
	if len(l.posted) == 1 {
		one := [8]byte{1}
		_, _ = unix.Write(l.bell, one[:]) // fails only where the counter is full, and the loop awake
	}
}

// shut ends the loop, from within.
func (l *loop) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// run is the thread. It ends with the loop, since Go gives no locked thread to others.
func (l *loop) run() {
	runtime.LockOSThread()
	defer l.closeDescriptors()
	rawSchedBatch()
	events := make([]unix.EpollEvent, loopEvents)
	for !l.closed {
		for _, e := range events[:l.wait(events)] {
			if int(e.Fd) == l.bell {
				l.runPosted()
				continue
			}
			if h := l.at(int(e.Fd)); h != nil {
				h.ready(e.Events)
			}
		}
		l.remind()
	}
	for _, t := range l.rests {
		t.end()
	}
	for _, h := range l.listeners { // all sessions have ended: what is left are connections that are not reset yet
		if g, ok := h.(*leg); ok {
			g.session.free()
			g.session.parting.close()
		}
	}
}

// wait waits for events and returns how many there are. While there is traffic, it does so without a word to Go's
// scheduler, which else takes the processor away, has its monitor look for such threads every 20 µs, and gives a
// processor back for each event.
func (l *loop) wait(events []unix.EpollEvent) int {
	if l.hold {
		n, errno := rawEpollWait(l.epoll, events, loopPause)
		if n > 0 || errno == unix.EINTR {
			return max(n, 0)
		}
	}
	pause := -1
	if !l.due.IsZero() {
		pause = int(max(0, time.Until(l.due))/time.Millisecond) + 1
	}
	n, err := unix.EpollWait(l.epoll, events, pause)
	if err != nil && !errors.Is(err, unix.EINTR) {
		panic(os.NewSyscallError("epoll_wait", err)) // the descriptor is ours, and so are the arguments
	}
	return max(n, 0)
}

func (l *loop) runPosted() {
	var counter [8]byte
	_, _ = unix.Read(l.bell, counter[:]) // resets it
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
}

// listener is told of the events of a descriptor, on the loop's thread.
type listener interface {
	ready(events uint32)
	// late ends what has waited until now for too long. What may still wait, it tells the loop of by wake.
	late(now time.Time)
}

func (l *loop) at(fd int) listener {
	if fd < len(l.listeners) {
		return l.listeners[fd]
	}
	return nil
}

func (l *loop) set(fd int, h listener) {
	for fd >= len(l.listeners) {
		l.listeners = append(l.listeners, nil)
	}
	switch before := l.listeners[fd]; {
	case before == nil && h != nil:
		l.count.Add(1)
	case before != nil && h == nil:
		l.count.Add(-1)
	}
	l.listeners[fd] = h
}

// attached is in the mask of what epoll looks at, also where it is not to be read or written: of this event it tells in any case.
const attached uint32 = unix.EPOLLHUP

// listen has h told of the events in mask, where epoll has waited for those in before.
func (l *loop) listen(fd int, before, mask uint32, h listener) error {
	op := unix.EPOLL_CTL_MOD
	switch {
	case before == mask:
		l.set(fd, h)
		return nil
	case before == 0:
		op = unix.EPOLL_CTL_ADD
	case mask == 0:
		op, h = unix.EPOLL_CTL_DEL, nil
	}
	l.set(fd, h)
	return l.control(op, fd, mask)
}

// wake makes the loop look at that time, or before, who is late.
func (l *loop) wake(at time.Time) {
	if l.due.IsZero() || at.Before(l.due) {
		l.due = at
	}
}

// remind looks who is late, when somebody may be. Most that wait do not do so for long: it is not often that it looks.
func (l *loop) remind() {
	if l.due.IsZero() {
		return
	}
	now := time.Now()
	if now.Before(l.due) {
		return
	}
	l.due = time.Time{}
	for fd := 0; fd < len(l.listeners); fd++ { // there may be more meanwhile
		if h := l.listeners[fd]; h != nil {
			h.late(now)
		}
	}
}
