package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
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
	for _, m := range misspelt {
		if strings.Contains(text, m.wrong) {
			text = m.told
		}
	}
	return &conninfoError{text, parse.Unwrap()}
}

// misspelt says what can be written where pgconn only says that something is wrong.
var misspelt = []struct{ wrong, told string }{
	{"sslmode is invalid", "sslmode is none of disable, allow, prefer, require, verify-ca, verify-full"},
	{"unknown target_session_attrs", "target_session_attrs is none of any, read-write, read-only, primary, standby, prefer-standby"},
	{"invalid port", "a port is no number from 1 to 65535; in a URI, the / and the : in a password are written %2F and %3A"},
}

// conninfoError says what is wrong with a connection string, and shows nothing of it.
type conninfoError struct {
	text  string
	cause error
}

func (e *conninfoError) Error() string { return e.text }
func (e *conninfoError) Unwrap() error { return e.cause }

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
