package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// patience is a deadline that no passing test comes near to.
const patience = time.Minute

// testCertificate is a self-signed certificate for localhost.
var testCertificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

func testAdmitOptions(t *testing.T, mode TLSMode) admitOptions {
	t.Helper()
	cert, err := testCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return newAdmitOptions(mode, &tls.Config{Certificates: []tls.Certificate{cert}}, patience)
}

// connPair returns the two ends of a connection: "tcp" or "unix".
func connPair(t *testing.T, network string) (client, server net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = t.TempDir() + "/s"
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	for _, c := range []net.Conn{client, server} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return client, server
}

// startupPacket makes a startup packet of names and values.
func startupPacket(t *testing.T, v wire.Version, params ...string) []byte {
	t.Helper()
	s := wire.Startup{Version: v}
	for i := 0; i < len(params); i += 2 {
		s.Parameters = append(s.Parameters, wire.Parameter{Name: params[i], Value: params[i+1]})
	}
	b, err := wire.AppendStartup(nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rawPacket makes a startup packet with a true length word and any body.
func rawPacket(code uint32, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	return append(binary.BigEndian.AppendUint32(b, code), body...)
}

// tlsHandshake makes the connection of a TLS client.
func tlsHandshake(c net.Conn, alpn ...string) (net.Conn, error) {
	t := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: alpn})
	err := t.Handshake()
	return t, err
}

// step is what a client does in a test: it returns the connection to go on with.
type step func(net.Conn) (net.Conn, error)

func says(b []byte) step {
	return func(c net.Conn) (net.Conn, error) {
		_, err := c.Write(b)
		return c, err
	}
}

func hears(want string) step {
	return func(c net.Conn) (net.Conn, error) {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil {
			return c, err
		}
		if string(got) != want {
			return c, errors.New("heard " + string(got))
		}
		return c, nil
	}
}

func shakes(alpn ...string) step {
	return func(c net.Conn) (net.Conn, error) { return tlsHandshake(c, alpn...) }
}

func hangsUp(c net.Conn) (net.Conn, error) { return c, c.Close() }

// play takes the steps, then reads what is said until the end.
func play(c net.Conn, steps ...step) (rest []byte, err error) {
	for _, s := range steps {
		if c, err = s(c); err != nil {
			return nil, err
		}
	}
	if rest, err = io.ReadAll(c); errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return rest, err
}

