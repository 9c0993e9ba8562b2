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

func (s *looped) begin() {
	for _, g := range []*leg{&s.client, &s.server} {
		before := g.mask
		g.mask = attached | unix.EPOLLIN
		if err := s.loop.listen(g.fd, before, g.mask, g); err != nil {
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
	in, err := s.server.read()
	if err == nil {
		err = s.parting.talk.take(in)
	}
	if err != nil || s.parting.talk.over() {
		s.parted(err)
	}
}

// parted gives the connection to the pool, or closes it where it could not be reset.
func (s *looped) parted(err error) {
	s.free()
	s.parting.settle(err)
}

// free takes the connection that is to be parked out of the loop: what has it has its descriptor already, or the TLS above that.
func (s *looped) free() {
	s.remove(&s.server)
	if s.server.tls != nil {
		s.server.release(nil)
	}
}

// remove takes a leg out of the loop.
func (s *looped) remove(g *leg) {
	if g.mask != 0 {
		_ = s.loop.listen(g.fd, g.mask, 0, nil) // it was added
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

// read reads once from a leg, and relays what was read.
func (s *looped) read(g *leg) {
	if s.ended.Load() {
		return // finish is on its way
	}
	in, err := g.read()
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

// fromServer gives the engine what the server says.
func (s *looped) fromServer(in []byte) {
	out := &s.loop.out
	s.mu.Lock()
	violation := s.feedServer(in, out)
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
	taken, violation := s.feedClient(in, out)
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
