package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Everything between accept and a session: encryption requests, the TLS handshake, and the packet that says what the
// client wants. It follows ProcessStartupPacket of src/backend/tcop/backend_startup.c, in order and in words.
//
//	0x16 ──────────────▶ TLS handshake, ALPN "postgresql" ─┐
//	SSLRequest ──▶ S ──▶ TLS handshake ────────────────────┼─▶ StartupMessage ──▶ visitor
//	           └─▶ N ──────────────────────────────────────┤
//	GSSENCRequest ──▶ N ───────────────────────────────────┴─▶ CancelRequest ───▶ visitor with cancel
//
// Nothing is buffered: each step reads exactly its own bytes. What somebody in the middle put behind an SSLRequest is
// read by the handshake, and fails it.

// visitor is a client that has said what it wants, and has not been let in yet.
type visitor struct {
	conn        net.Conn             // the client's connection; *tls.Conn where it uses TLS
	tls         *tls.ConnectionState // nil without TLS
	deadline    time.Time            // set on conn: the login must be done by then. blocking.start clears it
	startup     wire.Startup
	replication replication         // that startup asks for
	cancel      *wire.CancelRequest // instead of startup

	client      netip.AddrPort        // where the client is; not valid on a Unix socket
	certificate *tls.Certificate      // that the client was shown; nil without TLS
	greeted     bool                  // greet was called: NegotiateProtocolVersion is sent once, if at all
	asked       bool                  // it was asked to authenticate itself
	start       engine.StartRole      // the roles that the startup packet sets beside the user; the server does not get them
	onFailure   func(sqlstate string) // counts a failed login, before the client is told; nil until the session knows the visitor
	penalty     func()                // delays a client that has given a wrong password, before it is told; nil before the login

	handshakeBegan, handshakeEnded time.Time // zero without TLS
}

// admitOptions is what admit needs to know of the configuration. It is made once, by newAdmitOptions, and shared.
type admitOptions struct {
	mode    TLSMode
	tls     *tls.Config
	timeout time.Duration // from accept to the end of the login
	// proxies are those whose connections begin with a header of the PROXY protocol; nil for none.
	proxies *Proxies
}

// newAdmitOptions returns options for clients. The configuration names the certificate, and the authorities of clients'
// certificates if they are wanted; it is copied. It may be nil with TLSOff. As on the server (be_tls_init,
// src/backend/libpq/be-secure-openssl.c), a TLS session is not resumed: a client shows its certificate each time.
func newAdmitOptions(mode TLSMode, config *tls.Config, timeout time.Duration) admitOptions {
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{alpnPostgres}
		config.SessionTicketsDisabled = true
		choose := config.GetCertificate
		if choose == nil && len(config.Certificates) > 0 {
			only := &config.Certificates[0]
			choose = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return only, nil }
		}
		config.Certificates = nil
		config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			shown, err := choose(hello)
			if t, ok := hello.Conn.(*transport); ok {
				t.certificate = shown
			}
			return shown, err
		}
	}
	return admitOptions{mode: mode, tls: config, timeout: timeout}
}

// admit finds out what a client wants. It gives the connection a deadline, and answers what is to be answered, also
// where it fails; in that case the connection has still to be closed, as it has at the end of ctx.
func admit(ctx context.Context, conn net.Conn, o admitOptions) (*visitor, error) {
	v := &visitor{conn: conn, deadline: time.Now().Add(o.timeout)}
	if err := conn.SetDeadline(v.deadline); err != nil {
		return nil, clientGone(err)
	}
	defer interruptWith(ctx, conn)()
	var err error
	if v.client, err = o.proxies.client(conn); err != nil {
		return nil, unanswered(err)
	}

	code, body, failure := v.firstPacket(ctx, o)
	for requests := map[uint32]bool{}; failure == nil && v.mayRequest(code, requests); {
		requests[code] = true
		if failure = v.encrypt(ctx, code, o); failure == nil {
			code, body, failure = v.nextPacket(v.conn)
		}
	}
	if failure == nil {
		failure = v.understand(code, body, o)
	}
	if failure != nil {
		return nil, failure
	}
	return v, nil
}

// firstPacket reads the first packet, after the handshake if the connection begins with one.
func (v *visitor) firstPacket(ctx context.Context, o admitOptions) (uint32, []byte, error) {
	var head [wire.MinStartup]byte // a handshake begins with more
	n, err := io.ReadAtLeast(v.conn, head[:], 1)
	if err != nil {
		return 0, nil, clientGone(err)
	}
	first := head[:n]
	if first[0] != firstTLSByte {
		return v.nextPacket(&transport{Conn: v.conn, head: first})
	}
	if !v.offersTLS(o) {
		return 0, nil, unanswered(errors.New("direct SSL connection rejected"))
	}
	if failure := v.handshake(ctx, o, first); failure != nil {
		return 0, nil, failure
	}
	if v.tls.NegotiatedProtocol != alpnPostgres {
		return 0, nil, unanswered(errors.New("received direct SSL connection request without ALPN protocol negotiation extension"))
	}
	return v.nextPacket(v.conn)
}

