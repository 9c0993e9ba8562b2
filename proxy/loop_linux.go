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

// An event loop is the other driver of a relay. With two goroutines, each message on each leg wakes one of them,
// and waking is what costs. A loop is one thread that reads what is there and writes it at once, or together with what
// others write (batch_linux.go). There are several loops (loops_linux.go); a session is in one of them
// (looped_linux.go), with two legs (leg_linux.go), which may have TLS (loop_tls_linux.go). Clients are accepted there
// too (acceptor_linux.go), and sessions begin and end as coroutines of the loop (coroutine_linux.go).
//
//	         ┌───────────── loop: one thread, one buffer ─────────────┐
//	client ──┼▶ read ─▶ engine.Client ─▶ write ─▶ (rest waits) ───────┼─▶ server
//	client ◀─┼─ (rest waits) ◀─ write ◀─ engine.Server ◀─ read ◀──────┼── server
//	         └─────────────────────────────────────────────────────────┘
//
// A session at rest takes no more than two descriptors, an engine, and the bytes that a leg has not taken yet.

const (
	loopBuffer = 64 << 10 // bytes read at a time, for all sessions of a loop together
	loopEvents = 256      // taken from the kernel at a time
	loopPause  = 5        // milliseconds without an event until a loop leaves its processor to others
)

// loop is one thread with its sessions.
type loop struct {
	epoll    int
	wakeup   int          // an eventfd: there is something in posted
	handlers []handler    // by descriptor: who is told of its events
	count    atomic.Int32 // of the descriptors in handlers
	buf      []byte
	out      engine.Out
	batch    *batch

	keepsProcessor bool         // it may keep one of Go's processors while it waits: there are others
	due            time.Time    // no handler's deadline is earlier; zero where none has one
	idle           []*coroutine // that have ended, and can run another body

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
	wakeup, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), unix.Close(epoll))
	}
	l := &loop{epoll: epoll, wakeup: wakeup, buf: make([]byte, loopBuffer), batch: newBatch()}
	l.ciphertext.buf = make([]byte, sealedBuffer)
	if err := l.control(unix.EPOLL_CTL_ADD, wakeup, unix.EPOLLIN); err != nil {
		l.closeDescriptors()
		return nil, err
	}
	return l, nil
}

func (l *loop) closeDescriptors() {
	l.batch.close()
	_ = unix.Close(l.epoll)
	_ = unix.Close(l.wakeup)
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
		_, _ = unix.Write(l.wakeup, one[:]) // fails only where the counter is full, and the loop awake
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
		l.turn(events[:l.wait(events)])
	}
	for _, co := range l.idle {
		co.stop()
	}
	for _, h := range l.handlers { // all sessions have ended: what is left are connections that are not reset yet
		if g, ok := h.(*leg); ok {
			g.session.releaseServer()
			g.session.resetting.close()
		}
	}
}

// turn handles events, and writes what comes of them (batch_linux.go).
func (l *loop) turn(events []unix.EpollEvent) {
	for _, e := range events {
		if int(e.Fd) == l.wakeup {
			l.runPosted()
		} else if h := l.at(int(e.Fd)); h != nil {
			h.ready(e.Events)
		}
	}
	l.expire()
	l.batch.end()
}

// wait waits for events and returns how many there are. While there is traffic, it does not tell Go's scheduler that
// it blocks: the scheduler would take the processor away, have its monitor look for such threads every 20 µs, and
// hand a processor back for each event.
func (l *loop) wait(events []unix.EpollEvent) int {
	if l.keepsProcessor {
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
	_, _ = unix.Read(l.wakeup, counter[:]) // resets it
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
}

// handler is told of the events of a descriptor, on the loop's thread.
type handler interface {
	ready(events uint32)
	// expire ends what has waited beyond its deadline. A deadline that is still to come it gives to loop.expireBy.
	expire(now time.Time)
}

func (l *loop) at(fd int) handler {
	if fd < len(l.handlers) {
		return l.handlers[fd]
	}
	return nil
}

func (l *loop) set(fd int, h handler) {
	for fd >= len(l.handlers) {
		l.handlers = append(l.handlers, nil)
	}
	switch before := l.handlers[fd]; {
	case before == nil && h != nil:
		l.count.Add(1)
	case before != nil && h == nil:
		l.count.Add(-1)
	}
	l.handlers[fd] = h
}

// attached marks a descriptor that epoll has, also one that is neither to be read nor written.
// epoll reports this event in any case.
const attached uint32 = unix.EPOLLHUP

// setInterest has h told of the events in mask from now on; before is the mask that epoll has now.
func (l *loop) setInterest(fd int, before, mask uint32, h handler) error {
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

// expireBy makes the loop call expire at that time at the latest.
func (l *loop) expireBy(at time.Time) {
	if l.due.IsZero() || at.Before(l.due) {
		l.due = at
	}
}

// expire tells all handlers the time once a deadline may have passed. Few waits last that long, so a list of
// deadlines would cost more than it saves.
func (l *loop) expire() {
	if l.due.IsZero() {
		return
	}
	now := time.Now()
	if now.Before(l.due) {
		return
	}
	l.due = time.Time{}
	for fd := 0; fd < len(l.handlers); fd++ { // there may be more meanwhile
		if h := l.handlers[fd]; h != nil {
			h.expire(now)
		}
	}
}
