package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

func TestNewUpstream(t *testing.T) {
	for _, test := range []struct{ dsn, want string }{
		{"host=a port=1 sslmode=disable", "a:1 without TLS"},
		{"postgres://u:secret@a:1/d?sslmode=require", "a:1 with TLS"},
		{"postgresql://a:1,b:2/d?sslmode=prefer", "a:1 with TLS; a:1 without TLS; b:2 with TLS; b:2 without TLS"},
		{"host=a port=1 sslmode=allow", "a:1 without TLS; a:1 with TLS"},
		{"host=/run/pg port=1 sslmode=require", "/run/pg/.s.PGSQL.1 without TLS"},
		{"host=/run/pg,a port=1,2 sslmode=verify-full", "/run/pg/.s.PGSQL.1 without TLS; a:2 with TLS"},
		{"host=::1 port=1 sslmode=disable connect_timeout=3", "[::1]:1 without TLS"},
		{"host=a port=1 sslnegotiation=direct", "a:1 with TLS"},
		{"host=a port=1 sslmode=disable gssencmode=disable tcp_user_timeout=1 fallback_application_name=x sslcrl=''", "a:1 without TLS"},
	} {
		u, err := NewUpstream(test.dsn)
		if err != nil {
			t.Errorf("%s: %v", test.dsn, err)
			continue
		}
		var got []string
		for _, e := range u.entries {
			got = append(got, e.String())
		}
		if strings.Join(got, "; ") != test.want {
			t.Errorf("%s: %s", test.dsn, got)
		}
	}
	if u := testUpstream(t, "postgres://u:secret@a:1,b:2/d?sslmode=prefer"); u.String() != "a:1, b:2" {
		t.Errorf("String: %s", u)
	}
}

func TestNewUpstreamRefuses(t *testing.T) {
	const password = "secret" // of which no part is shown
	for _, test := range []struct{ dsn, want string }{
		{"host=a password=secret target_session_attrs=master", "none of any, read-write"},
		{"host=a password=secret load_balance_hosts=yes", "load_balance_hosts"},
		{"host=a password=secret keepalives_idle=-1", "keepalives_idle"},
		{"host=a password=secret channel_binding=require", "channel_binding"},
		{"host=a password=secret sslcertmode=require", "sslcertmode"},
		{"host=a password=secret require_auth=scram-sha-256", "require_auth"},
		{"host=a password=secret hostaddr=192.0.2.1", "hostaddr is not supported"},
		{"host=a password=secret requirepeer=postgres", "requirepeer is not supported"},
		{"host=a password=secret sslcrl=/crl", "sslcrl is not supported"},
		{"host=a password=secret ssl_min_protocol_version=TLSv1.3", "ssl_min_protocol_version is not supported here but as TLSv1 or"},
		{"host=a password=secret gssencmode=require", "gssencmode is not supported here but as disable or prefer"},
		{"host=a password=secret sslmode=maybe", "sslmode is none of disable, allow"},
		{"host=a password=secret port=0", "a port is no number"},
		{"host=a password=secret sslmode=verify-ca sslrootcert=/nowhere", "/nowhere"},
		{"host=a password=my secret", "neither a PostgreSQL URI nor"},
		{"host=a password=my secret x=1", "neither a PostgreSQL URI nor"},
		{"host=a password='secret", "neither a PostgreSQL URI nor"},
		{"postgres://u:secret@a:1/d?%zz", "neither a PostgreSQL URI nor"},
		{"postgres://u:secret@[a", "neither a PostgreSQL URI nor"},
		{"postgres://u:my/secret@a:1/d", "written %2F"},
		{"postgres://u:my@secret@a/d", "written %40"},
	} {
		u, err := NewUpstream(test.dsn)
		if err == nil {
			t.Errorf("%s is %s", test.dsn, u)
		} else if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", test.dsn, err)
		}
	}
}

func TestHostAddrOfTheEnvironment(t *testing.T) {
	t.Setenv("PGHOSTADDR", "192.0.2.1")
	if u, err := NewUpstream("host=a"); !errors.Is(err, ErrHostAddr) {
		t.Errorf("%v, %v", u, err)
	}
	if c, err := ParseConfig("host=a"); !errors.Is(err, ErrHostAddr) {
		t.Errorf("%v, %v", c, err)
	}
}

