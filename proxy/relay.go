package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
)

// readBuffer is what one leg reads at a time, in bytes. PostgreSQL itself sends in pieces of 8 KiB (PQ_SEND_BUFFER_SIZE,
// src/backend/libpq/pqcomm.c); more serves COPY and large rows.
const readBuffer = 16 << 10

// relay moves the bytes of one session: two goroutines, one for each direction, and the engine between them.
//
//	client ── relayClient ──▶ engine ──▶ server
//	client ◀── relayServer ── engine ◀── server
//
// Each goroutine alone writes to the leg opposite to the one that it reads, so neither waits for the other's writes.
type relay struct {
	client, server net.Conn

	owner
	driver

	mu       sync.Mutex // guards what follows
	engine   *engine.Engine
	rest     rest // what the watch has seen of it
	moved    traffic
	asked    time.Time // since when the client is held; zero where it is not
	draining bool
	waiting  bool // relayClient waits until the client is no longer held

	parked  bool // the pool has the server's connection: only the client's is still the session's
	torn    bool // the client got a part of a message: nothing can be said to it any more. relayServer's
	once    sync.Once
	ended   atomic.Bool   // the session is over
	end     ending        // why; set before ended is
	welcome *bytes.Buffer // what the client is to be sent when all of the beginning is there; nil once it was
	resumed chan struct{} // the client is no longer held, or the session is over; for relayClient
}

// owner is the session whose bytes a relay moves.
type owner interface {
	// inTurn runs what takes long when it is its turn, and returns then.
	inTurn(work func())
	// waited is told how long the client was held.
	waited(time.Duration)
	// park makes of the server's connection, which the caller has, one that the pool can keep. It is called once, where
	// engine.Kept says so.
	park(net.Conn) *parked
	// relayed is called, in a coroutine of its own, when an event loop has nothing more to do for the session.
	relayed(ctx context.Context)
}

// driver is what reads and writes for a relay: see blocking and looped.
type driver interface {
	// interrupt makes whoever reads or writes look at ended.
	interrupt()
	// checkClient ends the session if the client has gone: while it is held, nobody reads its connection.
	checkClient()
	// resume goes on with a client that was held for what was done apart; fault is what went wrong with that.
	resume(fault error)
}

// ending says why a session is over.
type ending struct {
	side side
	err  error
}

// side is where a session's end came from.
type side string

const (
	byClient   side = "client"
	byServer   side = "server"
	byShutdown side = "shutdown"
	byTimeout  side = "timeout" // the proxy, because the client rested too long
	byPolicy   side = "policy"  // the proxy, because a new policy does not let the client in
)

func newRelay(o owner, client, server net.Conn, e *engine.Engine) *relay {
	r := &relay{owner: o, client: client, server: server, engine: e}
	r.driver = blocking{r}
	return r
}

// blocking is the driver of goroutines, whose connections block.
type blocking struct{ *relay }

func (b blocking) interrupt() {
	// Where this fails, the connection is closed, and nobody waits for it.
	past := time.Unix(1, 0)
	_ = b.client.SetDeadline(past)
	_ = b.server.SetDeadline(past)
	b.wake()
}

func (b blocking) checkClient() {
	if connHungUp(b.client) {
		b.finish(ending{byClient, io.EOF})
	}
}

func (b blocking) resume(fault error) {
	if fault != nil {
		b.finish(ending{byClient, fault})
		return
	}
	b.worked()
	b.wake()
}

// start relays what the server says before the client may speak, and sends it the proxy's own question. welcome is what the
// client is to be sent first, rest what was read of the server already. It returns false where the session ended with that.
func (r *relay) start(welcome, rest []byte) bool {
	r.welcome = bytes.NewBuffer(welcome)
	var out engine.Out
	var buf buffer
	for ok := r.fromServer(rest, nil, &out); !r.engine.Started(); _, ok = r.readServer(buf.next(0), &out) {
		if !ok {
			return false
		}
		if err := write(r.server, out.Server.Bufs); err != nil {
			r.finish(ending{byServer, err})
			return false
		}
	}
	r.mu.Lock() // as drain and kill do: their deadline must stay
	defer r.mu.Unlock()
	if r.ended.Load() {
		return false
	}
	// The login is over, and its deadline with it. A connection that cannot be given another is closed.
	never := time.Time{}
	_ = r.client.SetDeadline(never)
	_ = r.server.SetDeadline(never)
	return true
}

