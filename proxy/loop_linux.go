package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
)

// An event loop is the other driver of a relay. Two goroutines wake a goroutine for each message on each leg, and that
// is what they cost: a loop is one thread that reads what is there and writes it at once. A leg may have TLS
// (loop_tls_linux.go).
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

// loopCount is how many loops serve a machine with so many processors: the server and its clients want some as well, and
// one loop that is always awake does the work of two that wake each other (on two cores, with pgbench and PostgreSQL
// beside it: 11 seconds of CPU per million statements, not 18).
func loopCount(processors int) int { return max(1, processors/2) }

// loops are the event loops of a server.
type loops struct {
	list []*loop
	mu   sync.Mutex
	next int
	wg   sync.WaitGroup
}

// newLoops starts the event loops for a machine with so many processors. close ends them.
func newLoops(processors int) (*loops, error) {
	ls := new(loops)
	for range loopCount(processors) {
		l, err := newLoop()
		if err != nil {
			ls.close()
			return nil, err
		}
		ls.list = append(ls.list, l)
		ls.wg.Go(l.run)
	}
	return ls, nil
}

// close ends the loops. Their sessions must have ended before.
func (ls *loops) close() {
	for _, l := range ls.list {
		l.post(l.shut)
	}
	ls.wg.Wait()
}

// take hands a relay over to a loop, which calls done in a goroutine of its own when the session is over. It returns
// false where the session must be relayed by goroutines.
func (ls *loops) take(r *relay, done func()) bool {
	client, ok := rawDescriptor(r.client)
	if !ok {
		return false
	}
	server, ok := rawDescriptor(r.server)
	if !ok {
		_ = unix.Close(client) // a copy: none of Go's connections is given up
		return false
	}
	ls.mu.Lock()
	l := ls.list[ls.next%len(ls.list)]
	ls.next++
	ls.mu.Unlock()

	s := &looped{relay: r, loop: l, done: done}
	s.client = leg{session: s, fd: client, peer: &s.server}
	s.server = leg{session: s, fd: server, peer: &s.client}
	// Go's poller must not look at them any more. The copies live on.
	_ = socket(r.client).Close()
	_ = socket(r.server).Close()
	r.mu.Lock()
	s.client.attach(r.client)
	s.server.attach(r.server)
	if link, ok := r.server.(*serverLink); ok {
		link.Conn = nil // its owner keeps the link
	}
	r.client, r.server, r.driver = nil, nil, s
	r.mu.Unlock()
	l.post(s.begin)
	return true
}

// rawDescriptor returns the connection's descriptor, or a copy where it is Go's, non-blocking; false where the connection is
// more than that.
func rawDescriptor(c net.Conn) (int, bool) {
	switch c := socket(c).(type) {
	case *net.TCPConn:
		return duplicate(c)
	case *net.UnixConn:
		return duplicate(c)
	case *descriptor:
		if fd, ok := c.release(); ok {
			return fd, true
		}
		return rawDescriptor(c.conn)
	default:
		return 0, false
	}
}

func duplicate(c syscall.Conn) (fd int, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	var failed error
	if err := raw.Control(func(original uintptr) {
		fd, failed = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil || failed != nil {
		return 0, false
	}
	return fd, true // it shares O_NONBLOCK with the original
}

// loop is one thread with its sessions.
type loop struct {
	epoll int
	wake  int    // an eventfd: there is something in posted
	legs  []*leg // by descriptor
	buf   []byte
	out   engine.Out
	hold  bool // it may keep a processor while it waits: there are others

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
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), unix.Close(epoll))
	}
	l := &loop{epoll: epoll, wake: wake, buf: make([]byte, loopBuffer), hold: runtime.GOMAXPROCS(0) > 1}
	l.ciphertext.buf = make([]byte, sealedBuffer)
	if err := l.control(unix.EPOLL_CTL_ADD, wake, unix.EPOLLIN); err != nil {
		return nil, errors.Join(err, unix.Close(epoll), unix.Close(wake))
	}
	return l, nil
}