// TestDial connects to a real server in every way that a connection string can ask for.
func TestDial(t *testing.T) {
	withTLS := pgtest.Start(t, pgtest.Options{TLS: true})
	without := pgtest.Shared(t)
	unreachable := unusedPort(t)
	for _, test := range []struct {
		name, dsn string
		tls       bool
		entry     int
		err       string
	}{
		{name: "Unix socket", dsn: fmt.Sprintf("host=%s port=%d sslmode=require", withTLS.SocketDir, withTLS.Port)},
		{name: "disable", dsn: withTLS.DSN("sslmode=disable")},
		{name: "verify-full", dsn: withTLS.DSN(), tls: true},
		{name: "prefer", dsn: withTLS.DSN("sslmode=prefer"), tls: true},
		{name: "prefer, no TLS there", dsn: without.DSN("sslmode=prefer"), entry: 1},
		{name: "require, no TLS there", dsn: without.DSN("sslmode=require"), err: "server does not support SSL, but SSL was required"},
		{name: "allow", dsn: withTLS.DSN("sslmode=allow")},
		{name: "the second host", dsn: fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d sslmode=disable", unreachable, without.Port), entry: 1},
		{name: "the second host, prefer", dsn: fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d sslmode=prefer", unreachable, withTLS.Port), entry: 2, tls: true},
		{name: "nobody there", dsn: fmt.Sprintf("host=127.0.0.1 port=%d sslmode=disable", unreachable), err: "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			link, err := testUpstream(t, test.dsn).dial(context.Background())
			if test.err != "" {
				var unreachable *dialError
				if !errors.As(err, &unreachable) || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want a dialError with %q", err, test.err)
				}
				if e := unreachable.forClient(); e.Code != scope.CodeCannotConnect || strings.Contains(fmt.Sprint(*e), "127.0.0.1") {
					t.Errorf("the client is told %+v", e)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer link.Close()
			if (link.tls != nil) != test.tls || link.entry != test.entry {
				t.Errorf("TLS %v, entry %d", link.tls != nil, link.entry)
			}
			// The link is where a startup packet goes next.
			if _, err := link.Write(startupPacket(t, wire.Version30, "user", "postgres")); err != nil {
				t.Fatal(err)
			}
			if frame, err := wire.ReadFrame(link, wire.MaxAuthToken); err != nil || frame[0] != wire.Authentication {
				t.Errorf("the server says %q, %v", frame, err)
			}
		})
	}
}

// TestProbe: a host that gives no answer does not keep it from being seen that another one does.
func TestProbe(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{TLS: true})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, port, _ := net.SplitHostPort(silent.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	u := testUpstream(t, fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%s,%d sslmode=require connect_timeout=3600", port, c.Port))
	if err := u.Probe(ctx); err != nil {
		t.Error(err)
	}
	nobody := testUpstream(t, fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%[1]d sslmode=disable", unusedPort(t)))
	if err := nobody.Probe(ctx); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("where nobody listens: error %v", err)
	}
}

// TestListenWhereTheUpstreamIs: a proxy does not start in front of itself.
func TestListenWhereTheUpstreamIs(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ listen, upstream string }{
		{"127.0.0.1:%d", "host=127.0.0.1 port=%d"},
		{"127.0.0.1:%d", "host=db.invalid,localhost port=%d"},
		{":%d", "host=127.0.0.1 port=%d"},
		{dir + "/.s.PGSQL.%d", "host=" + dir + " port=%d"},
	} {
		port := freePort(t)
		s, err := New(Options{
			Listen: []string{fmt.Sprintf(c.listen, port)}, Upstream: testUpstream(t, fmt.Sprintf(c.upstream, port)),
			Settings: Settings{Policy: policy.Default()},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), "the proxy itself listens") {
			t.Errorf("%s in front of %s: %v", c.listen, c.upstream, err)
		}
	}
}

// freePort returns a port of 127.0.0.1 to listen on.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

// unusedPort returns a port of 127.0.0.1 that nobody listens on, nor will: a socket has it for the time of the test.
func unusedPort(t *testing.T) uint16 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at, ok := bound.(*unix.SockaddrInet4)
	if !ok {
		t.Fatalf("it is at %v", bound)
	}
	return uint16(at.Port)
}

// hearsHello reads a ClientHello: to close a connection with unread bytes in it would reset it.
func hearsHello(c net.Conn) (net.Conn, error) {
	var header [5]byte // of a TLS record
	if _, err := io.ReadFull(c, header[:]); err != nil {
		return c, err
	}
	_, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(header[3:])))
	return c, err
}