// run relays until the session is over and both goroutines have ended. The connections are still open then.
func (r *relay) run() {
	r.mu.Lock()
	r.resumed = make(chan struct{}, 1)
	r.mu.Unlock()
	var other sync.WaitGroup
	other.Go(r.relayClient)
	r.relayServer()
	other.Wait()
}

// wake makes relayClient look whether the client is still held.
func (r *relay) wake() {
	select {
	case r.resumed <- struct{}{}:
	default: // it will look anyhow
	}
}

// finish ends the session; the first cause counts. Any goroutine may call it.
func (r *relay) finish(e ending) {
	if r.conclude(e) {
		r.interrupt()
	}
}

// conclude is finish without the interruption. It reports whether the cause is the first.
func (r *relay) conclude(e ending) (first bool) {
	r.once.Do(func() {
		r.end = e
		r.ended.Store(true)
		first = true
	})
	return first
}

// drain ends the session as soon as no transaction is open.
func (r *relay) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	r.drained()
}

// kill ends the session now.
func (r *relay) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finish(ending{side: byShutdown})
}

// expel ends the session now, for a reason of the policy's that its client is told.
func (r *relay) expel(reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finish(ending{byPolicy, reason})
}

// endedBy is the side that ended the session. The other one may have closed its connection first: a server that has read
// Terminate, a client that has read FATAL.
func (r *relay) endedBy() side {
	switch peers := r.end.side == byServer || r.end.side == byClient; {
	case peers && r.engine.Fatal():
		return byServer
	case peers && r.engine.Goodbye():
		return byClient
	default:
		return r.end.side
	}
}

// abandon tells the engine that the session is over. A proxy that stops may look at the engine at the same time.
func (r *relay) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.engine.Abandon()
}

// drained ends a draining session that is at rest.
func (r *relay) drained() {
	if r.draining && r.engine.Idle() {
		r.finish(ending{side: byShutdown})
	}
}

// relayServer is the goroutine that reads from the server.
func (r *relay) relayServer() {
	var out engine.Out
	var buf buffer
	for n, ok := r.readServer(buf.next(0), &out); ok; n, ok = r.readServer(buf.next(n), &out) {
	}
}

// readServer reads from the server once, and relays what it has read. It returns how much that
// was; false when the session is over.
func (r *relay) readServer(buf []byte, out *engine.Out) (n int, ok bool) {
	n, err := r.server.Read(buf)
	return n, r.fromServer(buf[:n], err, out)
}

// fromServer gives the server's bytes to the engine, and writes to the client what comes of
// them; err is how the reading ended.
func (r *relay) fromServer(in []byte, err error, out *engine.Out) bool {
	r.mu.Lock()
	violation := r.feedServer(in, out)
	resting := r.draining && r.engine.Idle()
	if r.waiting && !r.engine.Held() {
		r.waiting = false
		r.wake()
	}
	beginning := !r.engine.Started() && violation == nil && err == nil
	r.mu.Unlock()
	if err := write(r.client, r.coalesce(out.Client.Bufs, beginning)); err != nil {
		r.torn = true
		r.finish(ending{byClient, err})
		return false
	}
	switch {
	case violation != nil:
		r.finish(ending{byServer, violation})
		return false
	case err != nil:
		r.finish(ending{byServer, err})
		return false
	case resting: // and the client has been told that its transaction has ended
		r.drain()
	}
	return true
}

// coalesce returns what to write to the client now. While the session is beginning it holds the pieces back, so that the
// client gets the welcome and all that follows it in one write.
func (r *relay) coalesce(pieces [][]byte, beginning bool) [][]byte {
	if r.welcome == nil {
		return pieces
	}
	for _, p := range pieces {
		r.welcome.Write(p)
	}
	if beginning && r.welcome.Len() < readBuffer {
		return nil
	}
	whole := r.welcome.Bytes()
	r.welcome = nil
	return [][]byte{whole}
}