func (v *visitor) nextPacket(r io.Reader) (uint32, []byte, error) {
	code, body, err := wire.ReadStartup(r)
	if err != nil {
		return 0, nil, unanswered(err)
	}
	return code, body, nil
}

// mayRequest reports whether the code is a request for encryption that has a place here: each once, and none inside of
// TLS. Elsewhere it is taken for a protocol version, and refused as such.
func (v *visitor) mayRequest(code uint32, before map[uint32]bool) bool {
	return (code == wire.SSLRequestCode || code == wire.GSSENCRequestCode) && !before[code] && v.tls == nil
}

func (v *visitor) offersTLS(o admitOptions) bool {
	return o.mode != TLSOff && o.tls != nil && !onUnixSocket(v.conn)
}

// encrypt answers a request for encryption.
func (v *visitor) encrypt(ctx context.Context, code uint32, o admitOptions) error {
	accept := code == wire.SSLRequestCode && v.offersTLS(o)
	answer := []byte{'N'}
	if accept {
		answer = []byte{'S'}
	}
	if _, err := v.conn.Write(answer); err != nil {
		return clientGone(err)
	}
	if accept {
		return v.handshake(ctx, o, nil)
	}
	return nil
}

// handshake makes the connection one of TLS. head is what was read of it already.
func (v *visitor) handshake(ctx context.Context, o admitOptions, head []byte) error {
	turn := &inTurn{Conn: v.conn}
	defer turn.end()
	t := &transport{Conn: turn, head: head}
	c := tls.Server(t, o.tls)
	v.handshakeBegan = time.Now()
	if err := handshake(ctx, c); err != nil {
		return unanswered(fmt.Errorf("could not accept SSL connection: %w", err))
	}
	t.Conn = v.conn // from here on it may be read and written at the same time
	v.handshakeEnded = time.Now()
	v.conn, v.tls, v.certificate = c, tlsState(c), t.certificate
	return nil
}

// understand reads the packet that is not about encryption.
func (v *visitor) understand(code uint32, body []byte, o admitOptions) error {
	if code == wire.CancelRequestCode {
		c, err := wire.DecodeCancel(body)
		if err != nil {
			return unanswered(err)
		}
		v.cancel = &c
		return nil
	}
	if version := wire.Version(code); version.Major() != wire.Version30.Major() {
		return v.refuse(&scope.Error{
			Code: scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf("unsupported frontend protocol %v: server supports %v to %v",
				version, wire.Version30, wire.Version32),
		})
	}
	var err error
	if v.startup, err = wire.DecodeStartup(code, body); err != nil {
		return v.refuse(&scope.Error{Code: scope.CodeProtocolViolation, Message: err.Error()})
	}
	if e := v.readReplication(); e != nil {
		return v.refuse(e)
	}
	if v.startup.User() == "" {
		return v.refuse(&scope.Error{
			Code: scope.CodeInvalidAuthorization, Message: "no PostgreSQL user name specified in startup packet",
		})
	}
	return nil
}

// secure refuses a client without TLS where it is required. It is not part of admit, so that the record can name the user.
func (v *visitor) secure(o admitOptions) error {
	if o.mode == TLSRequire && v.tls == nil && !onUnixSocket(v.conn) {
		return v.refuse(&scope.Error{
			Code: scope.CodeInvalidAuthorization, Message: "this server accepts only connections with SSL encryption",
			Hint: "Connect with sslmode=require, or a stricter mode.",
		})
	}
	return nil
}

// named refuses names that are longer than those of roles and databases. The server would cut them (ProcessStartupPacket;
// 17.0 to 17.2 do not), and mean another role or database than all that goes by names here.
func (v *visitor) named() error {
	tooLong := func(code, message, name string) error {
		return v.refuse(&scope.Error{Code: code, Message: fmt.Sprintf(message, name), Hint: fmt.Sprintf("Names have at most %d bytes.", scope.MaxName)})
	}
	switch user, database := v.startup.User(), v.database(); {
	case len(user) > scope.MaxName:
		return tooLong(scope.CodeInvalidAuthorization, `role "%s" does not exist`, user)
	case len(database) > scope.MaxName:
		return tooLong(scope.CodeUndefinedDatabase, `database "%s" does not exist`, database)
	default:
		return nil
	}
}

// greet returns what comes before the first message of an authentication, once: NegotiateProtocolVersion, if the client
// asked for what it does not get. version is what it gets.
func (v *visitor) greet(version wire.Version) []byte {
	if v.greeted {
		return nil
	}
	v.greeted = true
	unknown := v.startup.ProtocolOptions()
	if version == v.startup.Version && len(unknown) == 0 {
		return nil
	}
	return wire.AppendNegotiate(nil, version, unknown)
}

// refuse tells the client why it is not let in.
func (v *visitor) refuse(e *scope.Error) error { return v.turnAway(nil, e) }
