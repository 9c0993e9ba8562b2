package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/trace"
)

// Upstream is where the server is, and how to get there: the hosts, ports and TLS settings of a libpq connection string.
// User, password, database and session settings in the string are not used: clients bring their own. It is safe for
// concurrent use.
type Upstream struct {
	entries    []upstreamEntry // in the order in which they are tried, those of one host together
	direct     bool            // sslnegotiation=direct: TLS from the first byte
	timeoutSet bool            // the connection string says connect_timeout
	timeout    time.Duration   // for one entry

	target    *target // target_session_attrs; nil for any
	kinds     *hostKinds
	balance   bool // load_balance_hosts=random
	keepAlive net.KeepAliveConfig
}

// upstreamEntry is one way to one host. sslmode=prefer makes two of a host, with TLS and without; allow the same two the
// other way round.
type upstreamEntry struct {
	host             string // as in the connection string
	port             uint16
	network, address string
	tls              *tls.Config // nil: without TLS
}

func (e upstreamEntry) String() string {
	if e.tls == nil {
		return e.address + " without TLS"
	}
	return e.address + " with TLS"
}

// defaultConnectTimeout is for connection strings without connect_timeout. libpq would wait as long as the kernel does,
// and the other hosts of the string with it.
const defaultConnectTimeout = 10 * time.Second

// NewUpstream reads a libpq URI or key/value string. As in libpq, what it does not say is taken from PG* environment
// variables. Errors do not show the string, which may hold a password.
func NewUpstream(dsn string) (*Upstream, error) {
	c, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", withoutDSN(err))
	}
	for _, refused := range []struct {
		set  bool
		name string
	}{ // what decides about a server only after a login cannot be decided here: the logins are the clients'
		{c.ChannelBinding == "require", "channel_binding=require"},
		{c.SSLCertMode == "require", "sslcertmode=require"},
		{c.RequireAuth != "", "require_auth"},
	} {
		if refused.set {
			return nil, fmt.Errorf("upstream: %s is not supported here", refused.name)
		}
	}
	u := &Upstream{
		direct: c.SSLNegotiation == "direct", timeoutSet: c.ConnectTimeout != 0, timeout: c.ConnectTimeout,
		target: targetOf(c), kinds: &hostKinds{known: make(map[string]hostKind)},
	}
	if err := errors.Join(u.connectionSettings(c.RuntimeParams), leaveOut(c.RuntimeParams)); err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	u.SetDefaultTimeout(defaultConnectTimeout)
	u.add(c.Host, c.Port, c.TLSConfig)
	for _, f := range c.Fallbacks {
		u.add(f.Host, f.Port, f.TLSConfig)
	}
	if strings.Contains(u.String(), "@") {
		return nil, errors.New("upstream: a host has an @ in it: in a URI, the one in a password is written %40")
	}
	return u, nil
}

// SetDefaultTimeout sets how long to wait for one host where the connection string does not say. It must not be called
// once the Upstream is in use.
func (u *Upstream) SetDefaultTimeout(d time.Duration) {
	if !u.timeoutSet {
		u.timeout = d
	}
}

func (u *Upstream) add(host string, port uint16, config *tls.Config) {
	network, address := pgconn.NetworkAddress(host, port)
	u.entries = append(u.entries, upstreamEntry{host, port, network, address, config})
}

// withoutDSN takes the connection string out of an error. Where the string could not be taken apart, no part of it is
// shown: what looks like a keyword may be the rest of a password.
func withoutDSN(err error) error {
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		return errors.New("the connection string cannot be used")
	}
	blank := *parse
	blank.ConnString = ""
	text := strings.TrimPrefix(blank.Error(), "cannot parse ``: ")
	if strings.HasPrefix(text, "failed to parse as ") {
		return errors.New("neither a PostgreSQL URI nor a list of keyword=value")
	}
	return errors.New(text)
}

