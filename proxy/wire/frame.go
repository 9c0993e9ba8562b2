package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

const (
	// HeaderSize is the size of a message's header: the type and the length.
	HeaderSize = 5
	lengthSize = 4
	// MaxAuthToken is the longest body of a message in an authentication exchange: PG_MAX_AUTH_TOKEN_LENGTH,
	// src/include/libpq/auth.h. No honest message before ReadyForQuery is longer, in either direction.
	MaxAuthToken = 65535
)

// ErrLength is wrapped by all errors about a message whose length word cannot be true or is over the limit. The stream
// that it came from cannot be read further.
var ErrLength = errors.New("invalid message length")

// Header is the header of a message.
type Header struct {
	Type byte
	Body int // length of the body in bytes
}

// Frame returns the length in bytes of the whole message.
func (h Header) Frame() int { return HeaderSize + h.Body }

// ParseHeader reads the header at the beginning of b. more says that b is shorter than a header, and nothing is wrong
// so far; an error that the length word, a signed number, is below its minimum.
func ParseHeader(b []byte) (h Header, more bool, err error) {
	if len(b) < HeaderSize {
		return Header{}, true, nil
	}
	n := binary.BigEndian.Uint32(b[1:])
	if n < lengthSize || n > math.MaxInt32 {
		return Header{}, false, fmt.Errorf("%w: %d in message type %q", ErrLength, n, b[0])
	}
	return Header{Type: b[0], Body: int(n) - lengthSize}, false, nil
}

// Whole returns how many bytes the message at the beginning of b has, 0 where b does not have all
// of them, or its length cannot be true.
func Whole(b []byte) int {
	if len(b) < HeaderSize {
		return 0
	}
	n := binary.BigEndian.Uint32(b[1:])
	if n < lengthSize || uint64(n) >= uint64(len(b)) {
		return 0
	}
	return 1 + int(n)
}

// Run returns how many bytes at the beginning of b are whole messages of that type.
func Run(b []byte, typ byte) int {
	n := 0
	for n < len(b) && b[n] == typ {
		size := Whole(b[n:])
		if size == 0 {
			break
		}
		n += size
	}
	return n
}

// AppendHeader appends the header of a message whose body has the given length.
func AppendHeader(dst []byte, typ byte, body int) []byte {
	dst = append(dst, typ)
	return binary.BigEndian.AppendUint32(dst, uint32(lengthSize+body)) //nolint:gosec // below 2 GiB
}

// Begin appends the header of a message whose length is not known yet; [End] writes it.
func Begin(dst []byte, typ byte) []byte { return append(dst, typ, 0, 0, 0, 0) }

// End writes the length of the message that began at dst[start] and ends with dst.
func End(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1)) //nolint:gosec // below 2 GiB
	return dst
}

// Body returns what follows the header of a frame.
func Body(frame []byte) []byte { return frame[HeaderSize:] }

// ReadFrame reads one message, header and body, and no byte more. A body longer than limit fails with [ErrLength]
// before anything is allocated for it. The frame belongs to the caller. io.EOF means that the stream ended before the
// message's first byte, io.ErrUnexpectedEOF that it ended within the message.
func ReadFrame(r io.Reader, limit int) ([]byte, error) {
	var head [HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	h, _, err := ParseHeader(head[:])
	if err != nil {
		return nil, err
	}
	if h.Body > limit {
		return nil, fmt.Errorf("%w: message type %q of %d bytes where %d are allowed", ErrLength, h.Type, h.Body, limit)
	}
	frame := slices.Grow(head[:], h.Body)[:h.Frame()]
	if _, err := io.ReadFull(r, frame[HeaderSize:]); err != nil {
		return nil, within(err)
	}
	return frame, nil
}

// within makes of an end between two messages what it is inside of one.
func within(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
