package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// loginRoles are the roles of the login tests and the pg_hba.conf that says how they log in. Those that a test names and
// this does not make do not exist.
const loginRoles = `
	SET password_encryption = 'md5';
	CREATE ROLE orders_md5 LOGIN PASSWORD 'secret';
	CREATE ROLE plainmd5 LOGIN PASSWORD 'secret';
	SET password_encryption = 'scram-sha-256';
	CREATE ROLE orders_trust LOGIN;
	CREATE ROLE global_trust LOGIN;
	CREATE ROLE orders_group NOLOGIN;
	CREATE ROLE global_group NOLOGIN;
	CREATE ROLE orders_clear LOGIN PASSWORD 'secret';
	CREATE ROLE global_clear LOGIN PASSWORD 'secret';
	CREATE ROLE orders_scram LOGIN PASSWORD 'secret';
	CREATE ROLE global_scram LOGIN PASSWORD 'secret';
	CREATE ROLE orders_tls LOGIN;
	CREATE ROLE orders_notls LOGIN;
	CREATE ROLE orders_cert LOGIN;
`

var loginHBA = []string{
	"host    all trust,orders_trust,global_trust,orders_global_trust,orders_group,global_group 127.0.0.1/32 trust",
	"host    all orders_clear,global_clear,orders_global_clear,clear_then_scram   127.0.0.1/32 password",
	"host    all orders_md5,plainmd5                                              127.0.0.1/32 md5",
	"host    all rejected                                                         127.0.0.1/32 reject",
	"hostssl   all orders_tls                                                     127.0.0.1/32 trust",
	"hostnossl all orders_notls                                                   127.0.0.1/32 trust",
	"host      all orders_tls,orders_notls                                        127.0.0.1/32 reject",
	"hostssl   all orders_cert                                                      127.0.0.1/32 cert",
	"host    all all                                                              127.0.0.1/32 scram-sha-256",
}

func startLoginServer(t *testing.T) *pgtest.Cluster {
	t.Helper()
	c := pgtest.Start(t, pgtest.Options{TLS: true, HBA: loginHBA})
	c.Psql(t, "postgres", loginRoles)
	return c
}

func testUpstream(t *testing.T, dsn string) *Upstream {
	t.Helper()
	u, err := NewUpstream(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// listenerDSN returns the key/value string of a connection to a listener on 127.0.0.1.
func listenerDSN(l net.Listener, params ...string) string {
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	return fmt.Sprintf("host=127.0.0.1 port=%d %s", port, strings.Join(params, " "))
}

// loginProxy is as much of a proxy as a login needs: it splices the two connections afterwards.
type loginProxy struct {
	upstream *Upstream
	names    loginNames
	params   []wire.Parameter
	listener net.Listener
	outcomes chan loginOutcome // of each connection in turn
}

type loginOutcome struct {
	in  *loggedIn
	err error
}

func startLoginProxy(t *testing.T, upstream *Upstream, mode TLSMode, names loginNames, params ...wire.Parameter) *loginProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &loginProxy{
		upstream: upstream, names: names, params: params, listener: l,
		outcomes: make(chan loginOutcome, 10), // more than a test makes connections
	}
	options := testAdmitOptions(t, mode)
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { p.serve(c, options) })
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	return p
}

func (p *loginProxy) serve(c net.Conn, options admitOptions) {
	defer c.Close()
	ctx := context.Background()
	v, err := admit(ctx, c, options)
	if err == nil && v.cancel != nil {
		err = p.upstream.forwardCancel(ctx, *v.cancel)
		p.outcomes <- loginOutcome{nil, err}
		return
	}
	var in *loggedIn
	if err == nil {
		in, err = login(ctx, v, p.upstream, p.names, loginOptions{params: p.params, localize: testLocalize(v.startup.User())})
	}
	p.outcomes <- loginOutcome{in, err}
	if err != nil {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.CloseWrite() // the client may be gone
			_, _ = io.Copy(io.Discard, c)
		}
		return
	}
	defer in.server.Close()
	// That a leg breaks is how sessions end here; what is lost shows at the client.
	_ = v.conn.SetDeadline(time.Time{})
	_ = in.server.SetDeadline(time.Time{})
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = v.conn.Write(append(in.welcome, in.rest...))
		_, _ = io.Copy(v.conn, in.server)
		c.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(in.server, v.conn)
		in.server.Close()
	})
	both.Wait()
}