func (l *loop) closeDescriptors() {
	_ = unix.Close(l.epoll)
	_ = unix.Close(l.wake)
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
		_, _ = unix.Write(l.wake, one[:]) // fails only where the counter is full, and the loop awake
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
			if int(e.Fd) == l.wake {
				l.runPosted()
				continue
			}
			if g := l.legAt(int(e.Fd)); g != nil {
				g.ready(e.Events)
			}
		}
	}
	for _, g := range l.legs { // all sessions have ended: what is left are connections that are not reset yet
		if g != nil {
			g.session.parting.timer.Stop()
			g.release()
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
	n, err := unix.EpollWait(l.epoll, events, -1)
	if err != nil && !errors.Is(err, unix.EINTR) {
		panic(os.NewSyscallError("epoll_wait", err)) // the descriptor is ours, and so are the arguments
	}
	return max(n, 0)
}

func (l *loop) runPosted() {
	var counter [8]byte
	_, _ = unix.Read(l.wake, counter[:]) // resets it
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
}

func (l *loop) legAt(fd int) *leg {
	if fd < len(l.legs) {
		return l.legs[fd]
	}
	return nil
}

func (l *loop) setLeg(fd int, g *leg) {
	for fd >= len(l.legs) {
		l.legs = append(l.legs, nil)
	}
	l.legs[fd] = g
}

// looped is a session in a loop. All methods run on the loop's thread, but for those of a driver.
type looped struct {
	*relay
	loop           *loop
	client, server leg
	held           []byte // what the client said and the engine has not taken
	done           func()
	over           bool
	parting        *parting // the server's connection, once the client has left it
}

// parting is a server connection that is made ready for the next client.
type parting struct {
	*parked
	talk  talk
	timer *time.Timer
}

// leg is one connection of a session.
type leg struct {
	session *looped
	peer    *leg
	fd      int
	mask    uint32    // what epoll waits for
	unsent  []byte    // what the connection would not take yet; meanwhile nothing is read from the peer
	tls     *tls.Conn // nil without TLS
	deaf    bool      // nothing is read: the client is held, or has said goodbye
	last    bool      // crypto/tls has said with its last words that it has ended: they are to be taken first
}

func (s *looped) begin() {
	for _, g := range []*leg{&s.client, &s.server} {
		g.mask = unix.EPOLLIN
		if err := s.loop.control(unix.EPOLL_CTL_ADD, g.fd, g.mask); err != nil {
			s.stop(ending{byServer, err})
			return
		}
		s.loop.setLeg(g.fd, g)
	}
	select {
	case <-s.ended: // while it was on its way
		s.finish()
	default:
		s.server.listenBehind()
		s.client.listenBehind()
	}
}

// stop ends the session, from within the loop.
func (s *looped) stop(e ending) {
	s.conclude(e)
	s.finish()
}

func (s *looped) interrupt() { s.loop.post(s.finish) }

func (s *looped) miss() {
	s.loop.post(func() {
		if !s.over && hungUp(s.client.fd) {
			s.stop(ending{byClient, io.EOF})
		}
	})
}

// part ends the session of a client that has left its server connection at rest, and resets that.
func (s *looped) part() {
	if !s.conclude(ending{side: byClient}) {
		return // finish is on its way
	}
	s.over, s.left = true, true
	s.remove(&s.client)
	s.parting = &parting{parked: s.park(s.server.conn())}
	s.parting.timer = time.AfterFunc(lastWords, func() { s.loop.post(func() { s.parted(os.ErrDeadlineExceeded) }) })
	reset := s.server.seal([][]byte{s.parting.talk.ask(resetSQL...)})
	if len(s.server.write(reset)) > 0 { // it rests: there is room for so little
		s.parted(io.ErrShortWrite)
	}
	go func() {
		s.relay.client = s.client.release()
		s.done()
	}()
}

// answered reads what the server says to that.
func (s *looped) answered() {
	in, err := s.server.hear()
	if err == nil {
		err = s.parting.talk.take(in)
	}
	if err != nil || s.parting.talk.over() {
		s.parted(err)
	}
}

// parted gives the connection to the pool, or closes it where it could not be reset.
func (s *looped) parted(err error) {
	if s.parting.parked == nil {
		return // both at once: the answer and the end of the time for it
	}
	s.parting.timer.Stop()
	s.remove(&s.server)
	s.server.release()
	s.parting.settle(err)
	s.parting.parked = nil
}

// remove takes a leg out of the loop.
func (s *looped) remove(g *leg) {
	if s.loop.legAt(g.fd) == g {
		s.loop.setLeg(g.fd, nil)
		_ = s.loop.control(unix.EPOLL_CTL_DEL, g.fd, 0) // it was added
	}
}

// finish takes the session out of the loop.
func (s *looped) finish() {
	if s.over {
		return
	}
	s.over = true
	s.remove(&s.client)
	s.remove(&s.server)
	s.torn = s.torn || len(s.client.unsent) > 0
	go func() {
		s.relay.client, s.relay.server = s.client.release(), s.server.release()
		s.done()
	}()
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

// read reads once from a leg, and relays what was read.
func (s *looped) read(g *leg) {
	select {
	case <-s.ended:
		return // finish is on its way
	default:
	}
	in, err := g.hear()
	s.heard(g, in, err)
}

// heard relays what was read from a leg, and what ended the reading, if anything did.
func (s *looped) heard(g *leg, in []byte, err error) {
	switch {
	case s.over || len(in) == 0:
	case g == &s.client:
		s.fromClient(in)
	default:
		s.fromServer(in)
	}
	switch {
	case s.over || err == nil:
	case g.hears():
		s.stop(ending{g.side(), err})
	default:
		g.last = true
	}
}

// hear reads once from a leg. It returns neither bytes nor an error where there are none.
func (g *leg) hear() (in []byte, err error) {
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

func (s *looped) fromServer(in []byte) {
	out := &s.loop.out
	s.mu.Lock()
	violation := s.listen(in, out)
	resting := s.draining && s.engine.Idle()
	resumed := s.client.deaf && !s.engine.Held() && !s.engine.Goodbye()
	s.mu.Unlock()
	s.client.send(out.Client.Bufs)
	switch {
	case s.over:
	case violation != nil:
		s.stop(ending{byServer, violation})
	case resting:
		s.drain()
	case resumed:
		s.client.deaf = false
		s.fromClient(nil)
	}
}

// fromClient gives the engine what the client says, and before that what it has not taken yet.
func (s *looped) fromClient(in []byte) {
	if len(s.held) > 0 {
		in = append(s.held, in...)
	}
	out := &s.loop.out
	s.mu.Lock()
	taken, violation := s.speak(in, out)
	held, goodbye, kept := s.engine.Held(), s.engine.Goodbye(), s.engine.Kept()
	s.mu.Unlock()
	s.server.send(out.Server.Bufs)
	s.held = nil
	if taken < len(in) {
		s.held = append([]byte(nil), in[taken:]...)
	}
	s.client.deaf = held || goodbye
	switch {
	case s.over:
	case violation != nil:
		s.stop(ending{byClient, violation})
	case kept:
		s.part()
	default:
		s.client.listen()
	}
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
		for n > 0 && n >= len(pieces[0]) {
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
	mask := g.mask & unix.EPOLLIN
	if g.hears() {
		mask = unix.EPOLLIN
	}
	if len(g.unsent) > 0 {
		mask |= unix.EPOLLOUT
	}
	if mask != g.mask {
		g.await(mask)
	}
}

// await tells epoll what to wait for.
func (g *leg) await(mask uint32) {
	g.mask = mask
	if err := g.session.loop.control(unix.EPOLL_CTL_MOD, g.fd, mask); err != nil {
		g.session.stop(ending{g.side(), err})
	}
}

// The system calls of the byte path. They do not block, or not for long, so the scheduler need not be told about them.

// rawSchedBatch makes the kernel take no processor away from anybody for the thread, which is woken for each message: when its
// turn comes, there are more of them. The policy knows no priority. Where it is not allowed, the loop works as well, only slower.
func rawSchedBatch() {
	var priority int32
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_BATCH, uintptr(unsafe.Pointer(&priority))) //nolint:gosec // as package syscall does
}

func rawEpollWait(epoll int, events []unix.EpollEvent, milliseconds int) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(milliseconds), 0, 0) //nolint:gosec // as package syscall does
	return int(n), errno
}

// rawRead and rawWrite are recv and send: on a socket 5 % less than read and write, which go by way of files.
func rawRead(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0) //nolint:gosec // as package syscall does
	return int(n), errno
}

func rawWrite(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0) //nolint:gosec // as package syscall does
	return int(n), errno
}

// maxPieces is how many pieces one system call writes: IOV_MAX is 1024.
const maxPieces = 64

func rawWritev(fd int, pieces [][]byte) (int, syscall.Errno) {
	var vec [maxPieces]unix.Iovec
	n := 0
	for _, p := range pieces[:min(len(pieces), maxPieces)] {
		if len(p) > 0 {
			vec[n].Base = unsafe.SliceData(p) //nolint:gosec // as package syscall does
			vec[n].SetLen(len(p))
			n++
		}
	}
	w, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vec[0])), uintptr(n)) //nolint:gosec // as package syscall does
	return int(w), errno
}
