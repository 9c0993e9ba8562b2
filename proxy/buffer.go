package proxy

import "sync"

// buffer is what a goroutine reads a leg into: little while the leg rests, or says little at a time, and readBuffer while
// it says more. What is read into it is good until the next call of next.
type buffer struct {
	bytes []byte
	large bool // bytes are of largeBuffers
}

const (
	// smallBuffer holds what most statements and their answers are, in bytes.
	smallBuffer = 1 << 10
	// readBuffer is what one leg reads at a time. PostgreSQL itself sends in pieces of 8 KiB (PQ_SEND_BUFFER_SIZE,
	// src/backend/libpq/pqcomm.c); more serves COPY and large rows.
	readBuffer = 16 << 10
)

var largeBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// next returns where to read to, after a read of n bytes.
func (b *buffer) next(n int) []byte {
	switch {
	case b.bytes == nil:
		b.bytes = make([]byte, smallBuffer)
	case !b.large && n == len(b.bytes): // there may be more
		b.bytes, b.large = largeBuffers.Get().(*[readBuffer]byte)[:], true //nolint:errcheck // nothing else is in it
	case b.large && n < smallBuffer:
		largeBuffers.Put((*[readBuffer]byte)(b.bytes))
		b.bytes, b.large = make([]byte, smallBuffer), false
	}
	return b.bytes
}
