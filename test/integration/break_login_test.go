package integration

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// leg is the connection that a tamperer stands in.
type leg string

const (
	clientLeg leg = "client's leg"
	serverLeg leg = "server's leg"
	adminLeg  leg = "admin's leg"
)

// stageOfLogins is a proxy, one leg of which goes through a tamperer, and what its clients bring.
type stageOfLogins struct {
	*testing.T
	m       *tamperer
	via, at endpoint // the proxy, and where the clients connect that something happens to
	look    inspector
	fault   fault  // that happens
	user    string // empty for app
	params  string // of the client's connection string
	header  string // that the connection begins with
}

// arrivals are the ways to come to the server that faults happen to, each with the leg that they happen on.
var arrivals = []struct {
	name   string
	leg    leg
	setUp  func(*testing.T, *pgtest.Cluster) []func(*proxy.Options)
	server string // of the connection string of the server's leg; empty for one without TLS
	with   stageOfLogins
	visit  func(stageOfLogins) error
	places func(source, []byte) []place
}{
	{name: "SCRAM, passthrough", leg: clientLeg, visit: stageOfLogins.logIn, places: places},
	{name: "SCRAM, passthrough", leg: serverLeg, visit: stageOfLogins.logIn, places: places},
	{name: "SCRAM, verify", leg: clientLeg, setUp: verifying, visit: stageOfLogins.logIn, places: places},
	{name: "SCRAM, verify", leg: serverLeg, setUp: verifying, visit: stageOfLogins.logIn, places: places},
	{name: "TLS", leg: clientLeg, setUp: encrypting, with: stageOfLogins{params: "sslmode=require channel_binding=disable"}, visit: stageOfLogins.logIn, places: records},
	{name: "TLS", leg: serverLeg, server: "sslmode=verify-full", visit: stageOfLogins.logIn, places: records},
	{name: "cancel request", leg: clientLeg, visit: stageOfLogins.cancel, places: places},
	{name: "cancel request", leg: serverLeg, visit: stageOfLogins.cancel, places: places},
	{name: "passthrough", leg: adminLeg, visit: stageOfLogins.logIn, places: pieces},
	{name: "verify", leg: adminLeg, setUp: verifying, visit: stageOfLogins.logIn, places: pieces},
	{
		name: "PROXY header, version 1", leg: clientLeg, setUp: balanced, visit: stageOfLogins.logIn, places: pieces,
		with: stageOfLogins{user: "open", header: "PROXY TCP4 192.0.2.1 127.0.0.1 1234 5432\r\n"},
	},
	{
		name: "PROXY header, version 2", leg: clientLeg, setUp: balanced, visit: stageOfLogins.logIn, places: pieces,
		with: stageOfLogins{user: "open", header: "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\x7f\x00\x00\x01\x04\xd2\x15\x38"},
	},
	{
		name: "pooled connection", leg: serverLeg, with: stageOfLogins{user: "open"}, visit: stageOfLogins.logInTwice, places: places,
		setUp: func(*testing.T, *pgtest.Cluster) []func(*proxy.Options) { return []func(*proxy.Options){pooled} },
	},
}

func verifying(*testing.T, *pgtest.Cluster) []func(*proxy.Options) {
	return []func(*proxy.Options){authBy(proxy.AuthVerify)}
}

func encrypting(t *testing.T, c *pgtest.Cluster) []func(*proxy.Options) {
	t.Helper()
	return []func(*proxy.Options){withTLS(t, c)}
}

func balanced(*testing.T, *pgtest.Cluster) []func(*proxy.Options) {
	return []func(*proxy.Options){func(o *proxy.Options) { o.Proxies = &proxy.Proxies{} }}
}

// records lists the boundaries of the TLS records in a stream, and places inside each. A stream is not the same each time
// (signatures have several lengths), so that some are a byte beside.
func records(from source, stream []byte) (all []place) {
	const request, header = 8, 5
	at := request
	if from == theServer {
		at = len("S")
	}
	for n := 0; n < at; n++ {
		all = append(all, place{from, n, 0, true})
	}
	for at+header <= len(stream) {
		for _, past := range []int{0, 1, header, header + 1} {
			all = append(all, place{from, at + past, 0, true})
		}
		at += header + int(binary.BigEndian.Uint16(stream[at+header-2:]))
	}
	return all
}

// pieces lists places all over a stream that has no messages, or in which those of several connections are mixed.
func pieces(from source, stream []byte) (all []place) {
	const enough = 100
	for at := 0; at < len(stream); at += 1 + len(stream)/enough {
		all = append(all, place{from, at, 0, true})
	}
	return all
}

// errBegun is for what breaks in a session, not in its login.
var errBegun = errors.New("the session had begun")

// logIn logs in, and asks for something.
func (s stageOfLogins) logIn() error {
	s.m.set(s.fault)
	_, err := s.session()
	return err
}

