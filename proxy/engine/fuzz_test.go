package engine

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// FuzzStreams gives both directions hostile bytes in hostile pieces. Whatever comes, the engine must not panic, must
// take all that it does not hold up to the end of the session, and must forward no more than it was given beside its own
// words.
func FuzzStreams(f *testing.F) {
	s := newTestSession(&testing.T{}, newBook())
	conversation(s)
	f.Add(s.toServer.Bytes(), s.toUser.Bytes(), uint8(7))
	f.Add([]byte("Q\x00\x00\x00\x10CREATE ROLE"), []byte("E\x00\x00\x00\x05\x00Z\x00\x00\x00\x05I"), uint8(3))
	f.Fuzz(func(t *testing.T, client, server []byte, chunk uint8) {
		for _, long := range []int32{0, 1} {
			inTurns(t, long, client, server, int(chunk)+1)
		}
	})
}

func inTurns(t *testing.T, long int32, client, server []byte, step int) {
	e := newTestSession(t, newBook()).e
	e.cfg.LongText = long
	var out Out
	for len(client)+len(server) > 0 {
		n := min(step, len(client))
		taken, err := e.Client(client[:n], &out)
		if err != nil {
			return
		}
		if e.Goodbye() {
			taken = n
		}
		if taken < n && !e.Held() {
			t.Fatalf("took %d of %d bytes, and holds nobody", taken, n)
		}
		client = client[taken:]
		work, _ := e.Apart()
		n = min(step, len(server))
		if n == 0 && e.Held() && work == nil {
			return
		}
		if err := e.Server(server[:n], &out); err != nil {
			return
		}
		server = server[n:]
		if work != nil { // the server had something to say meanwhile
			work()
			e.Worked()
		}
	}
}

// FuzzPieces gives the same bytes at once, where whole messages are noted in passing, and byte by byte, where none ever
// is whole. What becomes of them is the same.
func FuzzPieces(f *testing.F) {
	ask, answer := pipeline(3)
	f.Add(ask, answer)
	s := newTestSession(&testing.T{}, newBook())
	conversation(s)
	f.Add(s.toServer.Bytes(), s.toUser.Bytes())
	f.Fuzz(func(t *testing.T, client, server []byte) {
		whole := inPieces(t, client, server, max(len(client), len(server), 1))
		if diff := cmp.Diff(inPieces(t, client, server, 1), whole); diff != "" {
			t.Errorf("-byte by byte +at once\n%s", diff)
		}
	})
}

// outcome is what became of a session's bytes.
type outcome struct {
	ToServer, ToUser string
	Awaited          int
	Failed, Held     bool
}

// inPieces gives an engine what the client says, as far as it takes it, then what the server says, then the client's rest.
func inPieces(t *testing.T, client, server []byte, step int) (o outcome) {
	s := newTestSession(t, newBook())
	give := func(in []byte, to func([]byte, *Out) (int, error)) (rest []byte) {
		for len(in) > 0 && !o.Failed {
			var out Out
			n, err := to(in[:min(step, len(in))], &out)
			s.collect(&out)
			o.Failed = err != nil
			if in = in[n:]; n == 0 && !o.Failed {
				break
			}
		}
		return in
	}
	rest := give(client, s.e.Client)
	give(server, func(in []byte, out *Out) (int, error) { return len(in), s.e.Server(in, out) })
	give(rest, s.e.Client)
	s.e.pending.first() // marks are passed over when somebody looks, and no answers
	o.ToServer, o.ToUser, o.Awaited, o.Held = s.toServer.String(), s.toUser.String(), s.e.pending.n, s.e.Held()
	return o
}

// FuzzRow maps rows that no server sends: with counts and lengths that are not true, and values that are no access
// lists. What is written instead is a row of as many values, of which only those of the columns with roles in them are
// others.
func FuzzRow(f *testing.F) {
	for _, r := range []*pgproto3.DataRow{
		row("1", `{"\"orders_Mixed Case\"=r/orders_reader",=r/x}`, "orders_reader"), row("", "{", "x"), {Values: [][]byte{nil, nil, nil}},
	} {
		frame, err := r.Encode(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire.Body(frame), int16(textFormat))
	}
	description, err := (&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
		{Name: []byte("a"), DataTypeOID: 23}, {Name: []byte("list"), DataTypeOID: 1034}, {Name: []byte("role"), DataTypeOID: 4096},
	}}).Encode(nil)
	if err != nil {
		f.Fatal(err)
	}
	const list, role = 1, 2 // columns
	f.Fuzz(func(t *testing.T, body []byte, format int16) {
		e := newTestSession(t, reader()).e
		about := &tracked{rows: &rows{}, formats: []int16{format}}
		if err := e.describe(about, description); err != nil || len(about.rows.columns) != 2 {
			t.Fatal(about.rows.columns, err)
		}
		var out Out
		v, err := e.row(append(wire.AppendHeader(nil, wire.DataRow, len(body)), body...), about, &out)
		if err != nil || v == pass {
			return
		}
		var before, after pgproto3.DataRow
		if before.Decode(body) != nil {
			return // more bytes than values: the client will say so, as of the server's own row
		}
		if err := after.Decode(wire.Body(bytes.Join(out.Client.Bufs, nil))); err != nil {
			t.Fatalf("%q became %q: %v", body, out.Client.Bufs, err)
		}
		if len(before.Values) != len(after.Values) {
			t.Fatalf("%d values became %d", len(before.Values), len(after.Values))
		}
		for i := range before.Values {
			if i != list && i != role && !bytes.Equal(before.Values[i], after.Values[i]) {
				t.Errorf("value %d was %q and is %q", i, before.Values[i], after.Values[i])
			}
		}
	})
}
