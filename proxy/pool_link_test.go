package proxy

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// TestTalk: what a server may say between two clients, whole and byte by byte.
func TestTalk(t *testing.T) {
	frame := func(typ byte, body string) []byte { return append(wire.AppendHeader(nil, typ, len(body)), body...) }
	ready := frame(wire.ReadyForQuery, "I")
	done := frame(wire.CommandComplete, "RESET\x00")
	status := frame(wire.ParameterStatus, "TimeZone\x00UTC\x00")
	row := frame(wire.DataRow, "\x00\x01\x00\x00\x00\x03app")
	for _, tt := range []struct {
		name, fails string // empty: it does not
		over        bool
		said        [][]byte
	}{
		{"both", "", true, [][]byte{done, status, ready, done, ready}},
		{"a row", "", true, [][]byte{row, done, ready, done, ready}},
		{"one of two", "", false, [][]byte{done, ready}},
		{"refused", "42501: no", false, [][]byte{frame(wire.ErrorResponse, "C42501\x00Mno\x00\x00"), ready}},
		{"in a transaction", "in a transaction", false, [][]byte{done, frame(wire.ReadyForQuery, "T")}},
		{"ready without a status", "in a transaction", false, [][]byte{frame(wire.ReadyForQuery, "")}},
		{"more", "more than it was asked", true, [][]byte{done, ready, done, ready, status}},
		{"rows", "more rows", false, [][]byte{row, row}},
		{"no end", "bytes for an answer", false, [][]byte{frame(wire.DataRow, strings.Repeat("x", maxConverse+1))[:maxConverse+2]}},
		{"no length", "length", false, [][]byte{{wire.DataRow, 0, 0, 0, 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, piece := range []int{1, maxConverse * 2} {
				var talk talk
				talk.ask(new(lease).resetSQL()...)
				var err error
				for said := bytes.Join(tt.said, nil); len(said) > 0 && err == nil; {
					n := min(piece, len(said))
					err = talk.take(said[:n])
					said = said[n:]
				}
				if tt.fails == "" && err != nil || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
					t.Errorf("in pieces of %d: error %v, want %q", piece, err, tt.fails)
				}
				if talk.over() != tt.over {
					t.Errorf("in pieces of %d: over is %v", piece, talk.over())
				}
			}
		})
	}
}
