package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
)

// onSockets lets a proxy listen on a Unix socket, and reach its server by one: those hold little of what nobody has read.
func onSockets(t *testing.T) func(*proxy.Options) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgscope-") // t.TempDir() may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	upstream, err := proxy.NewUpstream(scoped().DSN("host=" + scoped().SocketDir))
	if err != nil {
		t.Fatal(err)
	}
	return func(o *proxy.Options) {
		o.Listen, o.Upstream = []string{filepath.Join(dir, ".s.PGSQL.5432")}, upstream
	}
}

// TestEndWhileClientsRead ends sessions whose clients have not read their answers yet: when the proxy stops, and by the
// server. They read the whole of the answer, and why their session is over, as they would without a proxy. Of the sizes,
// one at least is such that the end of the answer waits in the proxy.
func TestEndWhileClientsRead(t *testing.T) {
	for driver, goroutines := range drivers {
		for name, end := range map[string]func(stop func()){
			"by the proxy": func(stop func()) { go stop() },
			"by the server": func(func()) {
				scoped().Psql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "+others)
				awaitNone(t, scoped(), others)
			},
		} {
			t.Run(driver+", "+name, func(t *testing.T) {
				database(t, scoped(), "orders")
				via, stop := run(t, scoped(), permissive(t), grace(2**patience), onSockets(t),
					func(o *proxy.Options) { o.Goroutines = goroutines })
				t.Cleanup(stop)
				const row, least, most, step = 1000, 100, 252, 8 // the largest still fits the sockets: the server is done with it
				idle := via.open(t, "orders", "postgres")
				var reading []*dialogue
				for rows := least; rows <= most; rows += step {
					d := via.open(t, "orders", "postgres")
					d.say(&pgproto3.Query{String: fmt.Sprintf("SELECT repeat('x', %d) FROM generate_series(1, %d)", row, rows)})
					reading = append(reading, d)
				}
				// Also those whose query the server has not got yet are at rest there.
				const answered = "(SELECT count(*) FROM pg_stat_activity WHERE " + others + " AND query ~ '^SELECT repeat' AND state = 'idle')"
				scoped().Await(t, fmt.Sprintf("%s = %d", answered, len(reading)))
				idle.query("SELECT 1")
				end(stop)
				idle.toTheEnd()
				for i, d := range reading {
					rows := least + i*step
					d.toTheEnd()
					got := d.take()
					want := []string{fmt.Sprintf("done SELECT %d", rows), "ready I", shutDown}
					if n := len(got) - len(want); n != rows+1 || !cmp.Equal(got[n:], want) {
						t.Errorf("an answer of %d rows: %d messages, in the end %q", rows, len(got), got[max(0, len(got)-len(want)):])
					}
				}
			})
		}
	}
}

// TestLeaveWhileHeld has a client say something and leave, while what it said still waits for an answer about names. It is
// done, as a server does all that was said to it before.
func TestLeaveWhileHeld(t *testing.T) {
	for driver, goroutines := range drivers {
		for name, listen := range map[string]func(*proxy.Options){"TCP": func(*proxy.Options) {}, "socket": onSockets(t)} {
			t.Run(driver+", "+name, func(t *testing.T) {
				database(t, scoped(), "orders")
				via := start(t, scoped(), permissive(t), listen, func(o *proxy.Options) { o.Goroutines = goroutines })
				other := via.open(t, "orders", "postgres")
				other.query("CREATE ROLE first") // and with it the marker
				d, holder := via.open(t, "orders", "postgres"), direct(scoped()).open(t, "postgres", "postgres")
				holder.query("BEGIN; LOCK TABLE pg_catalog.pg_shdescription")
				d.say(&query{String: "CREATE ROLE reader"}, &pgproto3.Terminate{})
				d.conn.Close()
				awaitSome(t, scoped(), "datname = 'orders' AND wait_event_type = 'Lock'")
				other.query("SELECT 1") // the proxy has heard that the client is gone
				holder.query("ROLLBACK")
				scoped().Await(t, "EXISTS (SELECT FROM pg_roles WHERE rolname = 'orders_reader')")
			})
		}
	}
}