// relayClient is the goroutine that reads from the client.
func (r *relay) relayClient() {
	var out engine.Out
	var buf buffer
	for n := 0; ; {
		in := buf.next(n)
		var err error
		n, err = r.client.Read(in)
		if !r.fromClient(in[:n], &out) {
			return
		}
		if err != nil {
			r.finish(ending{byClient, err})
			return
		}
	}
}

// fromClient gives the client's bytes to the engine until it has taken them all, and writes to the server what comes of
// them; false when the client has nothing more to say.
func (r *relay) fromClient(in []byte, out *engine.Out) bool {
	for {
		r.mu.Lock()
		if r.ended.Load() {
			r.mu.Unlock()
			return false
		}
		taken, violation := r.feedClient(in, out)
		in = in[taken:]
		r.waiting = r.engine.Held()
		held, goodbye, kept := r.waiting, r.engine.Goodbye(), r.engine.Kept()
		r.mu.Unlock()

		if err := write(r.server, out.Server.Bufs); err != nil {
			// The server has closed. What it said before that, the other goroutine still reads.
			_ = r.server.SetReadDeadline(time.Now().Add(lastWords)) // fails where there is nothing to read
			return false
		}
		switch {
		case violation != nil:
			r.finish(ending{byClient, violation})
			return false
		case kept: // the other goroutine may still have something for the client
			if r.conclude(ending{side: byClient}) {
				_ = r.client.SetWriteDeadline(time.Now().Add(lastWords)) // these fail where nobody waits
				_ = r.server.SetReadDeadline(time.Unix(1, 0))
			}
			return false
		case goodbye: // the server closes when it has done what it was sent
			return false
		case !held:
			return true
		}
		<-r.resumed
	}
}

// feedServer and feedClient call engine.Server and engine.Client, and count. A panic there ends this session, and no other.
func (r *relay) feedServer(in []byte, out *engine.Out) (err error) {
	defer recovered(&err)
	r.moved.fromServer += uint64(len(in))
	err = r.engine.Server(in, out)
	if !r.asked.IsZero() && !r.engine.Held() {
		r.waited(time.Since(r.asked))
		r.asked = time.Time{}
	}
	return err
}

func (r *relay) feedClient(in []byte, out *engine.Out) (taken int, err error) {
	defer recovered(&err)
	taken, err = r.engine.Client(in, out)
	r.moved.fromClient += uint64(taken) //nolint:gosec // a count
	if r.engine.Held() {
		if r.asked.IsZero() {
			r.asked = time.Now()
		}
		if work := r.engine.Apart(); work != nil {
			r.workApart(work)
		}
	}
	return taken, err
}

// workApart lets a goroutine do what the engine leaves to be done apart. The session may be over before that is.
func (r *relay) workApart(work func()) {
	go func() {
		var fault error
		r.inTurn(func() {
			defer recovered(&fault)
			if !r.ended.Load() {
				work()
			}
		})
		r.resume(fault)
	}()
}

// worked tells the engine that it was done.
func (r *relay) worked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.engine.Worked()
	r.asked = time.Time{} // which was not of the server
}

// panicked is the end of a session by a fault of the proxy's own.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v\n%s", p.value, p.stack) }

// recovered makes an error of a panic. It is to be deferred.
func recovered(err *error) {
	if value := recover(); value != nil {
		*err = &panicked{value, debug.Stack()}
	}
}

// lastWords bounds the reading and writing that is left to do when a session is over.
const lastWords = 5 * time.Second

// write writes the pieces to a leg.
func write(c net.Conn, pieces [][]byte) error {
	switch len(pieces) {
	case 0:
		return nil
	case 1:
		_, err := c.Write(pieces[0])
		return err
	}
	b := net.Buffers(pieces)
	_, err := b.WriteTo(c)
	return err
}