// testLocalize puts what the client said in the place of the cluster name.
func testLocalize(said string) func(scope.Cluster, []byte) []byte {
	return func(user scope.Cluster, frame []byte) []byte {
		body := bytes.ReplaceAll(wire.Body(frame), []byte(user), []byte(said))
		return append(wire.AppendHeader(nil, frame[0], len(body)), body...)
	}
}

// dsn returns a key/value string for a client.
func (p *loginProxy) dsn(user string, params ...string) string {
	return listenerDSN(p.listener, append([]string{"user=" + user, "dbname=postgres", "sslmode=disable"}, params...)...)
}

// dial returns a connection of a client that speaks for itself.
func (p *loginProxy) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask runs a query and returns the first field.
func ask(t *testing.T, c *pgconn.PgConn, sql string) string {
	t.Helper()
	r, err := c.Exec(context.Background(), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return string(r[0].Rows[0][0])
}

func connect(t *testing.T, dsn string) (*pgconn.PgConn, error) {
	t.Helper()
	c, err := pgconn.Connect(context.Background(), dsn)
	if err == nil {
		t.Cleanup(func() { _ = c.Close(context.Background()) }) // the test may have ended the session
	}
	return c, err
}

func TestLogin(t *testing.T) {
	server := startLoginServer(t)
	plain := testUpstream(t, server.DSN("sslmode=disable"))
	const pass = "password=secret"
	for _, test := range []struct {
		name   string
		said   string
		names  []scope.Cluster
		prefer int
		client string // connection parameters of the client
		user   string // who is logged in; else
		told   string // SQLSTATE and what the message has
		hint   string
		tried  int // the candidate of the failure
	}{
		{name: "trust", said: "trust", names: []scope.Cluster{"orders_trust"}, user: "orders_trust"},
		{name: "trust, the first of two", said: "trust", names: []scope.Cluster{"orders_trust", "trust"}, prefer: 1, user: "orders_trust"},
		{name: "trust, the second of two", said: "global_trust", names: []scope.Cluster{"orders_global_trust", "global_trust"}, user: "global_trust"},
		{name: "trust, no such role", said: "trust", names: []scope.Cluster{"trust"}, told: `28000 role "trust" does not exist`},
		{name: "trust, neither of two", said: "trust", names: []scope.Cluster{"orders_global_trust", "trust"}, told: `28000 role "trust" does not exist`, tried: 1},
		{name: "trust, may not log in", said: "group", names: []scope.Cluster{"orders_group"}, told: `28000 role "group" is not permitted to log in`},
		{name: "trust, the first may not log in", said: "group", names: []scope.Cluster{"orders_group", "trust"}, told: `28000 role "group" is not permitted to log in`},
		{name: "trust, the second may not log in", said: "global_group", names: []scope.Cluster{"trust", "global_group"}, told: `28000 role "global_group" is not permitted to log in`, tried: 1},
		{name: "trust, no such database", said: "trust", names: []scope.Cluster{"orders_trust", "global_trust"}, client: "dbname=none", told: `3D000 database "none" does not exist`},

		{name: "clear text", said: "clear", names: []scope.Cluster{"orders_clear"}, client: pass, user: "orders_clear"},
		{name: "clear text, the first of two", said: "clear", names: []scope.Cluster{"orders_clear", "global_clear"}, prefer: 1, client: pass, user: "orders_clear"},
		{name: "clear text, the second of two", said: "global_clear", names: []scope.Cluster{"orders_global_clear", "global_clear"}, client: pass, user: "global_clear"},
		{name: "clear text, wrong", said: "clear", names: []scope.Cluster{"orders_clear"}, client: "password=guess", told: `28P01 password authentication failed for user "clear"`},
		{name: "clear text, wrong for two", said: "clear", names: []scope.Cluster{"orders_clear", "global_clear"}, client: "password=guess", told: `28P01 password authentication failed for user "clear"`},
		{name: "clear text, then trust", said: "x", names: []scope.Cluster{"orders_global_clear", "global_trust"}, client: pass, user: "global_trust"},
		{name: "clear text, then something else", said: "x", names: []scope.Cluster{"clear_then_scram", "global_scram"}, client: pass, told: `28P01 password authentication failed for user "x"`},

		{name: "md5", said: "plainmd5", names: []scope.Cluster{"plainmd5"}, client: pass, user: "plainmd5"},
		{name: "md5, wrong", said: "plainmd5", names: []scope.Cluster{"plainmd5"}, client: "password=guess", told: `28P01 password authentication failed for user "plainmd5"`},
		{name: "md5 under another name", said: "md5", names: []scope.Cluster{"orders_md5"}, client: pass, told: `28000 MD5 password authentication is not possible for user "md5"`, hint: "scram-sha-256"},

		{name: "SCRAM", said: "scram", names: []scope.Cluster{"orders_scram"}, client: pass, user: "orders_scram"},
		{name: "SCRAM, wrong", said: "scram", names: []scope.Cluster{"orders_scram"}, client: "password=guess", told: `28P01 password authentication failed for user "scram"`},
		{name: "SCRAM, the first is right", said: "scram", names: []scope.Cluster{"orders_scram", "scram"}, prefer: 0, client: pass, user: "orders_scram"},
		{name: "SCRAM, the second is right", said: "global_scram", names: []scope.Cluster{"orders_global_scram", "global_scram"}, prefer: 1, client: pass, user: "global_scram"},
		{name: "SCRAM, the other is right", said: "global_scram", names: []scope.Cluster{"orders_global_scram", "global_scram"}, prefer: 0, client: pass, told: `28P01 password authentication failed for user "global_scram"`},
		{name: "SCRAM, the other is right too", said: "scram", names: []scope.Cluster{"orders_scram", "scram"}, prefer: 1, client: pass, told: `28P01 password authentication failed for user "scram"`, tried: 1},

		{name: "rejected, then trust", said: "x", names: []scope.Cluster{"rejected", "orders_trust"}, user: "orders_trust"},
		{name: "SCRAM, the preferred is rejected", said: "x", names: []scope.Cluster{"orders_scram", "rejected"}, prefer: 1, client: pass, user: "orders_scram"},
		{name: "rejected", said: "x", names: []scope.Cluster{"rejected"}, told: `28000 pg_hba.conf rejects connection for host "127.0.0.1", user "x"`},
		{name: "rejected twice", said: "x", names: []scope.Cluster{"rejected", "rejected"}, prefer: 1, told: `28000 pg_hba.conf rejects connection`, tried: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startLoginProxy(t, plain, TLSOff, loginNames{candidates: test.names, prefer: test.prefer})
			c, err := connect(t, p.dsn(test.said, test.client))
			outcome := <-p.outcomes
			if test.user != "" {
				if err != nil || outcome.err != nil {
					t.Fatal(err, outcome.err)
				}
				if got := ask(t, c, "SELECT session_user"); got != test.user {
					t.Errorf("logged in as %s", got)
				}
				if in := outcome.in; string(in.user) != test.user || test.names[in.candidate] != in.user {
					t.Errorf("outcome %+v", in)
				}
				return
			}
			checkPgError(t, err, test.told, test.hint)
			var failed *loginError
			if !errors.As(outcome.err, &failed) || !strings.HasPrefix(test.told, failed.sqlstate) || failed.candidate != test.tried {
				t.Errorf("outcome %+v", outcome.err)
			}
		})
	}
}

