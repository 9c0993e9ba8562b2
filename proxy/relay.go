package proxy

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
)

// relay moves the bytes of one session through the engine. Who reads and writes is its driver: goroutines (blocking.go),
// or an event loop (looped_linux.go).
type relay struct {
	client, server net.Conn

	owner
	driver

	mu       sync.Mutex // guards what follows
	engine   *engine.Engine
	rest     rest // what the watch has seen of it
	moved    traffic
	asked    time.Time // since when the client is held; zero where it is not
	behind   bool      // the client has not taken yet all that it was sent
	draining bool

	parked bool   // the pool has the server's connection: only the client's is still the session's
	torn   bool   // the client got a part of a message: nothing can be said to it any more. Who writes to the client has it
	unsent []byte // what the client's socket has not taken yet, when a loop has let go of it: it comes before the last words
	once   sync.Once
	ended  atomic.Bool // the session is over
	end    ending      // why; set before ended is
}

// owner is the session whose bytes a relay moves.
type owner interface {
	// inTurn runs what is to be done for a text of that length when it is its turn, and returns then.
	inTurn(length int, work func())
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

// drain ends the session as soon as no transaction is open, and the client has its answers.
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

// noteBehind notes whether the client has still to take something that it was sent.
func (r *relay) noteBehind(behind bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behind = behind
	r.drained()
}

// drained ends a draining session that is at rest.
func (r *relay) drained() {
	if r.draining && !r.behind && r.engine.Idle() {
		r.finish(ending{side: byShutdown})
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
		if work, length := r.engine.Apart(); work != nil {
			r.workApart(work, length)
		}
	}
	return taken, err
}

// workApart lets a goroutine do what the engine leaves to be done apart. The session may be over before that is.
func (r *relay) workApart(work func(), length int) {
	go func() {
		var fault error
		r.inTurn(length, func() {
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
