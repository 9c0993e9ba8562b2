package proxy

import (
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/scope"
)

// blocking is the driver of two goroutines, one for each direction, with the engine between them. Their connections block.
//
//	client ── relayClient ──▶ engine ──▶ server
//	client ◀── relayServer ── engine ◀── server
//
// Each goroutine alone writes to the leg opposite to the one that it reads, so neither waits for the other's writes. Every
// session begins with this driver, in one goroutine: see start.
type blocking struct {
	*relay
	welcome []byte        // what the client is to be sent when all of the beginning is there; nil once it was
	waiting bool          // relayClient waits until the client is no longer held; guarded by mu
	resumed chan struct{} // the client is no longer held, or the session is over; for relayClient. Set under mu
}

// namesRoom is how much longer the beginning may get by the names that the client has for its role and its search_path, in
// bytes; it can be more.
const namesRoom = 2 * scope.MaxName

func newBlocking(o owner, client, server net.Conn, e *engine.Engine) *blocking {
	b := &blocking{relay: &relay{owner: o, client: client, server: server, engine: e}}
	b.driver = b
	return b
}

// start relays what the server says before the client may speak, and sends it the proxy's own question. welcome is what the
// client is to be sent first, rest what was read of the server already. It returns false where the session ended with that.
func (b *blocking) start(welcome, rest []byte) bool {
	b.welcome = slices.Grow(welcome, len(rest)+namesRoom)
	var out engine.Out
	var buf buffer
	for ok := b.fromServer(rest, nil, &out); !b.engine.Started(); _, ok = b.readServer(buf.next(0), &out) {
		if !ok {
			return false
		}
		if err := write(b.server, out.Server.Bufs); err != nil {
			b.finish(ending{byServer, err})
			return false
		}
	}
	b.mu.Lock() // as drain and kill do: their deadline must stay
	defer b.mu.Unlock()
	if b.ended.Load() {
		return false
	}
	// The login is over, and its deadline with it. A connection that cannot be given another is closed.
	never := time.Time{}
	_ = b.client.SetDeadline(never)
	_ = b.server.SetDeadline(never)
	return true
}

// run relays until the session is over and both goroutines have ended. The connections are still open then.
func (b *blocking) run() {
	b.mu.Lock()
	b.resumed = make(chan struct{}, 1)
	b.mu.Unlock()
	var other sync.WaitGroup
	other.Go(b.relayClient)
	b.relayServer()
	other.Wait()
}

// relayClient is the goroutine that reads from the client.
func (b *blocking) relayClient() {
	var out engine.Out
	var buf buffer
	for n := 0; ; {
		in := buf.next(n)
		var err error
		n, err = b.client.Read(in)
		if !b.fromClient(in[:n], &out) {
			return
		}
		if err != nil {
			b.finish(ending{byClient, err})
			return
		}
	}
}

// fromClient gives the client's bytes to the engine until it has taken them all, and writes to the server what comes of
// them; false when the client has nothing more to say.
func (b *blocking) fromClient(in []byte, out *engine.Out) bool {
	for {
		b.mu.Lock()
		if b.ended.Load() {
			b.mu.Unlock()
			return false
		}
		taken, violation := b.feedClient(in, out)
		in = in[taken:]
		b.waiting = b.engine.Held()
		held, goodbye, kept := b.waiting, b.engine.Goodbye(), b.engine.Kept()
		b.mu.Unlock()

		if err := write(b.server, out.Server.Bufs); err != nil {
			// The server has closed. What it said before that, the other goroutine still reads.
			_ = b.server.SetReadDeadline(time.Now().Add(lastWords)) // fails where there is nothing to read
			return false
		}
		switch {
		case violation != nil:
			b.finish(ending{byClient, violation})
			return false
		case kept: // the other goroutine may still have something for the client
			if b.conclude(ending{side: byClient}) {
				_ = b.client.SetWriteDeadline(time.Now().Add(lastWords)) // these fail where nobody waits
				_ = b.server.SetReadDeadline(time.Unix(1, 0))
			}
			return false
		case goodbye: // the server closes when it has done what it was sent
			return false
		case !held:
			return true
		}
		<-b.resumed
	}
}

// relayServer is the goroutine that reads from the server.
func (b *blocking) relayServer() {
	var out engine.Out
	var buf buffer
	for n, ok := b.readServer(buf.next(0), &out); ok; n, ok = b.readServer(buf.next(n), &out) {
	}
}

// readServer reads from the server once, and relays what it has read. It returns how much that
// was; false when the session is over.
func (b *blocking) readServer(buf []byte, out *engine.Out) (n int, ok bool) {
	n, err := b.server.Read(buf)
	return n, b.fromServer(buf[:n], err, out)
}

// fromServer gives the server's bytes to the engine, and writes to the client what comes of
// them; err is how the reading ended.
func (b *blocking) fromServer(in []byte, err error, out *engine.Out) bool {
	b.mu.Lock()
	violation := b.feedServer(in, out)
	b.behind = true
	if b.waiting && !b.engine.Held() {
		b.waiting = false
		b.wake()
	}
	beginning := !b.engine.Started() && violation == nil && err == nil
	b.mu.Unlock()
	if err := write(b.client, b.coalesce(out.Client.Bufs, beginning)); err != nil {
		b.torn = true
		b.finish(ending{byClient, err})
		return false
	}
	switch {
	case violation != nil:
		b.finish(ending{byServer, violation})
		return false
	case err != nil:
		b.finish(ending{byServer, err})
		return false
	}
	b.noteBehind(false)
	return true
}

// coalesce returns what to write to the client now. While the session is beginning it holds the pieces back, so that the
// client gets the welcome and all that follows it in one write.
func (b *blocking) coalesce(pieces [][]byte, beginning bool) [][]byte {
	if b.welcome == nil {
		return pieces
	}
	for _, p := range pieces {
		b.welcome = append(b.welcome, p...)
	}
	if beginning && len(b.welcome) < readBuffer {
		return nil
	}
	whole := b.welcome
	b.welcome = nil
	return [][]byte{whole}
}

// interrupt leaves the client time to take what it is being sent.
func (b *blocking) interrupt() {
	// Where this fails, the connection is closed, and nobody waits for it.
	past := time.Unix(1, 0)
	_ = b.client.SetReadDeadline(past)
	_ = b.client.SetWriteDeadline(time.Now().Add(lastWords))
	_ = b.server.SetDeadline(past)
	b.wake()
}

func (b *blocking) checkClient() {
	if connHungUp(b.client) {
		b.finish(ending{byClient, io.EOF})
	}
}

func (b *blocking) resume(fault error) {
	if fault != nil {
		b.finish(ending{byClient, fault})
		return
	}
	b.worked()
	b.wake()
}

// wake makes relayClient look whether the client is still held.
func (b *blocking) wake() {
	select {
	case b.resumed <- struct{}{}:
	default: // it will look anyhow
	}
}

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