// checkPgError checks what a client was told.
func checkPgError(t *testing.T, err error, told, hint string) {
	t.Helper()
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		t.Fatalf("%T %v", err, err)
	}
	if e.Severity != wire.SeverityFatal || !strings.HasPrefix(e.Code+" "+e.Message, told) || !strings.Contains(e.Hint, hint) {
		t.Errorf("got %+v", e)
	}
	if strings.Contains(fmt.Sprint(*e), "orders_") {
		t.Errorf("the client sees a cluster name: %+v", e)
	}
}

func TestLoginTLS(t *testing.T) {
	server := startLoginServer(t)
	certFile, keyFile, err := server.ClientCert(t.TempDir(), "orders_cert")
	if err != nil {
		t.Fatal(err)
	}
	const pass = "password=secret"
	ca := "sslrootcert=" + server.CACert
	for _, test := range []struct {
		name     string
		upstream []string // connection parameters
		user     scope.Cluster
		client   string
		tls      bool // the server's leg has TLS
		told     string
		hint     string
	}{
		{name: "require", upstream: []string{"sslmode=require"}, user: "orders_scram", client: pass, tls: true},
		{name: "verify-ca", upstream: []string{"sslmode=verify-ca", ca}, user: "orders_scram", client: pass, tls: true},
		{name: "verify-full", upstream: []string{"sslmode=verify-full", ca}, user: "orders_scram", client: pass, tls: true},
		{name: "verify-full, an unknown authority", upstream: []string{"sslmode=verify-full", "sslrootcert=" + certFile}, user: "orders_scram", client: pass, told: "08001 could not connect to the server", hint: "log"},
		{name: "prefer", upstream: []string{"sslmode=prefer"}, user: "orders_scram", client: pass, tls: true},
		{name: "prefer, the server wants none", upstream: []string{"sslmode=prefer"}, user: "orders_notls", tls: false},
		{name: "allow", upstream: []string{"sslmode=allow"}, user: "orders_scram", client: pass, tls: false},
		{name: "allow, the server wants it", upstream: []string{"sslmode=allow"}, user: "orders_tls", tls: true},
		{name: "require, the server wants none", upstream: []string{"sslmode=require"}, user: "orders_notls", told: "28000 pg_hba.conf rejects connection"},
		{name: "disable, the server wants it", upstream: []string{"sslmode=disable"}, user: "orders_tls", told: "28000 pg_hba.conf rejects connection"},
		{name: "certificate", upstream: []string{"sslmode=require", "sslcert=" + certFile, "sslkey=" + keyFile}, user: "orders_cert", tls: true},
		{name: "no certificate", upstream: []string{"sslmode=require"}, user: "orders_cert", told: "28000 connection requires a valid client certificate"},
		{name: "TLS for the client only", upstream: []string{"sslmode=disable"}, user: "orders_scram", client: pass + " sslmode=require", tls: false},
		{name: "TLS on both sides, trust", upstream: []string{"sslmode=require"}, user: "orders_tls", client: "sslmode=require", tls: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := testUpstream(t, server.DSN(test.upstream...))
			p := startLoginProxy(t, u, TLSAllow, loginNames{candidates: []scope.Cluster{test.user}})
			c, err := connect(t, p.dsn("app", test.client))
			outcome := <-p.outcomes
			if test.told != "" {
				checkPgError(t, err, test.told, test.hint)
				return
			}
			if err != nil || outcome.err != nil {
				t.Fatal(err, outcome.err)
			}
			ssl := ask(t, c, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t"
			if ssl != test.tls || (outcome.in.server.tls != nil) != test.tls {
				t.Errorf("TLS to the server: %v", ssl)
			}
		})
	}
}

