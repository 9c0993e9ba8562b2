package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// batched runs a test with io_submit, and without it.
func batched(t *testing.T, test func(t *testing.T, l *loop)) {
	for _, with := range []bool{true, false} {
		t.Run(fmt.Sprintf("io_submit %v", with), func(t *testing.T) {
			l := newTestLoop(t)
			if l.batch.context == 0 {
				t.Fatal("the kernel gives no context")
			}
			if !with {
				rawIODestroy(l.batch.context)
				l.batch.context = 0
			}
			test(t, l)
		})
	}
}

func drain(t rapid.TB, fd int) (heard []byte) {
	t.Helper()
	for buf := make([]byte, 64<<10); ; {
		n, err := unix.Read(fd, buf)
		if n > 0 {
			heard = append(heard, buf[:n]...)
			continue
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		return heard
	}
}

// TestBatch: what several sessions say in one turn is written when it ends, and a server that is gone, or does not read, is
// nothing to the others.
func TestBatch(t *testing.T) {
	batched(t, func(t *testing.T, l *loop) {
		const gone, deaf = 3, 5
		var all []*looped
		var backends []int
		var events []unix.EpollEvent
		for range batchWrites + 8 {
			s, user, backend := loopedIn(t, l)
			s.begin()
			if _, err := unix.Write(user, asks); err != nil {
				t.Fatal(err)
			}
			all, backends = append(all, s), append(backends, backend)
			events = append(events, unix.EpollEvent{Fd: int32(s.client.fd), Events: unix.EPOLLIN})
		}
		if err := unix.Shutdown(all[gone].server.fd, unix.SHUT_WR); err != nil { // as if the server had gone: EPIPE
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, err = unix.Write(all[deaf].server.fd, make([]byte, 4<<10))
		}

		l.at(int(events[0].Fd)).ready(unix.EPOLLIN)
		if heard := drain(t, backends[0]); len(heard) > 0 {
			t.Errorf("the first server hears %q before the turn ends", heard)
		}
		l.turn(events[1:])

		for i, s := range all {
			switch g, heard := &s.server, drain(t, backends[i]); i {
			case gone:
				if !s.client.paused || len(heard) > 0 {
					t.Errorf("the server that is gone hears %q; its client is read: %v", heard, !s.client.paused)
				}
			case deaf:
				if !bytes.Equal(g.unsent, asks) || g.mask&unix.EPOLLOUT == 0 {
					t.Errorf("for the server that does not read %q waits, mask %#x", g.unsent, g.mask)
				}
				turn(g, unix.EPOLLOUT)
				if heard := drain(t, backends[i]); !bytes.Equal(heard, asks) {
					t.Errorf("then it hears %q", heard)
				}
			default:
				if !bytes.Equal(heard, asks) {
					t.Errorf("server %d hears %q", i, heard)
				}
			}
			if s.over {
				t.Errorf("session %d is over", i)
			}
		}
	})
}

// TestBatchClientGone: a client that is gone when its answer is written ends its session, and no other.
func TestBatchClientGone(t *testing.T) {
	batched(t, func(t *testing.T, l *loop) {
		a, _, abackend := loopedIn(t, l)
		b, user, bbackend := loopedIn(t, l)
		for _, s := range []*looped{a, b} {
			s.owner = new(alone)
			s.begin()
		}
		if err := unix.Shutdown(a.client.fd, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		var events []unix.EpollEvent
		for _, to := range []struct {
			backend int
			s       *looped
		}{{abackend, a}, {bbackend, b}} {
			if _, err := unix.Write(to.backend, answered); err != nil {
				t.Fatal(err)
			}
			events = append(events, unix.EpollEvent{Fd: int32(to.s.server.fd), Events: unix.EPOLLIN})
		}
		l.turn(events)
		if heard := drain(t, user); !bytes.Equal(heard, answered) || b.over {
			t.Errorf("the other client hears %q, over: %v", heard, b.over)
		}
		if !a.over || !a.torn || a.end.side != byClient || !errors.Is(a.end.err, unix.EPIPE) {
			t.Errorf("the session is over: %v, torn: %v, by %v", a.over, a.torn, a.end)
		}
	})
}

// TestBatchOrder: a leg gets what is written to it in order, whatever the sizes, however slowly it reads, whoever else
// writes meanwhile, and wherever turns end.
func TestBatchOrder(t *testing.T) {
	batched(t, func(t *testing.T, l *loop) {
		var legs []*leg
		var ends []int
		for range 4 {
			s, user, backend := loopedIn(t, l)
			s.begin()
			legs, ends = append(legs, &s.client, &s.server), append(ends, user, backend)
		}
		for _, g := range legs {
			if err := unix.SetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<10); err != nil {
				t.Fatal(err)
			}
		}
		rapid.Check(t, func(t *rapid.T) {
			said, heard := make([][]byte, len(legs)), make([][]byte, len(legs))
			letter := byte(0)
			pieces := rapid.Custom(func(t *rapid.T) (pieces [][]byte) {
				for range rapid.IntRange(0, 3).Draw(t, "pieces") {
					letter++
					size := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, batchEach+100), rapid.IntRange(batchEach-9, batchEach),
						rapid.IntRange(batchBytes, batchBytes+9)).Draw(t, "size")
					pieces = append(pieces, bytes.Repeat([]byte{letter}, size))
				}
				return pieces
			})
			for range rapid.IntRange(1, 90).Draw(t, "steps") {
				i := rapid.IntRange(0, len(legs)-1).Draw(t, "leg")
				switch rapid.IntRange(0, 24).Draw(t, "what") {
				case 0:
					l.turn(nil)
				case 1:
					turn(legs[i], unix.EPOLLOUT&legs[i].mask)
				case 2:
					legs[i].session.settle()
				case 3, 4, 5:
					heard[i] = append(heard[i], drain(t, ends[i])...)
				default:
					p := pieces.Draw(t, "says")
					said[i] = append(said[i], slices.Concat(p...)...)
					legs[i].send(p)
					for _, b := range p {
						clear(b) // it is the caller's again
					}
				}
			}
			l.turn(nil)
			for i, g := range legs {
				for heard[i] = append(heard[i], drain(t, ends[i])...); len(g.unsent) > 0; heard[i] = append(heard[i], drain(t, ends[i])...) {
					turn(g, unix.EPOLLOUT)
				}
				if !bytes.Equal(heard[i], said[i]) || g.batched {
					t.Errorf("leg %d: heard %d bytes of %d, or others", i, len(heard[i]), len(said[i]))
				}
			}
		})
	})
}

