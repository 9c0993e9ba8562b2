package engine

import (
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// verdict says what becomes of a message.
type verdict uint8

const (
	pass    verdict = iota // forward it as it is, without looking inside
	passes                 // likewise, and those of its type that follow at once: begin has nothing to note about them
	collect                // wait until it is there whole, then call whole
	drop                   // do not forward it
	hold                   // take nothing more until the engine is resumed
)

// stream cuts the bytes of one direction into messages. Those that only pass are never copied: they stay in the
// reader's buffer, and a run of them is one piece of output. Those that must be understood are collected as they
// arrive, whatever length they claim.
type stream struct {
	*direction

	head   [wire.HeaderSize]byte // a header that came in pieces:
	headed uint8                 // … how much of it so far
	open   bool                  // a message is under way:
	typ    byte                  // … its type
	fate   verdict               // … what becomes of it: pass, collect or drop
	runs   bool                  // … and those of its type that follow at once
	left   int                   // … how many bytes of it are still to come
	buf    []byte                // … what was collected of it
}

// direction is what all streams of one direction have in common.
type direction struct {
	// plain reports whether the session is in a state in which most messages need only be noted. Then note is
	// called for each message that is there whole. It answers pass or passes, or, where it has not taken the
	// message, collect: then begin is called.
	plain func(e *Engine) bool
	note  func(e *Engine, frame []byte) verdict
	// begin sees the type of a message and the length of its body. It answers pass, passes, collect, drop, or hold: the
	// message was not taken, and begin will be asked again. What it writes itself goes before the message.
	begin func(e *Engine, typ byte, size int, out *Out) (verdict, error)
	// whole sees a collected message from its type byte on. It answers pass, drop, or hold: the message was taken. What it
	// writes itself goes before the message. It must not keep the slice.
	whole func(e *Engine, frame []byte, out *Out) (verdict, error)

	fromServer bool
}

// between reports whether the stream is at a boundary between two messages.
func (s *stream) between() bool { return !s.open && s.headed == 0 }

// passing reports whether a part of a message was given on, and the rest is still to come. One that is collected was not.
func (s *stream) passing() bool { return s.open && s.fate == pass }

// pump takes the bytes in, gives lane those that pass, and returns how many it took: all, unless a message is held. After
// an error the stream must not be used again.
func (s *stream) pump(e *Engine, in []byte, lane *Lane, out *Out) (taken int, err error) {
	w := window{in: in, lane: lane}
	for {
		if !s.open {
			w.pass(s.stride(e, in[w.at:]))
			if ok, err := s.start(e, &w, out); !ok {
				w.flush()
				return w.at, err
			}
		}
		n := min(s.left, len(in)-w.at)
		s.left -= n
		var frame []byte
		borrowed := s.left == 0 && len(s.buf) == 0 // it lies whole in the reader's buffer
		switch {
		case s.fate == pass:
			w.pass(n)
			if s.runs && s.left == 0 {
				w.pass(wire.Run(in[w.at:], s.typ))
			}
		case s.fate == drop:
			w.skip(n)
		case borrowed:
			frame = w.skip(n)
		default:
			s.buf = append(s.buf, w.skip(n)...)
			frame = s.buf
		}
		if s.left > 0 {
			w.flush()
			return w.at, nil
		}
		s.open = false
		if s.fate != collect {
			continue
		}
		v, err := s.whole(e, frame, out)
		if v == pass && err == nil {
			if borrowed {
				w.unskip(n)
			} else {
				lane.write(frame)
			}
		}
		s.buf = s.buf[:0]
		if cap(s.buf) > keepOwn {
			s.buf = nil // the lane may have it now
		}
		if v == hold || err != nil {
			w.flush()
			return w.at, err
		}
	}
}

// stride takes the messages at the beginning of in that are there whole and need only be noted, and returns their
// length. Most messages go this short way.
func (s *stream) stride(e *Engine, in []byte) (n int) {
	if s.headed > 0 || !s.plain(e) {
		return 0
	}
	for {
		size := wire.Whole(in[n:])
		if size == 0 {
			return n
		}
		switch s.note(e, in[n:n+size]) {
		case pass:
			n += size
		case passes:
			n += size + wire.Run(in[n+size:], in[n])
		default:
			return n
		}
	}
}

// start reads the header of the next message; false where it is not all there, or the message is held.
func (s *stream) start(e *Engine, w *window, out *Out) (bool, error) {
	head := w.peek(wire.HeaderSize)
	if head == nil || s.headed > 0 {
		n := copy(s.head[s.headed:], w.in[w.at:])
		w.skip(n)
		if s.headed += uint8(n); s.headed < wire.HeaderSize { //nolint:gosec // n is at most HeaderSize
			return false, nil
		}
		head = s.head[:]
	}
	h, _, err := wire.ParseHeader(head)
	if err != nil {
		return false, &Error{Report: scope.Error{Code: scope.CodeProtocolViolation, Message: err.Error()}, Server: s.fromServer}
	}
	w.flush()
	fate, err := s.begin(e, h.Type, h.Body, out)
	if err != nil || fate == hold {
		return false, err
	}
	s.runs = fate == passes
	if s.runs {
		fate = pass
	}
	s.open, s.typ, s.fate, s.left = true, h.Type, fate, h.Frame()
	if s.headed > 0 { // the header has left the reader's buffer
		s.left = h.Body
		switch fate {
		case pass:
			w.lane.write(head)
		case collect:
			s.buf = append(s.buf, head...)
		default: // dropped with the rest
		}
		s.headed = 0
	}
	return true, nil
}

// window walks over the input of one call: what lies between from and at passes, and is not in the lane yet.
type window struct {
	in       []byte
	lane     *Lane
	from, at int
}

func (w *window) peek(n int) []byte {
	if len(w.in)-w.at < n {
		return nil
	}
	return w.in[w.at : w.at+n]
}

func (w *window) pass(n int) { w.at += n }

// skip steps over n bytes that do not pass, and returns them.
func (w *window) skip(n int) []byte {
	w.flush()
	b := w.in[w.at : w.at+n : w.at+n]
	w.at += n
	w.from = w.at
	return b
}

// unskip lets the last n bytes pass after all.
func (w *window) unskip(n int) { w.from -= n }

func (w *window) flush() {
	w.lane.pass(w.in, w.from, w.at)
	w.from = w.at
}
