package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
)

// An event loop is the other driver of a relay. Two goroutines wake a goroutine for each message on each leg, and that
// is what they cost: a loop is one thread that reads what is there and writes it at once. A leg may have TLS
// (loop_tls_linux.go). How sessions begin and end on the thread: story_linux.go.
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

// loops are the event loops of a server, one for each processor. The first half serves as long as it is not crowded: the server and
// its clients want processors as well, and one loop that is always awake does the work of two that wake each other (on two cores,
// with pgbench's 16 clients and PostgreSQL beside it: 9.7 seconds of CPU per million statements, not 11.7). With many clients a
// loop waits for its turn on a processor that others want, while another processor has nothing to do but to wait for the loop: then
// the rest helps (64 clients: the processors idle for 2 % of the time, not for 8).
type loops struct {
	list  []*loop
	doors []*door
	wg    sync.WaitGroup
}

// crowd is how many descriptors a loop of the first half has when the others help: those of 32 sessions.
const crowd = 64

// newLoops starts the event loops for a machine with so many processors. close ends them.
func newLoops(processors int) (*loops, error) {
	ls := new(loops)
	for i := range processors {
		l, err := newLoop()
		if err != nil {
			ls.close()
			return nil, err
		}
		l.hold = i+1 < runtime.GOMAXPROCS(0)
		ls.list = append(ls.list, l)
		ls.wg.Go(l.run)
	}
	return ls, nil
}

// next returns the loop that a session goes to.
func (ls *loops) next() *loop {
	fewest := func(a, b *loop) int { return cmp.Compare(a.count.Load(), b.count.Load()) }
	l := slices.MinFunc(ls.list[:max(1, len(ls.list)/2)], fewest)
	if l.count.Load() < crowd {
		return l
	}
	return slices.MinFunc(ls.list, fewest)
}

// close ends the loops. Their sessions must have ended before.
func (ls *loops) close() {
	for _, l := range ls.list {
		l.post(l.shut)
	}
	ls.wg.Wait()
}

// handOver gives a relay whose story is being told to the loop, which begins another with its owner when the session is over. It
// returns false where goroutines must relay the session.
func handOver(r *relay) bool {
	client, server := described(r.client), described(r.server)
	if client == nil || server == nil {
		return false
	}
	s := &looped{relay: r, loop: client.story.loop}
	s.client = leg{session: s, peer: &s.server}
	s.server = leg{session: s, peer: &s.client}
	s.client.fd, s.client.mask, _ = client.release()
	s.server.fd, s.server.mask, _ = server.release()
	r.mu.Lock()
	s.client.attach(r.client)
	s.server.attach(r.server)
	if link, ok := r.server.(*serverLink); ok {
		link.Conn = nil // its owner keeps the link
	}
	r.client, r.server, r.driver = nil, nil, s
	r.mu.Unlock()
	s.begin()
	return true
}

// described returns the descriptor that a connection is in a story, below its TLS; nil where it is in none.
func described(c net.Conn) *descriptor {
	if d, ok := socket(c).(*descriptor); ok && d.story != nil {
		return d
	}
	return nil
}

// loop is one thread with its sessions.
type loop struct {
	epoll int
	bell  int          // an eventfd: there is something in posted
	heard []listener   // by descriptor: who is told of its events
	count atomic.Int32 // of the descriptors in heard
	buf   []byte
	out   engine.Out
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
	for _, h := range l.heard { // all sessions have ended: what is left are connections that are not reset yet
		if g, ok := h.(*leg); ok {
			g.session.remove(g)
			g.release(nil)
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
	if fd < len(l.heard) {
		return l.heard[fd]
	}
	return nil
}

func (l *loop) set(fd int, h listener) {
	for fd >= len(l.heard) {
		l.heard = append(l.heard, nil)
	}
	switch before := l.heard[fd]; {
	case before == nil && h != nil:
		l.count.Add(1)
	case before != nil && h == nil:
		l.count.Add(-1)
	}
	l.heard[fd] = h
}

// attached is in the mask of what epoll looks at, also where it is not to be read or written: of this event it tells in any case.
const attached uint32 = unix.EPOLLHUP

// hear tells h of the events in mask, where epoll has waited for those in before.
func (l *loop) hear(fd int, before, mask uint32, h listener) error {
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
	for fd := 0; fd < len(l.heard); fd++ { // there may be more meanwhile
		if h := l.heard[fd]; h != nil {
			h.late(now)
		}
	}
}

// looped is a session in a loop. All methods run on the loop's thread, but for those of a driver.
type looped struct {
	*relay
	loop           *loop
	client, server leg
	held           []byte // what the client said and the engine has not taken
	over           bool
	parting        *parting // the server's connection, once the client has left it
}

// parting is a server connection that is made ready for the next client.
type parting struct {
	*parked
	talk  talk
	until time.Time // by then it must be
}

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

func (s *looped) begin() {
	for _, g := range []*leg{&s.client, &s.server} {
		before := g.mask
		g.mask = attached | unix.EPOLLIN
		if err := s.loop.hear(g.fd, before, g.mask, g); err != nil {
			s.stop(ending{byServer, err})
			return
		}
	}
	if s.ended.Load() { // while it was on its way
		s.finish()
		return
	}
	s.server.listenBehind()
	s.client.listenBehind()
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
	s.parting = &parting{parked: s.park(s.server.conn()), until: time.Now().Add(lastWords)}
	s.loop.wake(s.parting.until)
	reset := s.server.seal([][]byte{s.parting.talk.ask(s.parting.resetSQL()...)})
	if len(s.server.write(reset)) > 0 { // it rests: there is room for so little
		s.parted(io.ErrShortWrite)
	}
	s.loop.tell(context.Background(), func(ctx context.Context) {
		s.relay.client = s.client.release(storyOf(ctx))
		s.relayed(ctx)
	})
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
	s.remove(&s.server)
	if s.server.tls != nil { // what is parked has TLS above it
		s.server.release(nil)
	}
	s.parting.settle(err)
}

// remove takes a leg out of the loop.
func (s *looped) remove(g *leg) {
	if g.mask != 0 {
		_ = s.loop.hear(g.fd, g.mask, 0, nil) // it was added
		g.mask = 0
	}
}

// finish takes the session out of the loop.
func (s *looped) finish() {
	if s.over {
		return
	}
	s.over = true
	s.torn = s.torn || len(s.client.unsent) > 0
	s.loop.tell(context.Background(), func(ctx context.Context) {
		s.relay.client, s.relay.server = s.client.release(storyOf(ctx)), s.server.release(storyOf(ctx))
		s.relayed(ctx)
	})
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

// read reads once from a leg, and relays what was read.
func (s *looped) read(g *leg) {
	if s.ended.Load() {
		return // finish is on its way
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
	held, goodbye := s.engine.Held(), s.engine.Goodbye()
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
	case goodbye:
		s.goodbye()
	default:
		s.client.listen()
	}
}

// goodbye is for a client that has nothing more to say, and is going to close.
func (s *looped) goodbye() {
	s.mu.Lock()
	kept, rests := s.engine.Kept(), s.engine.ServerRests()
	s.mu.Unlock()
	switch {
	case len(s.client.unsent) > 0:
		s.client.listen() // when it has got that, flush comes here again
	case kept:
		s.part()
	case rests && len(s.server.unsent) == 0: // nor has the server
		s.stop(ending{side: byClient})
	default:
		s.remove(&s.client)
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
	if err := g.session.loop.hear(g.fd, before, mask, g); err != nil {
		g.session.stop(ending{g.side(), err})
	}
}