// TestLoginChannelBinding logs in with SCRAM and TLS on both sides, with a client of libpq: one that could bind the
// exchange to its connection says so, and a server that could too must not see that.
func TestLoginChannelBinding(t *testing.T) {
	server := startLoginServer(t)
	u := testUpstream(t, server.DSN("sslmode=require"))
	p := startLoginProxy(t, u, TLSAllow, loginNames{candidates: []scope.Cluster{"orders_scram"}})
	psql := filepath.Join(server.BinDir, "psql")
	if _, err := exec.LookPath(psql); err != nil { // fetched servers come without clients
		psql = "psql"
	}
	for _, test := range []struct{ binding, out string }{
		{"disable", "orders_scram"},
		{"prefer", "HINT:  Use channel_binding=disable in the client"},
		{"require", "channel binding is required"},
	} {
		cmd := exec.Command(psql, "-X", "-A", "-t", "-c", "SELECT session_user",
			p.dsn("scram", "password=secret sslmode=require channel_binding="+test.binding))
		out, _ := cmd.CombinedOutput() // that it fails shows in the output
		if !strings.Contains(string(out), test.out) {
			t.Errorf("channel_binding=%s: %s", test.binding, out)
		}
		if strings.Contains(string(out), "orders_scram") && test.binding != "disable" {
			t.Errorf("channel_binding=%s: the client sees a cluster name: %s", test.binding, out)
		}
	}
}

