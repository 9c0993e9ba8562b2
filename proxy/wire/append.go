package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Severities of errors and notices, not localised.
const (
	SeverityError   = "ERROR"
	SeverityFatal   = "FATAL"
	SeverityWarning = "WARNING"
	SeverityNotice  = "NOTICE"
)

// Fields are the fields of an ErrorResponse that the proxy itself can fill (protocol documentation, "Error and Notice
// Message Fields"). An empty field is left out.
type Fields struct {
	Severity string
	Code     string // SQLSTATE
	Message  string
	Detail   string
	Hint     string
}

// AppendError appends an ErrorResponse.
func AppendError(dst []byte, f Fields) []byte {
	start := len(dst)
	dst = Begin(dst, ErrorResponse)
	dst = appendField(dst, 'S', f.Severity)
	dst = appendField(dst, 'V', f.Severity)
	dst = appendField(dst, 'C', f.Code)
	dst = appendField(dst, 'M', f.Message)
	dst = appendField(dst, 'D', f.Detail)
	dst = appendField(dst, 'H', f.Hint)
	return End(append(dst, 0), start)
}

// appendField appends one field up to the first NUL, which would end it for the reader anyway.
func appendField(dst []byte, field byte, value string) []byte {
	value, _, _ = strings.Cut(value, "\x00")
	if value == "" {
		return dst
	}
	dst = append(dst, field)
	dst = append(dst, value...)
	return append(dst, 0)
}

// Field returns one field of the frame of an ErrorResponse or NoticeResponse, nil where it has none. The value is a part
// of the frame.
func Field(frame []byte, field byte) []byte {
	for b := Body(frame); len(b) > 0 && b[0] != 0; {
		value, rest, ok := bytes.Cut(b[1:], []byte{0})
		if !ok {
			return nil
		}
		if b[0] == field {
			return value
		}
		b = rest
	}
	return nil
}

// WithField returns an ErrorResponse or NoticeResponse with one field more.
func WithField(frame []byte, field byte, value string) []byte {
	more := append([]byte(nil), frame[:len(frame)-1]...) // but for the byte that ends it
	return End(append(appendField(more, field, value), 0), 0)
}

// AppendNegotiate appends a NegotiateProtocolVersion: the version that the session will have, and the names of the
// protocol options that it will not. The server writes the whole version, not the minor number alone.
func AppendNegotiate(dst []byte, version Version, options []string) []byte {
	start := len(dst)
	dst = Begin(dst, NegotiateProtocolVersion)
	dst = binary.BigEndian.AppendUint32(dst, uint32(version))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(options))) //nolint:gosec // at most what fits a startup packet
	for _, o := range options {
		dst = append(dst, o...)
		dst = append(dst, 0)
	}
	return End(dst, start)
}