func TestAdmit(t *testing.T) {
	var (
		ssl     = wire.AppendRequest(nil, wire.SSLRequestCode)
		gss     = wire.AppendRequest(nil, wire.GSSENCRequestCode)
		startup = startupPacket(t, wire.Version30, "user", "app")
		cancel  = wire.AppendCancel(nil, wire.CancelRequest{ProcessID: 7, Secret: []byte("secret key of any length")})
	)
	for _, test := range []struct {
		name    string
		mode    TLSMode
		network string
		steps   []step
		user    string // admitted, with or
		tls     bool
		cancel  bool   // admitted as a CancelRequest
		told    string // SQLSTATE and what the message has; empty: nothing is told
		cause   string
	}{
		{name: "plain", mode: TLSOff, steps: []step{says(startup)}, user: "app"},
		{name: "plain though TLS is offered", mode: TLSAllow, steps: []step{says(startup)}, user: "app"},
		{name: "TLS", mode: TLSAllow, steps: []step{says(ssl), hears("S"), shakes(), says(startup)}, user: "app", tls: true},
		{name: "TLS with ALPN", mode: TLSRequire, steps: []step{says(ssl), hears("S"), shakes("postgresql"), says(startup)}, user: "app", tls: true},
		{name: "TLS with another ALPN", mode: TLSAllow, steps: []step{
			says(ssl), hears("S"), func(c net.Conn) (net.Conn, error) {
				if _, err := tlsHandshake(c, "http/1.1"); err == nil {
					return c, errors.New("a handshake for another protocol succeeds")
				}
				return c, c.Close()
			},
		}, cause: "could not accept SSL connection"},
		{name: "direct TLS", mode: TLSRequire, steps: []step{shakes("postgresql"), says(startup)}, user: "app", tls: true},
		{name: "direct TLS without ALPN", mode: TLSAllow, steps: []step{shakes(), says(startup)}, cause: "without ALPN"},
		{name: "direct TLS, none offered", mode: TLSOff, steps: []step{says([]byte{0x16, 3, 1, 0, 5})}, cause: "direct SSL connection rejected"},
		{name: "TLS refused, then plain", mode: TLSOff, steps: []step{says(ssl), hears("N"), says(startup)}, user: "app"},
		{name: "GSS, then plain", mode: TLSAllow, steps: []step{says(gss), hears("N"), says(startup)}, user: "app"},
		{name: "GSS, then TLS", mode: TLSAllow, steps: []step{says(gss), hears("N"), says(ssl), hears("S"), shakes(), says(startup)}, user: "app", tls: true},
		{name: "TLS refused, then GSS", mode: TLSOff, steps: []step{says(ssl), hears("N"), says(gss), hears("N"), says(startup)}, user: "app"},
		{name: "Unix socket", mode: TLSRequire, network: "unix", steps: []step{says(ssl), hears("N"), says(startup)}, user: "app"},
		{name: "SSLRequest twice", mode: TLSOff, steps: []step{says(ssl), hears("N"), says(ssl)}, told: "0A000 unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2"},
		{name: "GSSENCRequest twice", mode: TLSOff, steps: []step{says(gss), hears("N"), says(gss)}, told: "0A000 unsupported frontend protocol 1234.5680"},
		{name: "SSLRequest in TLS", mode: TLSAllow, steps: []step{says(ssl), hears("S"), shakes(), says(ssl)}, told: "0A000 unsupported frontend protocol 1234.5679"},
		{name: "GSSENCRequest in TLS", mode: TLSAllow, steps: []step{says(ssl), hears("S"), shakes(), says(gss)}, told: "0A000 unsupported frontend protocol 1234.5680"},
		{name: "SSLRequest in direct TLS", mode: TLSAllow, steps: []step{shakes("postgresql"), says(ssl)}, told: "0A000 unsupported frontend protocol"},
		{name: "startup packet in clear behind SSLRequest", mode: TLSAllow, steps: []step{says(append(ssl[:8:8], startup...)), hears("S")}, cause: "could not accept SSL connection"},
		{name: "hangs up instead of a handshake", mode: TLSAllow, steps: []step{says(ssl), hears("S"), hangsUp}, cause: "could not accept SSL connection"},
		{name: "no TLS where it is required", mode: TLSRequire, steps: []step{says(startup)}, told: "28000 this server accepts only connections with SSL encryption"},
		{name: "cancel", mode: TLSRequire, steps: []step{says(cancel)}, cancel: true},
		{name: "cancel in TLS", mode: TLSAllow, steps: []step{says(ssl), hears("S"), shakes(), says(cancel)}, cancel: true, tls: true},
		{name: "cancel without a key", mode: TLSOff, steps: []step{says(rawPacket(wire.CancelRequestCode, "pid."))}, cause: "invalid length"},
		{name: "protocol 2", mode: TLSOff, steps: []step{says(rawPacket(2<<16, strings.Repeat("x", 288)))}, told: "0A000 unsupported frontend protocol 2.0: server supports 3.0 to 3.2"},
		{name: "protocol 3.9999", mode: TLSOff, steps: []step{says(startupPacket(t, 3<<16|9999, "user", "app"))}, user: "app"},
		{name: "protocol 4", mode: TLSOff, steps: []step{says(startupPacket(t, 4<<16, "user", "app"))}, told: "0A000 unsupported frontend protocol 4.0"},
		{name: "no user", mode: TLSOff, steps: []step{says(startupPacket(t, wire.Version30, "database", "d"))}, told: "28000 no PostgreSQL user name specified in startup packet"},
		{name: "empty user", mode: TLSOff, steps: []step{says(startupPacket(t, wire.Version30, "user", ""))}, told: "28000 no PostgreSQL user name specified in startup packet"},
		{name: "no terminator", mode: TLSOff, steps: []step{says(rawPacket(3<<16, "user\x00app\x00"))}, told: "08P01 expected terminator as last byte"},
		{name: "user twice", mode: TLSOff, steps: []step{says(startupPacket(t, wire.Version30, "user", "a", "user", "b"))}, told: `08P01 parameter "user" is given twice`},
		{name: "no terminator in TLS", mode: TLSAllow, steps: []step{says(ssl), hears("S"), shakes(), says(rawPacket(3<<16, "user"))}, told: "08P01 expected terminator as last byte"},
		{name: "HTTP", mode: TLSAllow, steps: []step{says([]byte("GET / HTTP/1.0\r\n\r\n"))}, cause: "invalid length"},
		{name: "4 GiB", mode: TLSAllow, steps: []step{says([]byte{0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0})}, cause: "invalid length"},
		{name: "port scan", mode: TLSAllow, steps: []step{hangsUp}, cause: "EOF"},
		{name: "half a length", mode: TLSAllow, steps: []step{says([]byte{0, 0}), hangsUp}, cause: "unexpected EOF"},
		{name: "half a packet", mode: TLSAllow, steps: []step{says(startup[:10]), hangsUp}, cause: "unexpected EOF"},
		{name: "hangs up after N", mode: TLSOff, steps: []step{says(ssl), hears("N"), hangsUp}, cause: "EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			network := test.network
			if network == "" {
				network = "tcp"
			}
			client, server := connPair(t, network)
			var (
				v    *visitor
				err  error
				done = make(chan struct{})
			)
			go func() {
				defer close(done)
				o := testAdmitOptions(t, test.mode)
				if v, err = admit(context.Background(), server, o); err == nil && v.cancel == nil {
					err = v.secure(o)
				}
				if err == nil {
					v.conn.Close()
					return
				}
				// Not Close, which resets a connection with unread bytes: the test wants to see what was told.
				if c, ok := server.(*net.TCPConn); ok {
					_ = c.CloseWrite() // the client may be gone
				}
			}()
			rest, failed := play(client, test.steps...)
			<-done
			if err != nil {
				checkFailure(t, err, byClient, test.told, test.cause)
				checkTold(t, rest, test.told)
				return
			}
			if failed != nil {
				t.Fatalf("the script failed: %v", failed)
			}
			if test.told != "" || test.cause != "" {
				t.Fatalf("admitted %+v", v)
			}
			if (v.tls != nil) != test.tls || v.startup.User() != test.user || (v.cancel != nil) != test.cancel {
				t.Errorf("got %+v", v)
			}
			if test.cancel && string(v.cancel.Secret) != "secret key of any length" {
				t.Errorf("cancel %+v", v.cancel)
			}
		})
	}
}