// TestDialHostile connects to servers that misbehave before the startup packet.
func TestDialHostile(t *testing.T) {
	cert, err := testCertificate()
	if err != nil {
		t.Fatal(err)
	}
	request := string(wire.AppendRequest(nil, wire.SSLRequestCode))
	serves := func(alpn ...string) step {
		return func(c net.Conn) (net.Conn, error) {
			s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: alpn})
			err := s.Handshake()
			return s, err
		}
	}
	for _, test := range []struct {
		name, params string
		steps        []step
		err          string
	}{
		{"closes", "sslmode=require", []step{hears(request)}, "no answer to SSLRequest"},
		{"an error message", "sslmode=require", []step{hears(request), says([]byte("Etoo many connections\x00"))}, `received invalid response to SSL negotiation: 'E'`},
		{"an answer that it cannot give", "sslmode=prefer", []step{hears(request), says([]byte("G"))}, `received invalid response to SSL negotiation: 'G'`},
		{"data in clear behind S", "sslmode=require", []step{hears(request), says(append([]byte("S"), authFrame(wire.AuthOk, "")...)), swallows}, "first record does not look like a TLS handshake"},
		{"closes in the handshake", "sslmode=require", []step{hears(request), says([]byte("S")), hearsHello}, "EOF"},
		{"not a server of TLS", "sslnegotiation=direct sslmode=require", []step{says([]byte("NNNNNNNN")), swallows}, "first record does not look like a TLS handshake"},
		{"direct TLS without ALPN", "sslnegotiation=direct sslmode=require", []step{serves(), swallows}, "without ALPN protocol negotiation extension"},
		{"direct TLS", "sslnegotiation=direct sslmode=require", []step{serves("postgresql"), swallows}, "-"},
		{"TLS", "sslmode=require", []step{hears(request), says([]byte("S")), serves(), swallows}, "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := testUpstream(t, listenerDSN(playServer(t, test.steps...), test.params))
			link, err := u.dialAny(context.Background(), 0, 1)
			if link != nil {
				link.Close()
			}
			switch {
			case test.err == "-" && err != nil, test.err != "-" && err == nil:
				t.Errorf("error %v", err)
			case err != nil && !strings.Contains(err.Error(), test.err):
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestDialEndsWithContext(t *testing.T) {
	asked := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, 8)); err == nil {
			close(asked)
			_, _ = swallows(c) // and answers nothing
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-asked
		cancel()
	}()
	u := testUpstream(t, listenerDSN(l, "sslmode=require"))
	if _, err := u.dial(ctx); err == nil {
		t.Error("connected")
	}
}

// TestLoginNextHost logs in past a host that does not take connections now.
func TestLoginNextHost(t *testing.T) {
	starting := scriptServer(t, says(wire.AppendError(nil, wire.Fields{
		Severity: wire.SeverityFatal, Code: "57P03", Message: "the database system is starting up",
	})))
	server := pgtest.Shared(t)
	u := testUpstream(t, server.DSN("sslmode=disable"))
	both := u.through(append(starting.entries[:1:1], u.entries...))
	p := startLoginProxy(t, both, TLSOff, loginNames{candidates: []scope.Cluster{"postgres"}})
	c, err := connect(t, p.dsn("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, "SHOW port"); got != fmt.Sprint(server.Port) {
		t.Errorf("port %s", got)
	}

	// Where all of them do so, the client is told what the last of them said.
	p = startLoginProxy(t, starting, TLSOff, loginNames{candidates: []scope.Cluster{"postgres"}})
	said, err := play(p.dial(t), says(startupPacket(t, wire.Version30, "user", "postgres")))
	if err != nil || !bytes.Contains(said, []byte("C57P03\x00")) {
		t.Errorf("%q, %v", said, err)
	}
}