// TestBatchFills: what has no room is written before the turn ends, and not by making room.
func TestBatchFills(t *testing.T) {
	batched(t, func(t *testing.T, l *loop) {
		s, user, backend := loopedIn(t, l)
		s.begin()
		some := bytes.Repeat([]byte("some"), batchEach/4)
		var want []byte
		for range 2*batchBytes/batchEach + 1 {
			s.client.send([][]byte{some[:9], some[9:]})
			want = append(want, some...)
		}
		s.server.send([][]byte{some})
		l.turn(nil)
		if toUser, toBackend := drain(t, user), drain(t, backend); !bytes.Equal(toUser, want) || !bytes.Equal(toBackend, some) {
			t.Errorf("the client hears %d bytes of %d, the server %d of %d", len(toUser), len(want), len(toBackend), len(some))
		}
		if cap(l.batch.buf) != batchBytes {
			t.Errorf("the batch has another buffer, of %d bytes: the kernel was told where the first is", cap(l.batch.buf))
		}
	})
}

// TestBatchEndsFirst: what a session has in the batch is written before it ends in the same turn.
func TestBatchEndsFirst(t *testing.T) {
	goodbye := wire.AppendHeader(nil, wire.Terminate, 0)
	for _, keep := range []bool{false, true} {
		batched(t, func(t *testing.T, l *loop) {
			o := new(alone)
			s, user, backend := loopedIn(t, l, func(c *engine.Config) { c.Keep = keep })
			s.owner = o
			s.begin()
			say := func(from int, g *leg, message []byte) {
				t.Helper()
				if _, err := unix.Write(from, message); err != nil {
					t.Fatal(err)
				}
				g.ready(unix.EPOLLIN)
			}
			say(user, &s.client, asks)
			l.turn(nil)
			if heard := drain(t, backend); !bytes.Equal(heard, asks) {
				t.Fatalf("the server hears %q", heard)
			}
			say(backend, &s.server, answered)
			say(user, &s.client, goodbye)
			if heard := drain(t, user); !bytes.Equal(heard, answered) || !o.over {
				t.Errorf("keep %v: over: %v, the client hears %q", keep, o.over, heard)
			}
			want := goodbye
			if keep {
				want = new(talk).ask(new(lease).resetSQL()...)
			}
			if heard := drain(t, backend); !bytes.Equal(heard, want) {
				t.Errorf("keep %v: the server hears %q", keep, heard)
			}
		})
	}
}

// TestBatchInterrupted: what a session has said in a turn is written when it is ended from outside in the same turn.
func TestBatchInterrupted(t *testing.T) {
	batched(t, func(t *testing.T, l *loop) {
		o := new(alone)
		s, user, backend := loopedIn(t, l)
		s.owner = o
		s.begin()
		if _, err := unix.Write(user, asks); err != nil {
			t.Fatal(err)
		}
		s.client.ready(unix.EPOLLIN)
		s.finish()
		if heard := drain(t, backend); !bytes.Equal(heard, asks) || !o.over {
			t.Errorf("over: %v, the server hears %q", o.over, heard)
		}
	})
}