func (s stageOfLogins) session() (pid uint32, err error) {
	s.Helper()
	config, err := pgconn.ParseConfig(s.at.dsn("orders", s.user) + " " + s.params)
	if err != nil {
		s.Fatal(err)
	}
	config.Password = "secret"
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			_, _ = conn.Write([]byte(s.header)) // where it fails, so does what follows
		}
		return conn, err
	}
	ctx, cancel := context.WithTimeout(s.Context(), *patience)
	defer cancel()
	defer func() {
		if ctx.Err() != nil {
			s.Fatalf("no end of the login: %v", err)
		}
	}()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(ctx) }() // it may be broken
	rows, err := conn.Exec(ctx, "SELECT session_user").ReadAll()
	if err != nil {
		return 0, errors.Join(errBegun, err)
	}
	if got := string(rows[0].Rows[0][0]); got != s.user {
		s.Errorf("logged in as %s", got)
	}
	return conn.PID(), nil
}

// logInTwice lets a second client have the connection of the first.
func (s stageOfLogins) logInTwice() error {
	s.m.set(s.fault)
	pid, err := s.session()
	if err != nil {
		return err
	}
	s.look.await(none(fmt.Sprintf("pid = %d AND (query NOT IN ('DISCARD ALL', 'RESET ROLE') OR state <> 'idle')", pid)))
	_, err = s.session()
	return err
}

// cancel lets something happen to a cancel request. The session that it is about is undisturbed: its statement is
// cancelled, or goes on until another request comes.
func (s stageOfLogins) cancel() error {
	s.m.set(fault{})
	d := s.via.start(s.T)
	defer d.conn.Close()
	d.take()
	d.say(&query{String: "SELECT pg_sleep(600)"})
	s.look.await(some(fmt.Sprintf("pid = %d AND wait_event = 'PgSleep'", d.key.ProcessID)))
	s.m.set(s.fault)
	request := s.at.dial(s)
	defer request.conn.Close()
	request.write(encode(s, &pgproto3.CancelRequest{ProcessID: d.key.ProcessID, SecretKey: d.key.SecretKey}))
	request.toTheEnd()
	request.wants()
	if s.fault.end != nil {
		s.look.exec(fmt.Sprintf("SELECT pg_cancel_backend(%d)", d.key.ProcessID))
	}
	d.ready(1)
	d.wants("columns pg_sleep:2278:0", "ERROR 57014: canceling statement due to user request", "ready I")
	return nil
}

// TestBreakLogin lets something happen to the connections of a login, and to those beside a session. A client is let in,
// or told why it is not; nothing stays behind; and what a client does not need, it does not miss.
func TestBreakLogin(t *testing.T) {
	c := authCluster(t)
	look := inspect(t, c, "orders")
	for _, a := range arrivals {
		t.Run(fmt.Sprintf("%s/%s", a.name, a.leg), func(t *testing.T) {
			s := a.with
			s.T, s.look, s.look.t = t, look, t
			s.user = cmp.Or(s.user, "app")
			m, tampered := tamperAt(t, direct(c))
			s.m = m
			port := fmt.Sprintf("port=%d", tampered.port)
			options := []func(*proxy.Options){permissive(t), quiet, withAdmin(t, c), withLimits(proxy.Limits{}, proxy.Timeouts{Login: *patience})}
			if a.setUp != nil {
				options = append(options, a.setUp(t, c)...)
			}
			switch a.leg {
			case serverLeg:
				options = append(options, upstream(t, c, port, cmp.Or(a.server, "sslmode=disable")))
			case adminLeg:
				options = append(options, withAdmin(t, c, port, "sslmode=disable"))
			case clientLeg:
			}
			visit := func(f fault) error {
				metrics, await := gauge(t)
				via, stop := run(t, c, append(options, metrics)...) // one that knows nothing, and keeps no connection
				defer stop()
				s.fault, s.via, s.at = f, via, via
				if a.leg == clientLeg {
					m.toward(via)
					s.at = tampered
				}
				err := a.visit(s)
				await(0)
				return err
			}
			if err := visit(fault{}); err != nil {
				t.Fatal(err)
			}
			all := append(a.places(theServer, m.sent(theServer)), a.places(theProxy, m.sent(theProxy))...)
			before := files(t)
			check := func(name string, at place, survived bool, f fault) string {
				err := visit(f)
				s.look.ended()
				told := (*pgconn.PgError)(nil)
				switch {
				case err == nil:
					return "complete"
				case survived:
					t.Errorf("%s at %+v: %v", name, at, err)
				case errors.As(err, &told) && (strings.HasPrefix(told.Code, "08") || strings.HasSuffix(told.Hint, "Try again.")):
					return "told"
				case errors.As(err, &told) || a.leg != clientLeg && !errors.Is(err, errBegun):
					t.Errorf("%s at %+v: the client is not told why: %v", name, at, err)
				}
				return "closed"
			}
			check("byte by byte", place{}, true, fault{step: 1})
			t.Log(breakAll(all, check))
			awaitFiles(t, before)
		})
	}
}

// files counts what this process has open: connections, too. Where the system does not tell, there is nothing to compare.
func files(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// awaitFiles waits until this process has no more open than before.
func awaitFiles(t *testing.T, before int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(*patience); files(t) > before; {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d files are open, %d were before", files(t), before)
		}
	}
}
