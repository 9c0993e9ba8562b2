package integration

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// dialTLS is dial with TLS of that version.
func (e endpoint) dialTLS(t *testing.T, version uint16) *dialogue {
	t.Helper()
	d := e.dial(t)
	d.startTLS(version)
	return d
}

// startTLS asks for TLS on a connection on which nothing is said yet.
func (d *dialogue) startTLS(version uint16) {
	d.t.Helper()
	d.say(&pgproto3.SSLRequest{})
	var answer [1]byte
	if _, err := io.ReadFull(d.conn, answer[:]); err != nil || answer[0] != 'S' {
		d.t.Fatalf("answer %q, %v", answer, err)
	}
	conn := tls.Client(d.conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, MaxVersion: version})
	d.conn, d.front = conn, pgproto3.NewFrontend(conn, io.Discard)
}

// TestTLSLegs: with TLS on either leg, and with each driver, a session hears what one without TLS hears of the server.
func TestTLSLegs(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{TLS: true, HBA: []string{"local all all trust", "host all all 127.0.0.1/32 trust"}})
	clients := map[string]func(endpoint, *testing.T) *dialogue{
		"plain":   func(e endpoint, t *testing.T) *dialogue { return e.dial(t) },
		"TLS 1.2": func(e endpoint, t *testing.T) *dialogue { return e.dialTLS(t, tls.VersionTLS12) },
		"TLS 1.3": func(e endpoint, t *testing.T) *dialogue { return e.dialTLS(t, tls.VersionTLS13) },
	}
	servers := map[string]string{"plain": "sslmode=disable", "TLS": "sslmode=verify-full"}
	want := make(map[string][]string)
	for name, say := range tlsStories {
		d := direct(c).dial(t)
		say(d, c)
		want[name] = d.take()
	}
	for driver, goroutines := range drivers {
		for server, params := range servers {
			via := start(t, c, withTLS(t, c), upstream(t, c, params), func(o *proxy.Options) { o.Goroutines = goroutines })
			for client, dial := range clients {
				for name, say := range tlsStories {
					t.Run(fmt.Sprintf("%s/%s to %s/%s", driver, client, server, name), func(t *testing.T) {
						d := dial(via, t)
						say(d, c)
						if diff := cmp.Diff(want[name], d.take()); diff != "" {
							t.Errorf("heard (-direct +through the proxy):\n%s", diff)
						}
					})
				}
			}
		}
	}
}

// tlsStories are sessions from their startup packet on.
var tlsStories = map[string]func(*dialogue, *pgtest.Cluster){
	// What comes with the startup packet is in a record with it.
	"all at once": func(d *dialogue, _ *pgtest.Cluster) {
		d.t.Helper()
		d.say(
			startup(pgproto3.ProtocolVersion30, "database", "postgres", "user", "postgres"), &pgproto3.Query{String: "SELECT 1"},
			&pgproto3.Query{String: "SELECT repeat('x', 3000000)"}, &pgproto3.Terminate{},
		)
		d.toTheEnd()
		d.forgetBeginning()
	},
	// The client takes nothing until the server cannot go on, and says something meanwhile.
	"slow": func(d *dialogue, c *pgtest.Cluster) {
		d.t.Helper()
		name := strings.ReplaceAll(d.t.Name(), "'", "")
		d.begin("postgres", "postgres")
		d.say(&pgproto3.Query{String: "SELECT '" + name + "' <> '', repeat('y', 2000) FROM generate_series(1, 20000)"})
		awaitSome(d.t, c, "wait_event = 'ClientWrite' AND query LIKE '%"+name+"%' AND pid <> pg_backend_pid()")
		d.say(&pgproto3.Query{String: "SELECT 2"})
		d.ready(2)
	},
	// The server ends the session behind a long answer, of which nothing must be lost.
	"terminated": func(d *dialogue, _ *pgtest.Cluster) {
		d.t.Helper()
		d.begin("postgres", "postgres")
		d.say(&pgproto3.Query{String: "SELECT repeat('z', 3000000); SELECT pg_terminate_backend(pg_backend_pid())"})
		d.toTheEnd()
	},
	"copy": func(d *dialogue, _ *pgtest.Cluster) {
		d.t.Helper()
		d.begin("postgres", "postgres")
		d.say(&pgproto3.Query{String: "CREATE TEMPORARY TABLE t (a text); COPY t FROM STDIN"})
		until[*pgproto3.CopyInResponse](d)
		for range 50 {
			d.say(&pgproto3.CopyData{Data: []byte(strings.Repeat("a row of the table\n", 5_000))})
		}
		d.say(&pgproto3.CopyDone{}, &pgproto3.Query{String: "SELECT count(*), sum(hashtext(a)) FROM t"})
		d.ready(2)
	},
}

// forgetBeginning forgets what was heard up to the first ReadyForQuery: it holds what two servers need not have in common.
func (d *dialogue) forgetBeginning() {
	for i, line := range d.lines {
		if strings.HasPrefix(line, "ready") {
			d.lines = d.lines[i+1:]
			return
		}
	}
}

// TestPoolTLS: a server connection with TLS is kept for the next client.
func TestPoolTLS(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{TLS: true, HBA: []string{"local all all trust", "host all all 127.0.0.1/32 trust"}})
	c.CreateDatabase(t, "orders")
	for driver, goroutines := range drivers {
		t.Run(driver, func(t *testing.T) {
			option, kept := gaugeOf(t, "pgscope_pool_idle_connections")
			via := start(t, c, permissive(t), pooled, upstream(t, c, "sslmode=verify-full"), option, func(o *proxy.Options) { o.Goroutines = goroutines })
			via.visit(t, c, "postgres") // now the proxy knows the role
			_, first := via.visit(t, c, "postgres", "SET work_mem = '1MB'")
			kept(1)
			got, second := via.visit(t, c, "postgres", "SHOW work_mem")
			if first != second || got != "4MB" {
				t.Errorf("process %d served the first client, %d the second, which sees work_mem = %s", first, second, got)
			}
		})
	}
}
