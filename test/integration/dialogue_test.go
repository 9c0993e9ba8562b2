package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"
)

// patience bounds what a test waits for. It only ends a test that hangs: nothing is concluded from how long things take.
var patience = flag.Duration("patience", 30*time.Second, "how long a test waits before it is taken for one that hangs")

// dialogue is a connection that is driven message by message. What is heard on it becomes lines, one for each message, so
// that two dialogues compare.
type dialogue struct {
	t     testing.TB
	conn  net.Conn
	front *pgproto3.Frontend
	lines []string
	key   pgproto3.BackendKeyData
}

// dial opens a connection on which nothing is said yet.
func (e endpoint) dial(t testing.TB) *dialogue {
	t.Helper()
	network, address := "tcp", e.address()
	if strings.HasPrefix(e.host, "/") {
		network, address = "unix", fmt.Sprintf("%s/.s.PGSQL.%d", e.host, e.port)
	}
	conn, err := net.DialTimeout(network, address, *patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	d := &dialogue{t: t, conn: conn, front: pgproto3.NewFrontend(conn, io.Discard)}
	d.waitFor(*patience)
	return d
}

// waitFor bounds what is said and heard from now on.
func (d *dialogue) waitFor(limit time.Duration) {
	d.t.Helper()
	if err := d.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		d.t.Fatal(err)
	}
}

// tcp returns the connection of a dialogue that is not on a Unix socket.
func (d *dialogue) tcp() *net.TCPConn {
	return d.conn.(*net.TCPConn) //nolint:errcheck // it was dialled so
}

// open begins a session, and forgets what the server says of itself in the beginning. params are names and values.
func (e endpoint) open(t testing.TB, database, user string, params ...string) *dialogue {
	t.Helper()
	d := e.dial(t)
	d.begin(database, user, params...)
	return d
}

// begin is open for a connection that is there.
func (d *dialogue) begin(database, user string, params ...string) {
	d.t.Helper()
	d.say(startup(pgproto3.ProtocolVersion30, append([]string{"database", database, "user", user}, params...)...))
	d.ready(1)
	d.take()
}

// drivers are those of a relay: whether goroutines shall be it.
var drivers = map[string]bool{"event loop": false, "goroutines": true}

func startup(version uint32, params ...string) *pgproto3.StartupMessage {
	m := &pgproto3.StartupMessage{ProtocolVersion: version, Parameters: map[string]string{}}
	for i := 0; i < len(params); i += 2 {
		m.Parameters[params[i]] = params[i+1]
	}
	return m
}

// encode returns the bytes of some messages.
func encode(t testing.TB, messages ...pgproto3.FrontendMessage) []byte {
	t.Helper()
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// say sends messages, in one write.
func (d *dialogue) say(messages ...pgproto3.FrontendMessage) {
	d.t.Helper()
	d.write(encode(d.t, messages...))
}

// write has patience anew: a dialogue may have many exchanges.
func (d *dialogue) write(b []byte) {
	d.t.Helper()
	d.waitFor(*patience)
	if _, err := d.conn.Write(b); err != nil {
		d.t.Fatal(err)
	}
}

// hear listens until the server was ready for a query so many times. It fails where the server closes before.
func (d *dialogue) hear(ready int) error {
	return d.hearUntil(func(m pgproto3.BackendMessage) bool {
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			ready--
		}
		return ready == 0
	})
}

// hearUntil listens up to a message.
func (d *dialogue) hearUntil(last func(pgproto3.BackendMessage) bool) error {
	for {
		m, err := d.front.Receive()
		if err != nil {
			return err
		}
		if key, ok := m.(*pgproto3.BackendKeyData); ok {
			d.key = pgproto3.BackendKeyData{ProcessID: key.ProcessID, SecretKey: bytes.Clone(key.SecretKey)}
		}
		d.lines = append(d.lines, describe(m))
		if last(m) {
			return nil
		}
	}
}

// until is hearUntil for the next message of the type of M.
func until[M pgproto3.BackendMessage](d *dialogue) {
	d.t.Helper()
	if err := d.hearUntil(func(m pgproto3.BackendMessage) bool { _, ok := m.(M); return ok }); err != nil {
		d.t.Fatalf("%v after %q", err, d.lines)
	}
}

// ready is hear for a server that goes on.
func (d *dialogue) ready(times int) {
	d.t.Helper()
	if err := d.hear(times); err != nil {
		d.t.Fatalf("%v after %q", err, d.lines)
	}
}

// toTheEnd listens until the connection is closed.
func (d *dialogue) toTheEnd() {
	d.t.Helper()
	err := d.hearUntil(func(pgproto3.BackendMessage) bool { return false })
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		d.t.Errorf("the connection stays open after %q", d.lines)
	}
}

// take returns what was heard since the last time.
func (d *dialogue) take() []string {
	lines := d.lines
	d.lines = nil
	return lines
}

// query sends a text by the simple protocol, and returns the answer.
func (d *dialogue) query(sql string) []string {
	d.t.Helper()
	d.take()
	d.say(&pgproto3.Query{String: sql})
	d.ready(1)
	return d.take()
}

