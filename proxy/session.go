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

// session is the story of one connection: admit → log in → relay → close. There are as many as there are clients, most of
// them at rest, so what it keeps is little.
type session struct {
	server   *Server
	settings *settings      // those in force when it began
	conn     net.Conn       // as accepted; nil when an event loop has the session
	client   netip.AddrPort // where the client is; not valid on a Unix socket
	came     time.Time
	place    place       // what it is counted as
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
	refused bool         // it is counted as a login that failed
}

// newSession returns a session, and the context of its login, which ends when that takes too long.
func newSession(ctx context.Context, s *Server, conn net.Conn) (*session, context.Context) {
	x := &session{server: s, settings: s.settings.Load(), conn: conn, came: time.Now(), client: addressOf(conn)}
	ctx, x.cancel = context.WithDeadline(ctx, x.came.Add(x.settings.admission.timeout))
	return x, ctx
}

// serve runs the session, to its end or until its relay takes it over.
func (x *session) serve(ctx context.Context) {
	var handed bool
	var fault error
	func() {
		defer recovered(&fault)
		handed = x.begin(ctx)
	}()
	if fault != nil {
		x.log().Error("the proxy failed", zap.Error(fault))
	}
	if !handed {
		x.over()
	}
}

// begin brings the client to the server, and relays. It reports whether the session was handed to a relay, which will call
// over.
func (x *session) begin(ctx context.Context) (handed bool) {
	s := x.server
	x.conn = adopt(ctx, x.conn)
	v, err := admit(ctx, x.conn, x.settings.admission)
	if err != nil {
		x.turnedAway(err, policy.Decision{})
		return false
	}
	x.meet(v)
	v.turned = x.turned
	if v.cancel != nil {
		x.forwardCancel(ctx, *v.cancel)
		return false
	}
	if v.tls != nil {
		x.tls = v.tls.Version
	}
	login, span := x.traceLogin(ctx, v)
	in, d, err := x.letIn(login, v)
	x.loggedInAs(span, in, err)
	if err != nil {
		x.turnedAway(err, d)
		return false
	}
	s.metrics.logins.WithLabelValues(loginAccepted).Inc()
	s.metrics.loginSeconds.Observe(time.Since(x.came).Seconds())
	return x.run(ctx, v, in)
}

// letIn logs the client in, if TLS, limits and policy have nothing against it; the decision is the policy's.
func (x *session) letIn(ctx context.Context, v *visitor) (*loggedIn, policy.Decision, error) {
	if err := v.secure(x.settings.admission); err != nil {
		return nil, policy.Decision{}, err
	}
	if err := v.named(); err != nil {
		return nil, policy.Decision{}, err
	}
	tally := x.server.tally
	if c := tally.enter(&x.place, x.client.Addr(), x.limits()); c != nil {
		return nil, policy.Decision{}, x.crowded(v, c)
	}
	d := x.mayConnect()
	x.warn(connecting, d)
	if d.Err != nil {
		return nil, d, v.refuse(d.Err)
	}
	in, err := x.login(ctx, v)
	if err != nil {
		return nil, d, err
	}
	if c := tally.settle(&x.place, in.user, scope.Short(v.startup.User()), v.database(), x.limits()); c != nil {
		in.leave()
		return nil, d, x.crowded(v, c)
	}
	return in, d, nil
}

// login finds the role that the client's user means, checks the client if that is the proxy's to do, and logs in to the
// server.
func (x *session) login(ctx context.Context, v *visitor) (*loggedIn, error) {
	s := x.server
	database, user := v.database(), scope.Short(v.startup.User())
	if wait := s.failures.wait(x.client.Addr(), time.Now()); wait > 0 {
		s.metrics.rejections.WithLabelValues(byFailures).Inc()
		return nil, v.refuse(tooManyFailures(wait))
	}
	resolving, span := trace.Child(ctx, "resolve user")
	names, err := x.loginNames(resolving, v, user)
	if span.End(err); err != nil {
		return nil, err
	}
	v.penalty = func() { pause(ctx, x.settings.LoginFailureDelay) }
	o := loginOptions{localize: func(c scope.Cluster, frame []byte) []byte { return localizeLogin(c, user, frame) }}
	checking, span := trace.Child(ctx, "authenticate client")
	o.proof, err = x.authenticate(checking, v, names)
	if span.End(err); err != nil {
		return nil, err
	}
	if v.replication != physical {
		if x.settings.mode(database) != scope.Off {
			v.startup, v.start = withoutRoles(v.startup)
		}
		v.start.Mode = settingOf(v.startup, scope.ModeSetting)
	}
	if x.settings.AddHost {
		shown := withHost(v)
		v.startup, _ = withoutSetting(v.startup, applicationName)
		o.params = append(o.params, shown)
	}
	if v.replication == "" {
		o.pool = s.pool
	}
	g := guess{database, user} // it is to be tried the next time: what was let in, or after a failure the other
	if len(names.candidates) > 1 {
		o.turnedDown = func(candidate int) { s.guesses.Add(g, (candidate+1)%len(names.candidates)) }
	}
	entering, span := trace.Child(ctx, "log in to server")
	in, err := login(entering, v, s.o.Upstream.route(ctx, s.o.Admin), names, o)
	span.End(err)
	if err == nil && len(names.candidates) > 1 {
		s.guesses.Add(g, in.candidate)
	}
	return in, err
}

