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
	"github.com/pgscope/pgscope-proxy/proxy/scram"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/trace"
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
	var fault error
	func() {
		defer recovered(&fault)
		handed = s.begin(ctx)
	}()
	if fault != nil {
		s.log().Error("the proxy failed", zap.Error(fault))
	}
	if !handed {
		s.release()
	}
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
		s.forwardCancel(ctx, *v.cancel)
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

// letIn logs the client in, if TLS, names, limits and policy permit. It returns the policy's decision too.
func (s *session) letIn(ctx context.Context, v *visitor) (*loggedIn, policy.Decision, error) {
	if err := v.secure(s.settings.admission); err != nil {
		return nil, policy.Decision{}, err
	}
	if err := v.named(); err != nil {
		return nil, policy.Decision{}, err
	}
	tally := s.server.tally
	if c := tally.enter(&s.place, s.client.Addr(), s.limits()); c != nil {
		return nil, policy.Decision{}, s.crowded(v, c)
	}
	d := s.mayConnect()
	s.warn(connecting, d)
	if d.Err != nil {
		return nil, d, v.refuse(d.Err)
	}
	in, err := s.login(ctx, v)
	if err != nil {
		return nil, d, err
	}
	if c := tally.settle(&s.place, in.user, scope.Short(v.startup.User()), v.database(), s.limits()); c != nil {
		in.leave()
		return nil, d, s.crowded(v, c)
	}
	return in, d, nil
}

// login finds the role that the client's user means, checks the client if that is the proxy's to do, and logs in to the
// server.
func (s *session) login(ctx context.Context, v *visitor) (*loggedIn, error) {
	srv := s.server
	database, user := v.database(), scope.Short(v.startup.User())
	if wait := srv.failures.wait(s.client.Addr(), time.Now()); wait > 0 {
		srv.metrics.rejections.WithLabelValues(byFailures).Inc()
		return nil, v.refuse(tooManyFailures(wait))
	}
	resolving, span := trace.Child(ctx, "resolve user")
	names, err := s.loginNames(resolving, v, user)
	if span.End(err); err != nil {
		return nil, err
	}
	v.penalty = func() { pause(ctx, s.settings.LoginFailureDelay) }
	o := loginOptions{localize: func(c scope.Cluster, frame []byte) []byte { return localizeLogin(c, user, frame) }}
	checking, span := trace.Child(ctx, "authenticate client")
	o.proof, err = s.authenticate(checking, v, names)
	if span.End(err); err != nil {
		return nil, err
	}
	if v.replication != physical {
		if s.settings.mode(database) != scope.Off {
			v.startup, v.start = withoutRoles(v.startup)
		}
		v.start.Mode = settingOf(v.startup, scope.ModeSetting)
	}
	if s.settings.AddHost {
		shown := withHost(v)
		v.startup, _ = withoutSetting(v.startup, applicationName)
		o.params = append(o.params, shown)
	}
	if v.replication == "" {
		o.pool = srv.pool
	}
	g := guess{database, user} // the next login tries the name that was let in, or after a failure the other one
	if len(names.candidates) > 1 {
		o.onRefused = func(candidate int) { srv.guesses.Add(g, (candidate+1)%len(names.candidates)) }
	}
	entering, span := trace.Child(ctx, "log in to server")
	in, err := login(entering, v, srv.o.Upstream.route(ctx, srv.o.Admin), names, o)
	span.End(err)
	if err == nil && len(names.candidates) > 1 {
		srv.guesses.Add(g, in.candidate)
	}
	return in, err
}

// authenticate checks the client by the method that its rule says, and returns what the proxy has to show to the
// server; nil where the server is to check it.
func (s *session) authenticate(ctx context.Context, v *visitor, names loginNames) (*proof, error) {
	rule := s.settings.auth.of(v)
	s.method = rule.Method
	switch {
	case rule.Method == AuthVerify:
		keys, err := s.verify(ctx, v, names)
		return &proof{rule.Method, keys}, err
	case names.refused != nil:
		return nil, v.refuse(names.refused)
	case rule.Method == AuthPassthrough:
		return nil, nil
	}
	if err := rule.identify(ctx, v); err != nil {
		told := v.turnAway(nil, rule.notIdentified(v))
		told.cause = errors.Join(err, told.cause)
		return nil, told
	}
	return &proof{method: rule.Method}, nil
}

// verify checks that the client knows the password of the role that it means.
func (s *session) verify(ctx context.Context, v *visitor, names loginNames) (*scram.Keys, error) {
	defer interruptWith(ctx, v.conn)()
	switch len(names.candidates) {
	case 0:
		return v.verify(ctx, s.server.admin, scope.Cluster(v.startup.User()), false)
	case 1:
		return v.verify(ctx, s.server.admin, names.candidates[0], true)
	default: // which of them exists, the admin connection could not tell
		return nil, v.refuse(cannotVerify())
	}
}

// loginFailed counts, logs and records that a login has failed, and what the policy said of it.
// The client was told already.
func (s *session) loginFailed(err error, d policy.Decision) {
	var failed *loginError
	errors.As(err, &failed)
	if failed != nil && failed.left && !s.refused {
		s.server.metrics.logins.WithLabelValues(loginAbandoned).Inc()
		s.log().Debug("client left before the login", zap.Error(failed.cause))
		return
	}
	if failed == nil {
		failed = &loginError{}
	}
	s.countFailure(failed.sqlstate)
	s.log().Warn("login failed", zap.Error(err))
	s.recordLogin(err, d)
}

// countFailure counts the login as failed, once. It is called before the client is told where that is possible: the
// client may try again at once, and has to find its failure counted.
func (s *session) countFailure(sqlstate string) {
	if s.refused {
		return
	}
	s.refused = true
	s.server.metrics.logins.WithLabelValues(loginRefused).Inc()
	if unauthorized(sqlstate) && s.user != "" {
		s.server.failures.note(s.client.Addr(), time.Now())
	}
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
	s.ended(ctx)
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
