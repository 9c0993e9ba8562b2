package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// session is one client's connection from accept to close: admit → log in → relay → close. There are as many as clients,
// most of them at rest, so it keeps little.
type session struct {
	server   *Server
	settings *settings      // those in force when it began
	conn     net.Conn       // as accepted; nil when an event loop has the session
	client   netip.AddrPort // where the client is; not valid on a Unix socket
	accepted time.Time
	place    place       // what the tally has counted it as
	link     *serverLink // once the client is logged in
	lease    *lease      // what link can be kept for; nil where it is to be closed

	database, user, application string     // once its startup packet is read; guarded by mu for others
	parent                      string     // the traceparent that it shall be traced under; empty for none
	method                      AuthMethod // how the client was let in

	cancel context.CancelFunc // ends the login
	mu     sync.Mutex
	relay  *relay // once the client is logged in

	version wire.Version // of the protocol
	tls     uint16       // the version of TLS; 0 without
	leaving bool         // it is to end when no transaction is open
	counted bool         // what it has moved is in Server.moved; guarded as that is
	refused bool         // countFailure has counted it
}

// newSession returns a session, and the context of its login, which ends when that takes too long.
func newSession(ctx context.Context, s *Server, conn net.Conn) (*session, context.Context) {
	sess := &session{server: s, settings: s.settings.Load(), conn: conn, accepted: time.Now(), client: addressOf(conn)}
	ctx, sess.cancel = context.WithDeadline(ctx, sess.accepted.Add(sess.settings.admission.timeout))
	return sess, ctx
}

// serve runs the session, to its end or until its relay takes it over.
func (s *session) serve(ctx context.Context) {
	var handed bool
	s.guarded(func() { handed = s.begin(ctx) })
	if !handed {
		s.release()
	}
}

// guarded does something for the session, and logs a panic there, which is no other session's. It reports whether all went
// well.
func (s *session) guarded(do func()) bool {
	var fault error
	func() {
		defer recovered(&fault)
		do()
	}()
	if fault != nil {
		s.log().Error("the proxy failed", zap.Error(fault))
	}
	return fault == nil
}

// begin brings the client to the server, and relays. It reports whether the session was handed to a relay, which will call
// over.
func (s *session) begin(ctx context.Context) (handed bool) {
	srv := s.server
	s.conn = adopt(ctx, s.conn)
	v, err := admit(ctx, s.conn, s.settings.admission)
	if err != nil {
		s.loginFailed(err, policy.Decision{})
		return false
	}
	s.meet(v)
	v.onFailure = s.countFailure
	if v.cancel != nil {
		s.forwardCancel(context.WithoutCancel(ctx), *v.cancel) // also while the proxy stops: it may wait for that statement
		return false
	}
	if v.tls != nil {
		s.tls = v.tls.Version
	}
	login, span := s.traceLogin(ctx, v)
	in, d, err := s.letIn(login, v)
	s.loggedInAs(span, in, err)
	if err != nil {
		s.loginFailed(err, d)
		return false
	}
	srv.metrics.logins.WithLabelValues(loginAccepted).Inc()
	srv.metrics.loginSeconds.Observe(time.Since(s.accepted).Seconds())
	return s.run(ctx, v, in)
}

// run hands the session to an event loop, or else to goroutines, to relay it and to end it.
func (s *session) run(ctx context.Context, v *visitor, in *loggedIn) (handed bool) {
	s.link, s.lease, s.version = in.server, in.lease, in.version
	_ = v.conn.SetDeadline(v.deadline.Add(lastWords)) // to be told if the server takes all the time; fails where nothing can be told
	b := newBlocking(s, v.conn, in.server, engine.New(s.engineConfig(v, in), v.start))
	s.attach(b.relay)
	if s.server.settings.Load() != s.settings {
		s.recheck() // the policy is another by now
	}
	if !b.start(in.welcome, in.rest) {
		s.ended(ctx)
		return false
	}
	conn := s.conn
	s.conn = nil // lets go of its memory too
	if handOver(b.relay) {
		return true
	}
	s.conn = conn
	go func() { //nolint:gosec // ctx is the login's, which is over. A new goroutine, since a TLS handshake grows the stack of this one
		b.run()
		s.relayed(context.Background())
	}()
	return true
}

// attach makes the relay known to drain and kill: from here on it ends the session.
func (s *session) attach(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relay = r
	s.cancel()
	s.cancel = func() {} // not to keep the login's context in memory
	if s.leaving {
		r.drain()
	}
}

// relayed ends the session when its relay has.
func (s *session) relayed(ctx context.Context) {
	if !s.guarded(func() { s.ended(ctx) }) {
		for _, c := range []net.Conn{s.relay.client, s.relay.server} {
			_ = c.Close() // it may be closed by now
		}
	}
	s.release()
}

// release gives back what the session has of the server's. It is called once, at the end.
func (s *session) release() {
	s.cancel()
	if s.conn != nil {
		s.close(s.conn)
	}
	s.server.tally.leave(&s.place, s.client.Addr(), s.database)
	s.server.forget(s)
	s.server.running.Done()
}

// drain ends the session when no transaction is open; one that is not logged in yet, at once.
func (s *session) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	if s.relay != nil {
		s.relay.drain()
	} else {
		s.cancel()
	}
}

// kill ends the session now.
func (s *session) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relay != nil {
		s.relay.kill()
	}
}

// waited implements owner: it notes how long the client was held.
func (s *session) waited(d time.Duration) { s.server.metrics.inquirySeconds.Observe(d.Seconds()) }

// peer is the client's address for logs and audit records.
func (s *session) peer() string {
	if !s.client.IsValid() {
		return localClient
	}
	return s.client.String()
}

// encryption names the version of TLS; empty without.
func (s *session) encryption() string {
	if s.tls == 0 {
		return ""
	}
	return tls.VersionName(s.tls)
}

// log returns the log, with whose session it is. A session at rest keeps none.
func (s *session) log() *zap.Logger {
	log := s.server.o.Log.With(zap.String("client", s.peer()))
	if s.user == "" {
		return log
	}
	return log.With(zap.String("database", s.database), zap.String("user", s.user))
}

func (s *session) close(c net.Conn) {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log().Debug("connection did not close well", zap.Error(err))
	}
}