// String returns the addresses, for logs.
func (u *Upstream) String() string {
	var list []string
	for i := 0; i < len(u.entries); i = u.hostEnd(i) {
		list = append(list, u.entries[i].address)
	}
	return strings.Join(list, ", ")
}

// hostEnd returns the index of the first entry after i that is of another host.
func (u *Upstream) hostEnd(i int) int {
	at := u.entries[i].address
	for i < len(u.entries) && u.entries[i].address == at {
		i++
	}
	return i
}

// serverLink is a connection to the server. dial returns one on which nothing but encryption was negotiated.
type serverLink struct {
	net.Conn                      // *tls.Conn where it uses TLS
	tls      *tls.ConnectionState // nil without TLS
	entry    int                  // of the Upstream
	address  string               // where it leads: Conn is gone while an event loop has the session
	upstream *Upstream
}

// dialError says that no server could be reached: each entry that was tried, and why it failed.
type dialError struct{ causes []error }

func (e *dialError) Error() string   { return errors.Join(e.causes...).Error() }
func (e *dialError) Unwrap() []error { return e.causes }

// forClient is what a client may know of it: no addresses.
func (e *dialError) forClient() *scope.Error {
	return &scope.Error{
		Code:    scope.CodeCannotConnect,
		Message: "could not connect to the server",
		Hint:    "The proxy cannot reach the PostgreSQL server. The proxy's log says why.",
	}
}

// dial connects to the first host that can be reached. The error is a *dialError.
func (u *Upstream) dial(ctx context.Context) (*serverLink, error) {
	return u.dialAny(ctx, 0, len(u.entries))
}

// dialAny is dial among the entries from ≤ i < to.
func (u *Upstream) dialAny(ctx context.Context, from, to int) (*serverLink, error) {
	var failed dialError
	for i := from; i < to; i++ {
		link, err := u.dialEntry(ctx, i)
		if err == nil {
			return link, nil
		}
		failed.causes = append(failed.causes, fmt.Errorf("%v: %w", u.entries[i], err))
		if ctx.Err() == nil { // else it is no fault of the host
			u.kinds.forget(u.entries[i].address)
		}
	}
	return nil, &failed
}

// cannotConnectNow is the SQLSTATE of a server that is starting or stopping.
const cannotConnectNow = "57P03"

// retry returns the entries that are worth a new attempt after the server on a link refused a startup packet at once: the
// other encryption on the same host where pg_hba.conf refused this one, as in libpq, and the other hosts where this one
// does not take connections now.
func (u *Upstream) retry(link *serverLink, sqlstate string) (from, to int, ok bool) {
	end := u.hostEnd(link.entry)
	switch sqlstate {
	case scope.CodeInvalidAuthorization:
		from, to = link.entry+1, end
	case cannotConnectNow:
		from, to = end, len(u.entries)
	}
	return from, to, from < to
}

// dialer is Go's way to a server.
func (u *Upstream) dialer(by time.Time) *net.Dialer {
	return &net.Dialer{Deadline: by, KeepAliveConfig: u.keepAlive} // TCP_NODELAY is its default
}

// dialEntry makes one connection, and its TLS handshake.
func (u *Upstream) dialEntry(ctx context.Context, i int) (link *serverLink, err error) {
	by := time.Now().Add(u.timeout)
	e := u.entries[i]
	ctx, span := trace.Child(ctx, "connect to server", trace.Text("server.address", e.address))
	defer func() { span.End(err) }()
	conn, err := u.connect(ctx, e, by)
	if err != nil {
		return nil, err
	}
	link = &serverLink{Conn: conn, entry: i, address: e.address, upstream: u}
	if at := conn.RemoteAddr().String(); at != e.address { // else it is the same for all
		link.address = at
	}
	if e.tls == nil {
		return link, nil
	}
	ctx, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	err = link.encrypt(ctx, e.tls)
	if errors.Is(err, errServerRefusesTLS) && i+1 < u.hostEnd(i) && u.entries[i+1].tls == nil {
		link.entry++ // sslmode=prefer: the next entry is this connection as it is
		err = nil
	}
	if err == nil {
		err = link.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close() // the first error says more
		return nil, err
	}
	return link, nil
}

