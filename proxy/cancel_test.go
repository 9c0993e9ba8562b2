package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// TestCancel cancels a query of a session through the proxy, with a request that comes on a connection of its own.
func TestCancel(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{TLS: true})
	unreachable := unusedPort(t)
	two := fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d sslmode=disable", unreachable, server.Port)
	for _, test := range []struct {
		name, dsn, client string
		unreachable       bool // one of the hosts is
	}{
		{name: "plain", dsn: server.DSN("sslmode=disable")},
		{name: "TLS to the server", dsn: server.DSN("sslmode=require")},
		{name: "TLS to the client", dsn: server.DSN("sslmode=disable"), client: "sslmode=require"},
		{name: "two hosts", dsn: two, unreachable: true},
		{name: "protocol 3.2", dsn: server.DSN("sslmode=disable"), client: "max_protocol_version=3.2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startLoginProxy(t, testUpstream(t, test.dsn), TLSAllow, loginNames{candidates: []scope.Cluster{"postgres"}})
			c, err := connect(t, p.dsn("postgres", test.client))
			if err != nil {
				t.Fatal(err)
			}
			<-p.outcomes
			sleeping := asleep(t, server, c)
			if err := c.CancelRequest(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := (<-p.outcomes).err; (err != nil) != test.unreachable {
				t.Error(err)
			}
			checkCanceled(t, <-sleeping)
		})
	}
}

// TestCancelQuery cancels what a session does, on behalf of the proxy itself.
func TestCancelQuery(t *testing.T) {
	server := pgtest.Start(t, pgtest.Options{TLS: true})
	u := testUpstream(t, server.DSN("sslmode=prefer"))
	p := startLoginProxy(t, u, TLSOff, loginNames{candidates: []scope.Cluster{"postgres"}})
	c, err := connect(t, p.dsn("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	session := (<-p.outcomes).in.server
	sleeping := asleep(t, server, c)
	key := wire.CancelRequest{ProcessID: c.PID(), Secret: c.SecretKey()}
	if err := session.cancelQuery(context.Background(), key); err != nil {
		t.Fatal(err)
	}
	checkCanceled(t, <-sleeping)
}

// asleep runs a query that does not end in the session, and returns when the server is at it.
func asleep(t *testing.T, server *pgtest.Cluster, c *pgconn.PgConn) <-chan error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.Background(), "SELECT pg_sleep(600)").ReadAll()
		result <- err
	}()
	server.Await(t, fmt.Sprintf(`EXISTS (SELECT FROM pg_stat_activity WHERE pid = %d AND wait_event = 'PgSleep')`, c.PID()))
	return result
}

func checkCanceled(t *testing.T, err error) {
	t.Helper()
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != "57014" {
		t.Errorf("the query ends with %v", err)
	}
}

// TestCancelEnds checks that a server which does not close the connection is not waited for longer than the context says.
func TestCancelEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan error, 1)
	want := wire.AppendCancel(nil, wire.CancelRequest{ProcessID: 7, Secret: []byte("a long key of protocol 3.2")})
	go func() {
		c, err := l.Accept()
		if err != nil {
			heard <- err
			return
		}
		defer c.Close()
		_, err = hears(string(want))(c)
		heard <- err
		cancel()
		_, _ = swallows(c) // until the proxy has enough
	}()
	u := testUpstream(t, listenerDSN(l, "sslmode=disable"))
	err = u.forwardCancel(ctx, wire.CancelRequest{ProcessID: 7, Secret: []byte("a long key of protocol 3.2")})
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "did not close") {
		t.Error(err)
	}
	if err := <-heard; err != nil {
		t.Error(err)
	}
}