// authenticate checks the client by the method that its rule says, and returns what the proxy has to show to the server; nil
// where the server is to check it.
func (x *session) authenticate(ctx context.Context, v *visitor, names loginNames) (*proof, error) {
	rule := x.settings.auth.of(v)
	x.method = rule.Method
	switch {
	case rule.Method == AuthVerify:
		keys, err := x.verify(ctx, v, names)
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
func (x *session) verify(ctx context.Context, v *visitor, names loginNames) (*scram.Keys, error) {
	defer interruptWith(ctx, v.conn)()
	switch len(names.candidates) {
	case 0:
		return v.verify(ctx, x.server.admin, scope.Cluster(v.startup.User()), false)
	case 1:
		return v.verify(ctx, x.server.admin, names.candidates[0], true)
	default: // which of them exists, the admin connection could not tell
		return nil, v.refuse(cannotVerify())
	}
}

// turnedAway notes why a connection did not become a session, and what the policy said of it. The client was told already.
func (x *session) turnedAway(err error, d policy.Decision) {
	var failed *loginError
	errors.As(err, &failed)
	if failed != nil && failed.left && !x.refused {
		x.server.metrics.logins.WithLabelValues(loginAbandoned).Inc()
		x.log().Debug("client left before the login", zap.Error(failed.cause))
		return
	}
	if failed == nil {
		failed = &loginError{}
	}
	x.turned(failed.sqlstate)
	x.log().Warn("login failed", zap.Error(err))
	x.recordLogin(err, d)
}

// turned counts a login that fails, once, if possible before the client is told, which can try again at once.
func (x *session) turned(sqlstate string) {
	if x.refused {
		return
	}
	x.refused = true
	x.server.metrics.logins.WithLabelValues(loginRefused).Inc()
	if unauthorized(sqlstate) && x.user != "" {
		x.server.failures.note(x.client.Addr(), time.Now())
	}
}

// run hands the session to an event loop, or else to goroutines, to relay it and to end it.
func (x *session) run(ctx context.Context, v *visitor, in *loggedIn) (handed bool) {
	x.link, x.lease, x.version = in.server, in.lease, in.version
	r := newRelay(x, v.conn, in.server, engine.New(x.engineConfig(v, in), v.start))
	x.attach(r)
	if x.server.settings.Load() != x.settings {
		x.recheck() // the policy is another by now
	}
	if !r.start(in.welcome, in.rest) {
		x.ended(ctx)
		return false
	}
	conn := x.conn
	x.conn = nil // lets go of its memory too
	if handOver(r) {
		return true
	}
	x.conn = conn
	go func() { //nolint:gosec // in no story, and with a stack that no TLS handshake has grown; the login, and with it ctx, is over
		r.run()
		x.relayed(context.Background())
	}()
	return true
}

// attach makes the relay known to drain and kill: from here on it ends the session.
func (x *session) attach(r *relay) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.relay = r
	x.cancel()
	x.cancel = func() {} // not to keep the login's context in memory
	if x.leaving {
		r.drain()
	}
}

// relayed ends the session when its relay has.
func (x *session) relayed(ctx context.Context) {
	x.ended(ctx)
	x.over()
}

// over is called once, when the session has ended.
func (x *session) over() {
	x.cancel()
	if x.conn != nil {
		x.close(x.conn)
	}
	x.server.tally.leave(&x.place, x.client.Addr(), x.database)
	x.server.forget(x)
	x.server.running.Done()
}

// drain ends the session when no transaction is open; one that is not logged in yet, at once.
func (x *session) drain() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.leaving = true
	if x.relay != nil {
		x.relay.drain()
	} else {
		x.cancel()
	}
}

// kill ends the session now.
func (x *session) kill() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.relay != nil {
		x.relay.kill()
	}
}

// waited notes how long the client was held.
func (x *session) waited(d time.Duration) { x.server.metrics.inquirySeconds.Observe(d.Seconds()) }

// peer is the client's address for logs and audit records.
func (x *session) peer() string {
	if !x.client.IsValid() {
		return localClient
	}
	return x.client.String()
}

// encryption names the version of TLS; empty without.
func (x *session) encryption() string {
	if x.tls == 0 {
		return ""
	}
	return tls.VersionName(x.tls)
}

// log returns the log, with whose session it is. A session at rest keeps none.
func (x *session) log() *zap.Logger {
	log := x.server.o.Log.With(zap.String("client", x.peer()))
	if x.user == "" {
		return log
	}
	return log.With(zap.String("database", x.database), zap.String("user", x.user))
}

func (x *session) close(c net.Conn) {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		x.log().Debug("connection did not close well", zap.Error(err))
	}
}
