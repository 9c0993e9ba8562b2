package integration

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// saidBeforeLeaving are what a client says, in a session, before it takes its leave.
var saidBeforeLeaving = map[string][]pgproto3.FrontendMessage{
	"nothing":                   nil,
	"a long answer":             {&query{String: "SELECT repeat('z', 1000) FROM generate_series(1, 3000)"}},
	"statements with roles":     {&query{String: "CREATE ROLE passing; DROP ROLE passing"}, &query{String: "COMMENT ON ROLE nobody IS 'x'"}},
	"a pipeline":                pipeline(statement("SELECT pg_sleep(0.05)"), statement("CREATE ROLE passing"), statement("DROP ROLE passing"), syncPoint()),
	"a pipeline without a Sync": pipeline(statement("SELECT pg_sleep(0.05)"), statement("CREATE TABLE t (a int)")),
}

// TestHalfClosedBehindTerminate: a client that says Terminate behind its questions, and closes its end of the connection, gets
// all answers, as from a server. All that it says comes at once, its login too or not, and with TLS its close_notify.
func TestHalfClosedBehindTerminate(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{TLS: true, HBA: []string{"local all all trust", "host all all 127.0.0.1/32 trust"}})
	c.CreateDatabase(t, "orders")
	talk := func(t *testing.T, d *dialogue, said []pgproto3.FrontendMessage, withLogin bool) []string {
		t.Helper()
		all := encode(t, append(said[:len(said):len(said)], &pgproto3.Terminate{})...)
		if withLogin {
			all = append(encode(t, startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "postgres")), all...)
		} else {
			d.begin("orders", "postgres")
		}
		var err error
		if secure, ok := d.conn.(*tls.Conn); ok {
			socket := secure.NetConn().(*corked) //nolint:errcheck // it was dialled so
			err = secure.Handshake()
			socket.cork()
			d.write(all)
			err = errors.Join(err, secure.CloseWrite(), socket.uncork())
		} else {
			d.write(all)
			err = d.tcp().CloseWrite()
		}
		if err != nil {
			t.Fatal(err)
		}
		d.toTheEnd()
		d.forgetBeginning()
		return d.take()
	}
	for driver, goroutines := range drivers {
		via := start(t, c, permissive(t), withTLS(t, c), func(o *proxy.Options) { o.Goroutines = goroutines })
		for leg, dial := range map[string]func(*testing.T) *dialogue{
			"plain": func(t *testing.T) *dialogue { return via.dial(t) },
			"TLS": func(t *testing.T) *dialogue {
				d := via.dial(t)
				d.conn = &corked{Conn: d.conn}
				d.startTLS(tls.VersionTLS13)
				return d
			},
		} {
			for name, said := range saidBeforeLeaving {
				for when, withLogin := range map[string]bool{"in a session": false, "with its login": true} {
					t.Run(strings.Join([]string{driver, leg, name, when}, ", "), func(t *testing.T) {
						want := talk(t, direct(c).dial(t), said, withLogin)
						if diff := cmp.Diff(want, talk(t, dial(t), said, withLogin)); diff != "" {
							t.Errorf("heard (-direct +through the proxy):\n%s", diff)
						}
					})
				}
			}
		}
	}
	awaitNone(t, c, "datname = 'orders'")
}

// corked is a connection that can hold back what is written to it.
type corked struct {
	net.Conn
	held *bytes.Buffer // nil while it does not
}

func (c *corked) Write(b []byte) (int, error) {
	if c.held != nil {
		return c.held.Write(b)
	}
	return c.Conn.Write(b)
}

func (c *corked) cork() { c.held = new(bytes.Buffer) }

func (c *corked) uncork() error {
	err := c.SetWriteDeadline(time.Time{}) // CloseWrite of TLS lets nothing be written any more
	_, failed := c.held.WriteTo(c.Conn)
	c.held = nil
	return errors.Join(err, failed)
}
