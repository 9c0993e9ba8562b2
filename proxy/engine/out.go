package engine

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// Out collects what a call of the engine wants written to each leg, in order. The slices alias the input of the call
// or memory of the Out itself: they are good until either is used again. A driver keeps one Out for each direction.
type Out struct {
	Server, Client Lane
}

// Reset empties both lanes and keeps their memory, as long as that is little.
func (o *Out) Reset() {
	o.Server.reset()
	o.Client.reset()
}

// Lane is what is to be written to one leg.
type Lane struct {
	// Bufs are the pieces in order: a net.Buffers in all but name.
	Bufs [][]byte

	own  []byte // the engine's own bytes live here
	tail int    // where the last piece ends in the input of this call; -1 when it is not of the input
}

// keepOwn bounds the memory that an idle lane keeps.
const keepOwn = 4 << 10

func (l *Lane) reset() {
	clear(l.Bufs)
	l.Bufs, l.tail = l.Bufs[:0], -1
	if cap(l.own) > keepOwn {
		l.own = nil
	}
	l.own = l.own[:0]
}

// pass forwards in[from:to] untouched; if it continues the last piece, it is joined to that.
func (l *Lane) pass(in []byte, from, to int) {
	if from == to {
		return
	}
	if last := len(l.Bufs) - 1; last >= 0 && l.tail == from {
		n := len(l.Bufs[last])
		l.Bufs[last] = in[from-n : to]
	} else {
		l.Bufs = append(l.Bufs, in[from:to])
	}
	l.tail = to
}

// message writes one whose body has these parts.
func (l *Lane) message(typ byte, parts ...string) {
	size := wire.HeaderSize
	for _, p := range parts {
		size += len(p)
	}
	dst := l.own
	if size > keepOwn {
		dst = make([]byte, 0, size)
	}
	n := len(dst)
	dst = wire.Begin(slices.Grow(dst, size), typ)
	for _, p := range parts {
		dst = append(dst, p...)
	}
	dst = wire.End(dst, n)
	if size <= keepOwn {
		l.own = dst
	}
	l.tail, l.Bufs = -1, append(l.Bufs, dst[n:len(dst):len(dst)])
}

// write forwards a copy of b, or b itself where it is large: the caller must not use b again.
func (l *Lane) write(b []byte) {
	l.tail = -1
	if len(b) > keepOwn {
		l.Bufs = append(l.Bufs, b)
		return
	}
	n := len(l.own)
	l.own = append(l.own, b...)
	l.Bufs = append(l.Bufs, l.own[n:len(l.own):len(l.own)])
}