var errServerRefusesTLS = errors.New("server does not support SSL, but SSL was required")

// encrypt makes the link a TLS connection. It sets a deadline and leaves it there.
func (l *serverLink) encrypt(ctx context.Context, config *tls.Config) error {
	deadline, _ := ctx.Deadline()
	if err := l.SetDeadline(deadline); err != nil {
		return err
	}
	if !l.upstream.direct {
		defer interruptWith(ctx, l.Conn)()
		if _, err := l.Write(wire.AppendRequest(nil, wire.SSLRequestCode)); err != nil {
			return err
		}
		// One byte exactly: what somebody in the middle put behind it is read by the handshake, and fails it.
		var answer [1]byte
		if _, err := io.ReadFull(l, answer[:]); err != nil {
			return fmt.Errorf("no answer to SSLRequest: %w", err)
		}
		switch answer[0] {
		case 'S':
		case 'N':
			return errServerRefusesTLS
		default:
			return fmt.Errorf("received invalid response to SSL negotiation: %q", answer[0])
		}
	}
	c := tls.Client(&transport{Conn: l.Conn}, config)
	if err := handshake(ctx, c); err != nil {
		return err
	}
	l.Conn, l.tls = c, tlsState(c)
	if l.upstream.direct && l.tls.NegotiatedProtocol != alpnPostgres {
		return errors.New("direct SSL connection was established without ALPN protocol negotiation extension")
	}
	return nil
}

// interruptWith ends all reading and writing on the connection when ctx ends. The returned function stops it.
func interruptWith(ctx context.Context, c net.Conn) (stop func() bool) {
	c = socket(c) // its TLS may be another goroutine's by then
	return context.AfterFunc(ctx, func() {
		_ = c.SetDeadline(time.Unix(1, 0)) // fails where the connection is closed, and needs no interruption
	})
}

// interruptReading is interruptWith for a connection whose peer shall still be told why.
func interruptReading(ctx context.Context, c net.Conn) (stop func() bool) {
	c = socket(c)
	return context.AfterFunc(ctx, func() {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // as above
	})
}

// refuseOwn fails where the upstream is one of the proxy's own listeners, as far as addresses tell: each login would lead
// to another login at the proxy itself.
func (u *Upstream) refuseOwn(listeners []net.Listener) error {
	for _, l := range listeners {
		for _, e := range u.entries {
			if e.address == l.Addr().String() || e.loops(l.Addr()) {
				return fmt.Errorf("upstream: at %s the proxy itself listens", e.address)
			}
		}
	}
	return nil
}

// loops reports whether the entry is this machine, and the listener takes all that comes to the port.
func (e upstreamEntry) loops(listener net.Addr) bool {
	at, ok := listener.(*net.TCPAddr)
	if !ok || at.Port != int(e.port) || e.network == "unix" {
		return false
	}
	local := e.host == "localhost" || net.ParseIP(e.host).IsLoopback()
	return local && (at.IP.IsUnspecified() || e.host == "localhost" && at.IP.IsLoopback())
}

// Probe reports whether a server can be reached now: nil when one can. All hosts are tried at once: whoever asks has not
// the time that a login has for a host that gives no answer.
func (u *Upstream) Probe(ctx context.Context) error {
	ctx, found := context.WithCancel(ctx)
	defer found()
	hosts := u.hosts()
	results := make(chan error, len(hosts))
	for _, host := range hosts {
		go func() {
			link, err := u.through(host).dial(ctx)
			if err == nil {
				err = link.Close()
			}
			results <- err
		}()
	}
	var failed dialError
	for range hosts {
		err := <-results
		if err == nil {
			return nil
		}
		failed.causes = append(failed.causes, err)
	}
	return &failed
}