// wants compares what was heard with lines.
func (d *dialogue) wants(lines ...string) {
	d.t.Helper()
	if diff := cmp.Diff(lines, d.take()); diff != "" {
		d.t.Errorf("heard (-want +got):\n%s", diff)
	}
}

// statement is one text with all that the extended protocol says about it.
func statement(sql string, params ...string) []pgproto3.FrontendMessage {
	var values [][]byte
	for _, p := range params {
		values = append(values, []byte(p))
	}
	return []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: sql}, &pgproto3.Bind{Parameters: values},
		&pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{},
	}
}

// pipeline joins statements and Syncs.
func pipeline(parts ...[]pgproto3.FrontendMessage) []pgproto3.FrontendMessage {
	var all []pgproto3.FrontendMessage
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func syncPoint() []pgproto3.FrontendMessage { return []pgproto3.FrontendMessage{&pgproto3.Sync{}} }

// describe writes a message as a line, without what two servers need not have in common.
func describe(m pgproto3.BackendMessage) string {
	switch m := m.(type) {
	case *pgproto3.ErrorResponse:
		return report((*pgproto3.NoticeResponse)(m))
	case *pgproto3.NoticeResponse:
		return report(m)
	case *pgproto3.ReadyForQuery:
		return "ready " + string(m.TxStatus)
	case *pgproto3.CommandComplete:
		return "done " + string(m.CommandTag)
	case *pgproto3.DataRow:
		return "row " + values(m.Values)
	case *pgproto3.RowDescription:
		line := "columns"
		for _, f := range m.Fields {
			line += fmt.Sprintf(" %s:%d:%d", f.Name, f.DataTypeOID, f.Format)
		}
		return line
	case *pgproto3.ParameterStatus:
		return "parameter " + m.Name + " = " + m.Value
	case *pgproto3.BackendKeyData:
		return "key"
	case *pgproto3.NotificationResponse:
		return fmt.Sprintf("notification %s %q", m.Channel, m.Payload)
	case *pgproto3.FunctionCallResponse:
		return "result " + values([][]byte{m.Result})
	case *pgproto3.CopyData:
		return "data " + values([][]byte{m.Data})
	case *pgproto3.NegotiateProtocolVersion:
		return fmt.Sprintf("protocol %#x without %q", m.NewestMinorProtocol, m.UnrecognizedOptions)
	case *pgproto3.ParameterDescription:
		return fmt.Sprint("parameters ", m.ParameterOIDs)
	default:
		return strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3.")
	}
}

// report is a line for an error or a notice, without where in the server's source it was raised.
func report(m *pgproto3.NoticeResponse) string {
	line := fmt.Sprintf("%s %s: %s", m.Severity, m.Code, m.Message)
	for _, f := range []struct{ name, value string }{{"detail", m.Detail}, {"hint", m.Hint}, {"where", m.Where}} {
		if f.value != "" {
			line += " | " + f.name + ": " + f.value
		}
	}
	if m.Position > 0 {
		line += fmt.Sprintf(" | at %d", m.Position)
	}
	return line
}

// values writes the columns of a row: of long ones the length and a checksum.
func values(list [][]byte) string {
	var texts []string
	for _, v := range list {
		switch {
		case v == nil:
			texts = append(texts, "NULL")
		case len(v) > 100:
			sum := fnv.New64a()
			sum.Write(v)
			texts = append(texts, fmt.Sprintf("%d bytes %x", len(v), sum.Sum64()))
		default:
			texts = append(texts, fmt.Sprintf("%q", v))
		}
	}
	return strings.Join(texts, " ")
}

func int4(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

// compare holds a conversation with a plain server and one through the proxy, as the superuser in database "orders", and
// compares what is heard and which roles there are in the end.
func compare(t *testing.T, via endpoint, talk func(*dialogue)) {
	t.Helper()
	compareAs(t, via, "postgres", talk)
}

func compareAs(t *testing.T, via endpoint, user string, talk func(*dialogue)) {
	t.Helper()
	heard := func(e endpoint) []string {
		d := e.open(t, "orders", user)
		talk(d)
		d.say(&pgproto3.Terminate{})
		return d.take()
	}
	want, got := heard(direct(plain())), heard(via)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("direct (-) and through the proxy (+):\n%s", diff)
	}
	if diff := cmp.Diff(memberships(t, plain(), ""), memberships(t, scoped(), "orders_")); diff != "" {
		t.Errorf("roles, direct (-) and through the proxy (+):\n%s", diff)
	}
}

// sessionUsers makes a role of database "orders" that may do all, on both clusters, and returns it and the
// superuser, who is of no database: the session of a role of the database has its search_path kept (see
// TestUserInSearchPath), and another name on the server.
func sessionUsers(t *testing.T, via endpoint) []string {
	t.Helper()
	for _, e := range []endpoint{direct(plain()), via} {
		e.open(t, "orders", "postgres").query("CREATE ROLE app SUPERUSER LOGIN")
	}
	return []string{"postgres", "app"}
}
