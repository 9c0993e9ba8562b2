package proxy

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is what the sessions of a loop have to write in one turn, that is between two waits. It is written when the turn
// ends, by one system call. Each write wakes somebody, and who is woken may take the processor when the call ends: a loop
// that wrote one by one would wait in the processor's queue after every other write, with work for all at hand.
//
//	read A ─▶ engine ─┐
//	read B ─▶ engine ─┼─▶ batch ── io_submit ─▶ sockets
//	read C ─▶ engine ─┘
//
// Only what is small goes into it, as a copy, so no buffer has to live until the end of the turn. What is written to a leg
// stays in order, and a session that ends has written all it had (looped.settle).
//
// io_submit is the older of the two calls that write to many sockets. On those that do not block it does all there is to do
// before it returns. The other one, io_uring, is commonly forbidden in containers.
type batch struct {
	context uintptr // of io_setup; 0 where there is none: then each write is a call of its own
	legs    []*leg  // who writes: batchWrites at most
	buf     []byte  // what they write, one after the other; never reallocated

	requests [batchWrites]aioRequest
	list     [batchWrites]*aioRequest
	results  [batchWrites]aioResult
	troubled []troubled // what is to be done at the end of the turn
}

const (
	batchWrites = 32       // in one batch: with more, the first would wait too long
	batchBytes  = 32 << 10 // of all of them
	batchEach   = 4 << 10  // of each: to copy more would cost what it saves
)

// troubled is a leg whose connection did not take all that the batch had for it.
type troubled struct {
	*leg
	errno syscall.Errno // 0: it may take the rest later
}

// aioRequest is struct iocb of linux/aio_abi.h.
type aioRequest struct {
	index  uint64 // aio_data, which comes back with the result
	_      uint64
	opcode uint16
	_      uint16
	fd     uint32
	at     uint64
	length uint64
	_      [3]uint64
}

// aioResult is struct io_event of linux/aio_abi.h.
type aioResult struct {
	index, _ uint64
	value    int64 // how many bytes were written, or an errno below 0
	_        int64
}

func (r aioResult) outcome() (n int, errno syscall.Errno) {
	if r.value < 0 {
		return -1, syscall.Errno(-r.value)
	}
	return int(r.value), 0
}

const aioWrite = 1 // IOCB_CMD_PWRITE: on a socket there is no position

func newBatch() *batch {
	b := &batch{legs: make([]*leg, 0, batchWrites), buf: make([]byte, 0, batchBytes)}
	for i := range b.requests {
		b.requests[i] = aioRequest{index: uint64(i), opcode: aioWrite}
		b.list[i] = &b.requests[i]
	}
	b.context = rawIOSetup(batchWrites)
	return b
}

func (b *batch) close() { rawIODestroy(b.context) }

// take adds what a leg has to write. It returns false where that is too much, or has to wait behind what is unsent: then
// nothing of the leg is in the batch.
func (b *batch) take(g *leg, pieces [][]byte) bool {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	small := size <= batchEach
	joins := small && g.batched && b.legs[len(b.legs)-1] == g
	full := size > cap(b.buf)-len(b.buf) || !joins && len(b.legs) == batchWrites
	if g.batched && !joins || small && full {
		b.write()
		joins = false
	}
	switch {
	case size == 0:
		return true
	case !small || len(g.unsent) > 0:
		return false
	case !joins:
		g.batched = true
		r := &b.requests[len(b.legs)]
		r.fd, r.length = uint32(g.fd), 0                                                      //nolint:gosec // a descriptor
		r.at = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b.buf))) + uintptr(len(b.buf))) //nolint:gosec // b has the buffer
		b.legs = append(b.legs, g)
	}
	for _, p := range pieces {
		b.buf = append(b.buf, p...)
	}
	b.requests[len(b.legs)-1].length += uint64(size)
	return true
}

// write writes the batch. What a connection does not take waits with its leg, which is troubled: nothing else happens to
// any session, so this may be called wherever something must be written now.
func (b *batch) write() {
	if len(b.legs) == 0 {
		return
	}
	submitted := b.submit()
	rest := b.buf
	for i, g := range b.legs {
		data := rest[:b.requests[i].length]
		rest = rest[len(data):]
		g.batched = false
		n, errno := b.results[i].outcome()
		if i >= submitted {
			n, errno = rawWrite(g.fd, data)
		}
		if errno != 0 {
			n = 0
		}
		if errno == unix.EAGAIN || errno == unix.EINTR {
			errno = 0
		}
		if data = data[n:]; len(data) > 0 {
			g.unsent = append(g.unsent, data...)
			b.troubled = append(b.troubled, troubled{g, errno})
		}
	}
	clear(b.legs)
	b.legs, b.buf = b.legs[:0], b.buf[:0]
}

// submit writes by one system call what it can, notes the results, and returns of how many legs.
func (b *batch) submit() int {
	if len(b.legs) == 1 {
		return 0
	}
	submitted := rawIOSubmit(b.context, b.list[:len(b.legs)])
	var results [batchWrites]aioResult // in any order
	for left := submitted; left > 0; {
		n := rawIOGetEvents(b.context, results[:left])
		for _, r := range results[:n] {
			b.results[r.index] = r
		}
		left -= n
	}
	return submitted
}

// end writes the batch, and sees to those who are troubled.
func (b *batch) end() {
	for b.write(); len(b.troubled) > 0; b.write() {
		legs := b.troubled
		b.troubled = nil
		for _, g := range legs {
			if g.errno != 0 {
				g.writeFailed(os.NewSyscallError("write", g.errno))
				continue
			}
			g.updateInterest()
			g.peer.updateInterest()
		}
	}
}
