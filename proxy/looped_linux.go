package proxy

import (
	"context"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// looped is a session in a loop. All methods run on the loop's thread, but for those of a driver.
type looped struct {
	*relay
	loop           *loop
	client, server leg
	untaken        []byte // what was read of the client and the engine has not taken
	over           bool
	resetting      *resetting // the server's connection, once the client has left it
}

// resetting is a server connection that is reset for the next client, while the client's side of the session ends.
type resetting struct {
	*parked
	talk  talk
	until time.Time // by then it must be
}

// handOver gives the relay of a session to the loop in whose coroutine the session has begun. When the session is over,
// the loop calls relay.relayed in another coroutine. It returns false where goroutines must relay the session.
func handOver(r *relay) bool {
	client, server := descriptorOf(r.client), descriptorOf(r.server)
	if client == nil || server == nil {
		return false
	}
	s := &looped{relay: r, loop: client.coroutine.loop}
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

// descriptorOf returns the descriptor below a connection of a coroutine, and below its TLS; nil for other connections.
func descriptorOf(c net.Conn) *descriptor {
	if d, ok := socket(c).(*descriptor); ok && d.coroutine != nil {
		return d
	}
	return nil
}

func (s *looped) begin() {
	for _, g := range []*leg{&s.client, &s.server} {
		before := g.mask
		g.mask = attached | unix.EPOLLIN
		if err := s.loop.setInterest(g.fd, before, g.mask, g); err != nil {
			s.stop(ending{byServer, err})
			return
		}
	}
	if s.ended.Load() { // while it was on its way
		s.finish()
		return
	}
	s.server.readBuffered()
	s.client.readBuffered()
}

// stop ends the session, from within the loop.
func (s *looped) stop(e ending) {
	s.conclude(e)
	s.finish()
}

func (s *looped) interrupt() { s.loop.post(s.finish) }

func (s *looped) checkClient() {
	s.loop.post(func() {
		if !s.over && hungUp(s.client.fd) {
			s.stop(ending{byClient, io.EOF})
		}
	})
}

func (s *looped) resume(fault error) {
	s.loop.post(func() {
		switch {
		case s.ended.Load(): // finish is on its way, or was here
		case fault != nil:
			s.stop(ending{byClient, fault})
		default:
			s.worked()
			s.fromClient(nil)
		}
	})
}

// parkServer ends the session of a client that has left its server connection at rest, and begins to reset that connection.
func (s *looped) parkServer() {
	if !s.conclude(ending{side: byClient}) {
		return // finish is on its way
	}
	s.over, s.parked = true, true
	s.resetting = &resetting{parked: s.park(s.server.conn()), until: time.Now().Add(lastWords)}
	s.loop.expireBy(s.resetting.until)
	reset := s.server.seal([][]byte{s.resetting.talk.ask(s.resetting.resetSQL()...)})
	if len(s.server.write(reset)) > 0 { // it rests: there is room for so little
		s.resetDone(io.ErrShortWrite)
	}
	s.loop.spawn(context.Background(), func(ctx context.Context) {
		s.relay.client = s.client.release(coroutineOf(ctx))
		s.relayed(ctx)
	})
}

// resetAnswered reads the server's answer to the reset.
func (s *looped) resetAnswered() {
	in, err := s.server.read()
	if err == nil {
		err = s.resetting.talk.take(in)
	}
	if err != nil || s.resetting.talk.over() {
		s.resetDone(err)
	}
}

// resetDone gives the connection to the pool, or closes it where err says that it could not be reset.
func (s *looped) resetDone(err error) {
	s.releaseServer()
	s.resetting.settle(err)
}

// releaseServer takes the connection that is to be parked out of the loop. Its new owner has the
// descriptor, or the TLS above it, already.
func (s *looped) releaseServer() {
	s.remove(&s.server)
	if s.server.tls != nil {
		s.server.release(nil)
	}
}

// remove takes a leg out of the loop.
func (s *looped) remove(g *leg) {
	if g.mask != 0 {
		_ = s.loop.setInterest(g.fd, g.mask, 0, nil) // it was added
		g.mask = 0
	}
}

// settle writes what the loop's batch has of the session.
func (s *looped) settle() {
	if s.client.batched || s.server.batched {
		s.loop.batch.write()
	}
}

// finish takes the session out of the loop.
func (s *looped) finish() {
	if s.over {
		return
	}
	s.settle()
	s.over, s.unsent = true, s.client.unsent
	s.loop.spawn(context.Background(), func(ctx context.Context) {
		s.relay.client, s.relay.server = s.client.release(coroutineOf(ctx)), s.server.release(coroutineOf(ctx))
		s.relayed(ctx)
	})
}

// read reads once from a leg, and relays what was read.
func (s *looped) read(g *leg) {
	if s.ended.Load() {
		return // finish is on its way
	}
	in, err := g.read()
	s.received(g, in, err)
}

// received relays what was read from a leg, and then what ended the reading, if anything did.
func (s *looped) received(g *leg, in []byte, err error) {
	switch {
	case s.over || len(in) == 0:
	case g == &s.client:
		s.fromClient(in)
	default:
		s.fromServer(in)
	}
	switch {
	case s.over || err == nil:
	case g.readable():
		s.stop(ending{g.side(), err})
	default:
		g.closing = true
	}
}

// fromServer gives the engine bytes of the server, and sends the client what comes of them.
func (s *looped) fromServer(in []byte) {
	out := &s.loop.out
	s.mu.Lock()
	violation := s.feedServer(in, out)
	resting := s.draining && s.engine.Idle()
	resumed := s.client.paused && !s.engine.Held() && !s.engine.Goodbye()
	s.mu.Unlock()
	s.client.send(out.Client.Bufs)
	switch {
	case s.over:
	case violation != nil:
		s.stop(ending{byServer, violation})
	case resting:
		s.drain()
	case resumed:
		s.fromClient(nil)
	}
}

// fromClient gives the engine bytes of the client, behind those that it has not taken yet, and
// sends the server what comes of them.
func (s *looped) fromClient(in []byte) {
	if len(s.untaken) > 0 {
		in = append(s.untaken, in...)
	}
	out := &s.loop.out
	s.mu.Lock()
	taken, violation := s.feedClient(in, out)
	held, goodbye := s.engine.Held(), s.engine.Goodbye()
	s.mu.Unlock()
	s.server.send(out.Server.Bufs)
	s.untaken = nil
	if taken < len(in) {
		s.untaken = append([]byte(nil), in[taken:]...)
	}
	s.client.paused = held || goodbye
	switch {
	case s.over:
	case violation != nil:
		s.stop(ending{byClient, violation})
	case goodbye:
		s.goodbye()
	default:
		s.client.updateInterest()
	}
}

// goodbye goes on after the client's Terminate: nothing more is read from the client.
func (s *looped) goodbye() {
	s.settle()
	s.mu.Lock()
	kept, rests := s.engine.Kept(), s.engine.ServerRests()
	s.mu.Unlock()
	switch {
	case len(s.client.unsent) > 0:
		s.client.updateInterest() // when it has got that, flush comes here again
	case kept:
		s.parkServer()
	case rests && len(s.server.unsent) == 0: // nor has the server
		s.stop(ending{side: byClient})
	default:
		s.remove(&s.client)
	}
}
