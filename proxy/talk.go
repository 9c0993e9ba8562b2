package proxy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// The size of the server's answer to a few statements of the proxy, in bytes: at most, and usually.
const (
	maxConverse    = 16 << 10
	commonConverse = 2 << 10
)

// talk is an exchange of the proxy with a server by the simple protocol, without the I/O.
type talk struct {
	owed int    // statements that are not answered yet
	part []byte // of a frame
	rows [][][]byte
}

// ask returns what to send.
func (t *talk) ask(statements ...string) []byte {
	t.owed += len(statements)
	size := 0
	for _, sql := range statements {
		size += wire.HeaderSize + len(sql) + 1
	}
	out := make([]byte, 0, size)
	for _, sql := range statements {
		at := len(out)
		out = wire.End(append(append(wire.Begin(out, wire.Query), sql...), 0), at)
	}
	return out
}

// over reports whether all is answered.
func (t *talk) over() bool { return t.owed == 0 }

// take reads what the server says.
func (t *talk) take(in []byte) error {
	if len(t.part) > 0 {
		in = append(t.part, in...)
		t.part = nil
	}
	for len(in) > 0 {
		if t.over() {
			return errors.New("the server says more than it was asked for")
		}
		h, more, err := wire.ParseHeader(in)
		if err != nil {
			return err
		}
		if more || len(in) < h.Frame() {
			if len(in) > maxConverse {
				return fmt.Errorf("more than %d bytes for an answer", maxConverse)
			}
			t.part = slices.Clone(in)
			return nil
		}
		if err := t.frame(in[:h.Frame()]); err != nil {
			return err
		}
		in = in[h.Frame():]
	}
	return nil
}

func (t *talk) frame(frame []byte) error {
	switch frame[0] {
	case wire.ErrorResponse:
		return fmt.Errorf("%s: %s", wire.Field(frame, 'C'), wire.Field(frame, 'M'))
	case wire.DataRow:
		if len(t.rows) > 0 {
			return errors.New("more rows than one")
		}
		var row pgproto3.DataRow
		if err := row.Decode(slices.Clone(wire.Body(frame))); err != nil {
			return err
		}
		t.rows = append(t.rows, row.Values)
	case wire.ReadyForQuery:
		if status := wire.Body(frame); len(status) != 1 || status[0] != wire.TxIdle {
			return errors.New("the server is in a transaction")
		}
		t.owed--
	}
	return nil
}
