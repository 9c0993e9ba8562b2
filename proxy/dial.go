package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/trace"
)

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

func (e *dialError) Error() string { return errors.Join(e.causes...).Error() }

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
