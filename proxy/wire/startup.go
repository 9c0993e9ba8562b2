package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The first word of what a client sends first: a request, or the protocol version of a StartupMessage
// (src/include/libpq/pqcomm.h).
const (
	CancelRequestCode uint32 = 1234<<16 | 5678
	SSLRequestCode    uint32 = 1234<<16 | 5679
	GSSENCRequestCode uint32 = 1234<<16 | 5680
)

// Version is a protocol version: the major number in the upper 16 bits, the minor in the lower.
type Version uint32

// The versions that this project speaks.
const (
	Version30 Version = 3 << 16
	Version32 Version = 3<<16 | 2 // PostgreSQL 18: cancel keys of up to 256 bytes
)

// Major returns the version's major number.
func (v Version) Major() uint32 { return uint32(v) >> 16 }

// Minor returns the version's minor number.
func (v Version) Minor() uint32 { return uint32(v) & 0xffff }

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major(), v.Minor()) }

const (
	// MaxStartup is the longest startup packet, without its length word: MAX_STARTUP_PACKET_LENGTH, pqcomm.h.
	MaxStartup = 10000
	codeSize   = 4
	// MinStartup is the length of the shortest, with its length word.
	MinStartup = lengthSize + codeSize
	// MinCancelKey and MaxCancelKey bound the secret of a CancelRequest in bytes; before 3.2 it has always four.
	MinCancelKey = 4
	MaxCancelKey = 256
	// ProtocolOption begins the names of parameters that are options of the protocol, not settings of the session.
	ProtocolOption = "_pq_."
)

// Errors about a client's first packet. The first is for packets that get no answer, as the server gives none: what
// sent them hardly speaks the protocol. The others are in the words that the client is to be told.
var (
	ErrStartupLength = errors.New("invalid length of startup packet")
	ErrStartupLayout = errors.New("invalid startup packet layout: expected terminator as last byte")
)

// ReadStartup reads one packet of the kind that has no type byte, and no byte more: code is a request code or a protocol
// version, body what follows. It fails with [ErrStartupLength] before it allocates anything where the packet is longer
// than [MaxStartup]; io.EOF means that the client sent nothing.
func ReadStartup(r io.Reader) (code uint32, body []byte, err error) {
	var head [MinStartup]byte // every packet has them
	read, err := io.ReadAtLeast(r, head[:], lengthSize)
	if err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < MinStartup || n > lengthSize+MaxStartup {
		return 0, nil, ErrStartupLength
	}
	packet := make([]byte, n-lengthSize)
	if _, err := io.ReadFull(r, packet[copy(packet, head[lengthSize:read]):]); err != nil {
		return 0, nil, within(err)
	}
	return binary.BigEndian.Uint32(packet), packet[codeSize:], nil
}

// AppendRequest appends a packet that is nothing but a request code: SSLRequest or GSSENCRequest.
func AppendRequest(dst []byte, code uint32) []byte {
	dst = binary.BigEndian.AppendUint32(dst, lengthSize+codeSize)
	return binary.BigEndian.AppendUint32(dst, code)
}

// Parameter is a name and its value, as they stand in a StartupMessage.
type Parameter struct{ Name, Value string }

// Startup is a StartupMessage. The parameters are in the client's order; no two have the same name.
type Startup struct {
	Version    Version
	Parameters []Parameter
}

// Get returns the value of a parameter, "" where it is not there. Names compare as the server compares user, database,
// options and replication: byte by byte.
func (s Startup) Get(name string) string {
	for _, p := range s.Parameters {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// User returns the role name that the client logs in with.
func (s Startup) User() string { return s.Get("user") }

// Database returns the database that the client asks for; without one it is named as the user
// (ProcessStartupPacket, src/backend/tcop/backend_startup.c).
func (s Startup) Database() string {
	if db := s.Get("database"); db != "" {
		return db
	}
	return s.User()
}

// ProtocolOptions returns the names of the parameters that are options of the protocol.
func (s Startup) ProtocolOptions() []string {
	var names []string
	for _, p := range s.Parameters {
		if strings.HasPrefix(p.Name, ProtocolOption) {
			names = append(names, p.Name)
		}
	}
	return names
}

// DecodeStartup reads a StartupMessage from the code and body that [ReadStartup] returned. It is as strict as the server
// about the layout, and stricter about a name that is given twice (the server takes the last): what was checked must be
// what is used. Names of settings compare without regard to case, so here too.
func DecodeStartup(code uint32, body []byte) (Startup, error) {
	if len(body) == 0 || body[len(body)-1] != 0 {
		return Startup{}, ErrStartupLayout
	}
	s := Startup{Version: Version(code), Parameters: slices.Grow([]Parameter(nil), bytes.Count(body, []byte{0})/2)}
	seen := make(map[string]bool)
	for rest := string(body[:len(body)-1]); rest != ""; {
		var p Parameter
		var ok bool
		p.Name, rest, _ = strings.Cut(rest, "\x00")
		if p.Value, rest, ok = strings.Cut(rest, "\x00"); !ok || p.Name == "" {
			return Startup{}, ErrStartupLayout
		}
		key := strings.ToLower(p.Name)
		if seen[key] {
			return Startup{}, fmt.Errorf("invalid startup packet: parameter %q is given twice", p.Name)
		}
		seen[key] = true
		s.Parameters = append(s.Parameters, p)
	}
	return s, nil
}

// AppendStartup appends the packet of a StartupMessage. It fails where the packet would not mean what s says: a name
// that is empty, a NUL in a name or value, or a packet that is longer than [MaxStartup].
func AppendStartup(dst []byte, s Startup) ([]byte, error) {
	start := len(dst)
	size := lengthSize + codeSize + 1
	for _, p := range s.Parameters {
		size += len(p.Name) + len(p.Value) + 2
	}
	dst = append(slices.Grow(dst, size), 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.Version))
	for _, p := range s.Parameters {
		if p.Name == "" || strings.Contains(p.Name, "\x00") || strings.Contains(p.Value, "\x00") {
			return nil, fmt.Errorf("startup parameter %q cannot be sent", p.Name)
		}
		dst = append(dst, p.Name...)
		dst = append(dst, 0)
		dst = append(dst, p.Value...)
		dst = append(dst, 0)
	}
	dst = append(dst, 0)
	n := len(dst) - start
	if n > lengthSize+MaxStartup {
		return nil, ErrStartupLength
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(n)) //nolint:gosec // at most MaxStartup
	return dst, nil
}

// CancelRequest asks the server to cancel what the session with that key does.
type CancelRequest struct {
	ProcessID uint32
	Secret    []byte
}

// DecodeCancel reads a CancelRequest from the body that [ReadStartup] returned with [CancelRequestCode], and keeps a
// part of it as the secret.
func DecodeCancel(body []byte) (CancelRequest, error) {
	const pid = 4
	if len(body) < pid+MinCancelKey || len(body) > pid+MaxCancelKey {
		return CancelRequest{}, ErrStartupLength
	}
	return CancelRequest{ProcessID: binary.BigEndian.Uint32(body), Secret: body[pid:]}, nil
}

// AppendCancel appends the packet of a CancelRequest.
func AppendCancel(dst []byte, c CancelRequest) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(lengthSize+codeSize+4+len(c.Secret))) //nolint:gosec // at most MaxCancelKey
	dst = binary.BigEndian.AppendUint32(dst, CancelRequestCode)
	dst = binary.BigEndian.AppendUint32(dst, c.ProcessID)
	return append(dst, c.Secret...)
}