// checkFailure checks an error of admit or login: told is "SQLSTATE part of the message".
func checkFailure(t *testing.T, err error, from side, told, cause string) {
	t.Helper()
	var failed *loginError
	if !errors.As(err, &failed) {
		t.Fatalf("%T %v", err, err)
	}
	code, _, _ := strings.Cut(told, " ")
	if failed.side != from || failed.sqlstate != code || !strings.Contains(failed.Error(), cause) {
		t.Errorf("failed with %q from the %s: %v", failed.sqlstate, failed.side, failed)
	}
	if told == "" && cause == "" {
		t.Errorf("failed: %v", err)
	}
}

// checkTold checks that said ends with a fatal error, or is empty.
func checkTold(t *testing.T, said []byte, told string) {
	t.Helper()
	code, message, _ := strings.Cut(told, " ")
	if told == "" {
		if len(said) > 0 && said[0] == wire.ErrorResponse {
			t.Errorf("the client was told %q", said)
		}
		return
	}
	frame, err := wire.ReadFrame(strings.NewReader(string(said)), wire.MaxAuthToken)
	if err != nil || len(frame) != len(said) {
		t.Fatalf("the client heard %q: %v", said, err)
	}
	if frame[0] != wire.ErrorResponse || string(wire.Field(frame, 'S')) != wire.SeverityFatal ||
		string(wire.Field(frame, 'C')) != code || !strings.Contains(string(wire.Field(frame, 'M')), message) {
		t.Errorf("the client was told %q, want %q", frame, told)
	}
}

func TestAdmitDeadline(t *testing.T) {
	_, server := connPair(t, "tcp")
	o := testAdmitOptions(t, TLSAllow)
	o.timeout = time.Nanosecond
	if _, err := admit(context.Background(), server, o); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

func TestAdmitEndsWithContext(t *testing.T) {
	_, server := connPair(t, "tcp")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := admit(ctx, server, testAdmitOptions(t, TLSAllow)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

func TestAdmitReadsNoMore(t *testing.T) {
	client, server := connPair(t, "tcp")
	const next = "what the session is to read"
	if _, err := client.Write(append(startupPacket(t, wire.Version30, "user", "app"), next...)); err != nil {
		t.Fatal(err)
	}
	v, err := admit(context.Background(), server, testAdmitOptions(t, TLSAllow))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hears(next)(v.conn); err != nil {
		t.Error(err)
	}
}