// TestLoginStartup checks what the server gets of the client's startup packet, and what is added.
func TestLoginStartup(t *testing.T) {
	server := startLoginServer(t)
	u := testUpstream(t, server.DSN("sslmode=disable"))
	p := startLoginProxy(t, u, TLSOff, loginNames{candidates: []scope.Cluster{"orders_trust"}},
		wire.Parameter{Name: "pgscope.mode", Value: "explicit"}, wire.Parameter{Name: "pgscope.database", Value: "postgres"})
	c, err := connect(t, p.dsn("trust", "application_name=me", "options='-c work_mem=12MB -c pgscope.mode=off'", "pgscope.mode=off"))
	if err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{
		"application_name": "me", "work_mem": "12MB", "pgscope.mode": "explicit", "pgscope.database": "postgres",
	} {
		if got := ask(t, c, "SHOW "+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}

	// The database is named as the user, as the client says it: not as the cluster does.
	said, err := play(p.dial(t), says(startupPacket(t, wire.Version30, "user", "trust")))
	if err != nil || !bytes.Contains(said, []byte(`database "trust" does not exist`)) {
		t.Errorf("%q, %v", said, err)
	}

	// The packet may become too long on the way.
	room := strings.Repeat("x", wire.MaxStartup-len("3..0user.trust.a...."))
	said, err = play(p.dial(t), says(startupPacket(t, wire.Version30, "user", "trust", "a", room)))
	if err != nil {
		t.Fatal(err)
	}
	checkTold(t, said, scope.CodeProgramLimitExceeded+" startup packet is too long")
}

// TestLoginNegotiation checks that the client is told what it does not get, once, and that both sides agree.
func TestLoginNegotiation(t *testing.T) {
	server := startLoginServer(t)
	u := testUpstream(t, server.DSN("sslmode=disable"))
	major, err := strconv.Atoi(server.Major)
	if err != nil {
		t.Fatal(err)
	}
	newest := wire.Version30
	if major >= 18 {
		newest = wire.Version32
	}
	for _, test := range []struct {
		asked   wire.Version
		options []string
	}{
		{wire.Version30, nil},
		{wire.Version30, []string{"_pq_.a"}},
		{wire.Version32, nil},
		{wire.Version32, []string{"_pq_.a", "_pq_.b"}},
		{3<<16 | 9999, nil},
		{3<<16 | 9999, []string{"_pq_.a"}},
	} {
		t.Run(fmt.Sprint(test.asked, test.options), func(t *testing.T) {
			p := startLoginProxy(t, u, TLSOff, loginNames{candidates: []scope.Cluster{"orders_trust"}})
			client := p.dial(t)
			params := []string{"user", "trust", "database", "postgres"}
			for _, o := range test.options {
				params = append(params, o, "1")
			}
			said, err := play(client, says(startupPacket(t, test.asked, params...)), says([]byte("X\x00\x00\x00\x04")))
			if err != nil {
				t.Fatal(err)
			}
			want := min(test.asked, newest)
			var expected []byte
			if want != test.asked || test.options != nil {
				expected = wire.AppendNegotiate(nil, want, test.options)
			}
			expected = append(expected, "R\x00\x00\x00\x08\x00\x00\x00\x00S"...)
			if !bytes.HasPrefix(said, expected) {
				t.Errorf("got %q, want %q", said, expected)
			}
			if in := (<-p.outcomes).in; in.version != want {
				t.Errorf("version %v", in.version)
			}
			var last pgproto3.ReadyForQuery
			if err := last.Decode(said[len(said)-1:]); err != nil || said[len(said)-6] != wire.ReadyForQuery {
				t.Errorf("ends with %q", said[len(said)-6:])
			}
		})
	}
}

// scriptServer is a server that breaks the protocol, as no real one does: it takes the startup packet, and then the steps.
func scriptServer(t *testing.T, steps ...step) *Upstream {
	t.Helper()
	begins := func(c net.Conn) (net.Conn, error) {
		_, _, err := wire.ReadStartup(c)
		return c, err
	}
	return testUpstream(t, listenerDSN(playServer(t, append([]step{begins}, steps...)...), "sslmode=disable"))
}

// playServer takes the steps on each connection to it, as far as the other side goes along.
func playServer(t *testing.T, steps ...step) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				defer c.Close()
				next := c
				for _, s := range steps {
					if next, err = s(next); err != nil {
						return // it has seen enough
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	return l
}

// authFrame makes an Authentication message.
func authFrame(code uint32, data string) []byte {
	frame := binary.BigEndian.AppendUint32(wire.AppendHeader(nil, wire.Authentication, 4+len(data)), code)
	return append(frame, data...)
}

func passwordFrame(data string) []byte {
	return append(wire.AppendHeader(nil, wire.Password, len(data)), data...)
}

// scramChoice is a SASLInitialResponse.
func scramChoice(mechanism, data string) []byte {
	return passwordFrame(mechanism + "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(data)))) + data)
}

// endlessly repeats a step until the other side has enough.
func endlessly(s step) step {
	return func(c net.Conn) (net.Conn, error) {
		for {
			if _, err := s(c); err != nil {
				return c, err
			}
		}
	}
}

// swallows reads what comes, until the other side has no more.
func swallows(c net.Conn) (net.Conn, error) {
	_, err := io.Copy(io.Discard, c)
	return c, err
}

func TestLoginHostileServer(t *testing.T) {
	const lost = "08006 the server closed the connection during the login"
	const broke = "08P01 the server broke the protocol"
	hearsFrame := func(c net.Conn) (net.Conn, error) {
		_, err := wire.ReadFrame(c, wire.MaxAuthToken)
		return c, err
	}
	offer := authFrame(wire.AuthSASL, "SCRAM-SHA-256\x00\x00")
	const again = "Magain\x00\x00"
	notice := append(wire.AppendHeader(nil, wire.NoticeResponse, len(again)), again...)
	for _, test := range []struct {
		name   string
		server []step
		client []step // after the startup packet
		before int    // bytes that the client hears before it is told
		told   string
	}{
		{name: "closes", told: lost},
		{name: "half a header", server: []step{says([]byte("R\x00\x00"))}, told: lost},
		{name: "header only", server: []step{says([]byte("R\x00\x00\x00\x08"))}, told: lost},
		{name: "4 GiB", server: []step{says([]byte("R\xff\xff\xff\xff")), swallows}, told: lost},
		{name: "100 KiB", server: []step{says([]byte("R\x00\x01\x86\xa0")), swallows}, told: lost},
		{name: "another message", server: []step{says([]byte("Z\x00\x00\x00\x05I")), swallows}, told: broke},
		{name: "HTTP", server: []step{says([]byte("HTTP/1.0 400 Bad Request\r\n\r\n")), swallows}, told: lost},
		{name: "request without a code", server: []step{says([]byte("R\x00\x00\x00\x04")), swallows}, told: broke},
		{name: "closes after AuthenticationOk", server: []step{says(authFrame(wire.AuthOk, ""))}, told: lost},
		{name: "GSSAPI", server: []step{says(authFrame(wire.AuthGSS, "")), swallows}, told: "0A000 the server asks for GSSAPI authentication"},
		{name: "SSPI", server: []step{says(authFrame(wire.AuthSSPI, "")), swallows}, told: "0A000 the server asks for SSPI authentication"},
		{name: "unknown", server: []step{says(authFrame(99, "")), swallows}, told: "0A000 the server asks for unknown (99) authentication"},
		{name: "channel binding only", server: []step{says(authFrame(wire.AuthSASL, "SCRAM-SHA-256-PLUS\x00\x00")), swallows}, told: "0A000 the server offers no SASL authentication mechanism"},
		{name: "endless notices", server: []step{endlessly(says(notice))}, told: broke},
		{name: "a newer protocol", server: []step{says(wire.AppendNegotiate(nil, wire.Version32, nil)), swallows}, told: broke},
		{name: "half of a negotiation", server: []step{says([]byte("v\x00\x00\x00\x08\x00\x03\x00\x00")), swallows}, told: broke},
		{
			name: "endless SASL", server: []step{
				says(offer), hearsFrame, endlessly(func(c net.Conn) (net.Conn, error) {
					if _, err := c.Write(authFrame(wire.AuthSASLContinue, "")); err != nil {
						return c, err
					}
					return hearsFrame(c)
				}),
			},
			client: []step{
				says(scramChoice("SCRAM-SHA-256", "n,,n=,r=x")), says(bytes.Repeat(passwordFrame(""), loginRounds)),
			},
			before: len(offer) + (loginRounds-1)*len(authFrame(wire.AuthSASLContinue, "")), told: broke,
		},
		{
			name: "closes in SASL", server: []step{says(offer), hearsFrame},
			client: []step{says(scramChoice("SCRAM-SHA-256", "n,,n=,r=x"))}, before: len(offer), told: lost,
		},
		{
			name: "says why before it closes", server: []step{says(offer), says(wire.AppendError(nil, wire.Fields{Severity: wire.SeverityFatal, Code: "57P01", Message: "terminating"}))},
			client: []step{says(scramChoice("SCRAM-SHA-256", "n,,n=,r=x"))}, before: len(offer), told: "57P01 terminating",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startLoginProxy(t, scriptServer(t, test.server...), TLSOff, loginNames{candidates: []scope.Cluster{"orders_app"}})
			client := p.dial(t)
			said, err := play(client, append([]step{says(startupPacket(t, wire.Version30, "user", "app"))}, test.client...)...)
			if err != nil || len(said) < test.before {
				t.Fatalf("%q, %v", said, err)
			}
			checkTold(t, said[test.before:], test.told)
			if failed := new(*loginError); !errors.As((<-p.outcomes).err, failed) || !strings.HasPrefix(test.told, (*failed).sqlstate) {
				t.Errorf("the login failed with %+v, want SQLSTATE %.5s", *failed, test.told)
			}
		})
	}
}

func TestLoginHostileClient(t *testing.T) {
	server := startLoginServer(t)
	u := testUpstream(t, server.DSN("sslmode=disable"))
	offer := string(authFrame(wire.AuthSASL, "SCRAM-SHA-256\x00\x00"))
	for _, test := range []struct {
		name  string
		user  scope.Cluster
		steps []step
		told  string
	}{
		{name: "leaves when asked", user: "orders_scram", steps: []step{hears(offer), hangsUp}},
		{name: "terminates when asked", user: "orders_scram", steps: []step{hears(offer), says([]byte("X\x00\x00\x00\x04"))}},
		{name: "half a header", user: "orders_scram", steps: []step{hears(offer), says([]byte("p\x00")), hangsUp}},
		{name: "half an answer", user: "orders_scram", steps: []step{hears(offer), says([]byte("p\x00\x00\x00\x20SCRAM")), hangsUp}},
		{name: "4 GiB", user: "orders_scram", steps: []step{hears(offer), says([]byte("p\xff\xff\xff\xff"))}},
		{name: "a query", user: "orders_scram", steps: []step{hears(offer), says([]byte("Q\x00\x00\x00\x05\x00"))}, told: "08P01 expected SASL response, got message type 81"},
		{name: "a query for a password", user: "orders_clear", steps: []step{hears(string(authFrame(wire.AuthCleartextPassword, ""))), says([]byte("Q\x00\x00\x00\x05\x00"))}, told: "08P01 expected password response, got message type 81"},
		{name: "a mechanism that is not offered", user: "orders_scram", steps: []step{hears(offer), says(scramChoice("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=x"))}, told: "08P01 client selected an invalid SASL authentication mechanism"},
		{name: "no mechanism", user: "orders_scram", steps: []step{hears(offer), says(passwordFrame("SCRAM-SHA-256"))}, told: "08P01 client selected an invalid SASL authentication mechanism"},
		{name: "an answer that is no SCRAM", user: "orders_scram", steps: []step{hears(offer), says(scramChoice("SCRAM-SHA-256", "hello"))}, told: "08P01 malformed SCRAM message"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startLoginProxy(t, u, TLSOff, loginNames{candidates: []scope.Cluster{test.user}})
			client := p.dial(t)
			said, err := play(client, append([]step{says(startupPacket(t, wire.Version30, "user", "app", "database", "postgres"))}, test.steps...)...)
			if err != nil {
				t.Fatal(err)
			}
			outcome := <-p.outcomes
			if outcome.in != nil {
				t.Fatal("logged in")
			}
			checkTold(t, said, test.told)
			if failed := new(*loginError); !errors.As(outcome.err, failed) || !strings.HasPrefix(test.told, (*failed).sqlstate) {
				t.Errorf("the login failed with %+v, want SQLSTATE %.5s", outcome.err, test.told)
			}
		})
	}
}

// TestLoginEndsWithContext ends a login from outside while the client thinks about its password.
func TestLoginEndsWithContext(t *testing.T) {
	client, conn := connPair(t, "tcp")
	u := scriptServer(t, says(authFrame(wire.AuthCleartextPassword, "")), swallows)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error)
	go func() {
		v := &visitor{conn: conn, deadline: time.Now().Add(patience), startup: wire.Startup{Version: wire.Version30}}
		_, err := login(ctx, v, u, loginNames{candidates: []scope.Cluster{"a"}}, loginOptions{localize: testLocalize("a")})
		failed <- err
	}()
	if _, err := hears(string(authFrame(wire.AuthCleartextPassword, "")))(client); err != nil {
		t.Fatal(err)
	}
	cancel()
	frame, err := wire.ReadFrame(client, wire.MaxAuthToken)
	if err != nil || string(wire.Field(frame, 'C')) != scope.CodeAdminShutdown {
		t.Errorf("the client is told %q, %v", frame, err)
	}
	if err := <-failed; err == nil {
		t.Error("the login goes on")
	}
}
