package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/scram"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/trace"
)

// session is the story of one connection: admit → names → login → relay → close.
type session struct {
	server   *Server
	settings *settings  // those in force when it began
	counted  bool       // what it has moved is in Server.moved; guarded as that is
	guessed  bool       // its wrong password is counted
	conn     net.Conn   // as accepted; nil when an event loop has the session
	client   netip.Addr // where the client is; not valid on a Unix socket, and before it is known
	came     time.Time
	place    place          // what it is counted as
	tls      uint16         // the version; 0 without
	version  wire.Version   // of the protocol
	method   AuthMethod     // how the client was let in
	who      policy.Session // once its startup packet is read
	peer     string         // the client's address for logs and audit records

	link  *serverLink // once the client is logged in
	lease *lease      // what link can be kept for; nil where it is to be closed

	ctx     context.Context // of the login, until that is over
	cancel  context.CancelFunc
	mu      sync.Mutex
	relay   *relay // once the client is logged in
	leaving bool
}

func newSession(ctx context.Context, s *Server, conn net.Conn) *session {
	x := &session{
		server: s, settings: s.settings.Load(), conn: conn, came: time.Now(), peer: origin(conn),
	}
	x.ctx, x.cancel = context.WithCancel(ctx)
	return x
}

// origin is where a connection comes from. The clients of a Unix socket have no address.
func origin(conn net.Conn) string {
	if onUnixSocket(conn) {
		return localClient
	}
	return conn.RemoteAddr().String()
}

// log returns the log, with whose session it is. A session at rest keeps none.
func (x *session) log() *zap.Logger {
	log := x.server.o.Log.With(zap.String("client", x.peer))
	if x.who.User == "" {
		return log
	}
	return log.With(zap.String("database", x.who.Database), zap.String("user", x.who.User))
}

// serve runs the session, to its end or until whoever relays it has it.
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

// encryption names the version of TLS; empty without.
func (x *session) encryption() string {
	if x.tls == 0 {
		return ""
	}
	return tls.VersionName(x.tls)
}

// over is called once, when the session has ended.
func (x *session) over() {
	x.cancel()
	if x.conn != nil {
		x.close(x.conn)
	}
	x.server.tally.leave(&x.place)
	x.server.forget(x)
	x.server.running.Done()
}

// begin brings the client to the server, and relays. It reports whether whoever relays it will call over.
func (x *session) begin(ctx context.Context) (handed bool) {
	s := x.server
	x.conn = adopt(ctx, x.conn)
	v, err := admit(ctx, x.conn, x.settings.admission)
	if err != nil {
		x.turnedAway(ctx, err, policy.Decision{})
		return false
	}
	if v.client.IsValid() {
		x.client, x.peer = v.client.Addr(), v.client.String() // as a load balancer says
	}
	if v.cancel != nil {
		x.forwardCancel(ctx, *v.cancel)
		return false
	}
	if v.tls != nil {
		x.tls = v.tls.Version
	}
	x.meet(v)
	login, span := x.traceLogin(ctx, v)
	in, d, err := x.letIn(login, v)
	x.loggedInAs(span, in, err)
	if err != nil {
		x.turnedAway(ctx, err, d)
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
	tally := x.server.tally
	if c := tally.enter(&x.place, x.client, x.limits()); c != nil {
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
	if c := tally.settle(&x.place, in.user, scope.Short(v.startup.User()), v.startup.Database(), x.limits()); c != nil {
		in.leave()
		return nil, d, x.crowded(v, c)
	}
	return in, d, nil
}

func (x *session) close(c net.Conn) {
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		x.log().Debug("connection did not close well", zap.Error(err))
	}
}

// turnedAway notes why a connection did not become a session, and what the policy said of it. The client knows already.
func (x *session) turnedAway(ctx context.Context, err error, d policy.Decision) {
	apart(ctx, func(context.Context) { x.noteFailure(err, d) }) // whoever reads the log may be slow
}

func (x *session) noteFailure(err error, d policy.Decision) {
	var failed *loginError
	errors.As(err, &failed)
	if failed != nil && failed.left {
		x.server.metrics.logins.WithLabelValues(loginAbandoned).Inc()
		x.log().Debug("client left before the login", zap.Error(failed.cause))
		return
	}
	x.server.metrics.logins.WithLabelValues(loginRefused).Inc()
	x.log().Warn("login failed", zap.Error(err))
	x.recordLogin(err, d)
	if failed != nil && failed.unauthorized() && !x.guessed {
		x.server.failures.note(x.client, time.Now())
	}
}

// login finds the role that the client's user means, checks the client if that is the proxy's to do, and logs in to the
// server.
func (x *session) login(ctx context.Context, v *visitor) (*loggedIn, error) {
	ctx, cancel := context.WithDeadline(ctx, v.deadline)
	defer cancel()
	s := x.server
	database, user := v.startup.Database(), scope.Short(v.startup.User())
	if wait := s.failures.wait(x.client, time.Now()); wait > 0 {
		s.metrics.rejections.WithLabelValues(byFailures).Inc()
		return nil, v.refuse(tooManyFailures(wait))
	}
	resolving, span := trace.Child(ctx, "resolve user")
	names, err := x.loginNames(resolving, v, user)
	if span.End(err); err != nil {
		return nil, err
	}
	v.penalty = func() { // before the client is told, and can try again
		s.failures.note(x.client, time.Now())
		x.guessed = true
		pause(ctx, x.settings.LoginFailureDelay)
	}
	o := loginOptions{localize: func(c scope.Cluster, frame []byte) []byte { return localizeLogin(c, user, frame) }}
	checking, span := trace.Child(ctx, "authenticate client")
	o.proof, err = x.authenticate(checking, v, names)
	if span.End(err); err != nil {
		return nil, err
	}
	mode := x.settings.mode(database)
	if x.scoped(v) && mode != scope.Off {
		v.startup, v.start = withoutRoles(v.startup)
	}
	if x.scoped(v) {
		o.params = sessionSettings(v, mode)
	}
	if x.settings.AddHost {
		o.params = append(o.params, withHost(v))
	}
	if asked, _ := walsender(v); !asked {
		o.pool = s.pool
	}
	entering, span := trace.Child(ctx, "log in to server")
	in, err := login(entering, v, s.o.Upstream.route(ctx, s.o.Admin), names, o)
	span.End(err)
	if len(names.candidates) > 1 {
		x.learnGuess(guess{database, user}, names, in, err)
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
		told := refuseClient(v.conn, nil, rule.notIdentified(v))
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

// walsender reports whether the client asks for a replication connection, and whether for one to a database
// (ProcessStartupPacket, src/backend/tcop/backend_startup.c).
func walsender(v *visitor) (asked, toDatabase bool) {
	switch strings.ToLower(v.startup.Get("replication")) {
	case "", "off", "false", "no", "0":
		return false, false
	case "database":
		return true, true
	default:
		return true, false
	}
}

// scoped reports whether the session has role names: a physical replication connection is in no database.
func (x *session) scoped(v *visitor) bool {
	asked, toDatabase := walsender(v)
	return !asked || toDatabase
}

// sessionSettings are the parameters by which a session can read what the proxy does with its names. A mode that the
// client asks for at once stays.
func sessionSettings(v *visitor, mode scope.Mode) []wire.Parameter {
	params := []wire.Parameter{{Name: scope.DatabaseSetting, Value: v.startup.Database()}}
	if v.startup.Get(scope.ModeSetting) == "" && !optionSet(v.startup.Get("options"), scope.ModeSetting) {
		params = append(params, wire.Parameter{Name: scope.ModeSetting, Value: string(mode)})
	}
	return params
}

// withHost returns the application_name that the server shows, with the client's address in it; the name gives way where both
// are longer than a name can be.
func withHost(v *visitor) wire.Parameter {
	const name = "application_name"
	host := "unix"
	if v.client.IsValid() {
		host = v.client.String()
	}
	application := v.startup.Get(name)
	if application == "" {
		return wire.Parameter{Name: name, Value: host}
	}
	const between = " - "
	if room := scope.MaxName - len(between) - len(host); len(application) > room {
		application = strings.ToValidUTF8(application[:room], "")
	}
	return wire.Parameter{Name: name, Value: application + between + host}
}

// The places in loginNames of the roles that a name may be, where that cannot be told.
const (
	ownCandidate   = iota // the database's
	plainCandidate        // the cluster's
)

// loginNames tells what roles of the cluster the user may be: one where that is known.
func (x *session) loginNames(ctx context.Context, v *visitor, user scope.Short) (loginNames, error) {
	s := x.server
	database := v.startup.Database()
	plain := scope.Cluster(user)
	if !x.scoped(v) || x.settings.mode(database) == scope.Off {
		return loginNames{candidates: []scope.Cluster{plain}}, nil
	}
	likely := plain
	if d := s.directories.known(database); d != nil {
		c, certain := d.login(user)
		if certain {
			return loginNames{candidates: []scope.Cluster{c}}, nil
		}
		likely = c
	}
	db := scope.NewDatabase(0, database, s.directories.prefixes[database])
	if s.admin != nil {
		c, refused, err := x.askLogin(ctx, db, user)
		if refused != nil {
			return loginNames{refused: refused}, nil
		}
		if err == nil {
			return loginNames{candidates: []scope.Cluster{c}}, nil
		}
		x.log().Warn("the admin connection could not tell whose role logs in", zap.Error(err))
	}
	own, err := db.Qualify(user)
	if err != nil {
		return loginNames{candidates: []scope.Cluster{plain}}, nil
	}
	names := loginNames{candidates: []scope.Cluster{ownCandidate: own, plainCandidate: plain}, prefer: plainCandidate}
	if likely == own {
		names.prefer = ownCandidate
	}
	if last, ok := s.guesses.Get(guess{database, user}); ok {
		names.prefer = last
	}
	return names, nil
}

// askLogin asks the server, by the admin connection, which role logs in to a database under a name.
func (x *session) askLogin(ctx context.Context, db scope.Database, user scope.Short) (c scope.Cluster, refused *scope.Error, err error) {
	s := x.server
	inquiry := db.Inquire(scope.Name{Role: user})
	inquiry.Own = true
	view, err := s.admin.ask(ctx, inquiry, db.Prefix)
	if err != nil {
		return "", nil, err
	}
	if view.DB.Prefix != db.Prefix {
		return x.askLogin(ctx, view.DB, user) // the marker has another: it does not change
	}
	if view.DB.OID != 0 { // there is such a database
		s.directories.of(db.Name).Learn(view)
	}
	c, refused = view.Login(user)
	if refused != nil {
		refused.Code = scope.CodeInvalidAuthorization
	}
	return c, refused, nil
}

// learnGuess notes which role is to be tried the next time that a login cannot be told: what was let in, or after a failure
// the other.
func (x *session) learnGuess(g guess, names loginNames, in *loggedIn, err error) {
	var failed *loginError
	switch {
	case err == nil:
		x.server.guesses.Add(g, in.candidate)
	case errors.As(err, &failed) && failed.side == byServer && failed.candidate >= 0 && failed.unauthorized():
		x.server.guesses.Add(g, (failed.candidate+1)%len(names.candidates))
	}
}

// expectLogins notes which roles of a database a session lets log in: one of them may do so before they are listed.
func (s *Server) expectLogins(database string, actions []policy.Action) {
	for _, a := range actions {
		switch {
		case a.Role.Home != scope.Own:
		case a.Kind == policy.RenameRole:
			s.guesses.Add(guess{database, a.Grantee.Name}, ownCandidate)
		case slices.Contains(a.Attributes, "LOGIN"):
			s.guesses.Add(guess{database, a.Role.Name}, ownCandidate)
		}
	}
}

// localizeLogin makes an error of a login speak of the user as the client called it.
func localizeLogin(c scope.Cluster, user scope.Short, frame []byte) []byte {
	if string(c) == string(user) {
		return frame
	}
	own := func(name scope.Cluster) (scope.Short, bool) { return user, name == c }
	prefix := strings.TrimSuffix(string(c), scope.Separator+string(user))
	localized, err := engine.Localize(frame, rewrite.Localizer{Prefix: prefix, Own: own})
	if err != nil {
		return frame
	}
	return localized
}

// run hands the session to an event loop, or to goroutines, which relay until it is over, and do the rest.
func (x *session) run(ctx context.Context, v *visitor, in *loggedIn) (handed bool) {
	x.link, x.lease, x.version = in.server, in.lease, in.version
	r := newRelay(x, v.conn, in.server, engine.New(x.engineConfig(v, in), v.start))
	x.attach(r)
	x.recheck() // the policy may be another by now
	if !r.start(in.welcome, in.rest) {
		x.ended(ctx)
		return false
	}
	conn := x.conn
	x.conn = nil // its memory too
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

// waited notes how long the client was held.
func (x *session) waited(d time.Duration) { x.server.metrics.inquirySeconds.Observe(d.Seconds()) }

// relayed is for a session whose bytes nobody moves any more.
func (x *session) relayed(ctx context.Context) {
	x.ended(ctx)
	x.over()
}

// ended tells both sides and the log that the relay has ended.
func (x *session) ended(ctx context.Context) {
	r := x.relay
	end, e := r.end, r.engine
	if r.left || r.keep() {
		r.abandon()
		x.close(r.client)
	} else {
		x.farewell(ctx, r)
		r.abandon()
		x.close(r.client)
		x.close(r.server)
	}
	x.server.count(x, r)
	level, reason := zap.InfoLevel, zap.NamedError("reason", end.err)
	if !orderly(end.err) && !e.Goodbye() && !e.Fatal() && end.side != byTimeout && end.side != byPolicy {
		level, reason = zap.WarnLevel, zap.Error(end.err)
	}
	if !x.server.o.Log.Core().Enabled(level) {
		return
	}
	said := []zap.Field{
		zap.String("role", string(x.place.user)), zap.String("tls", x.encryption()), zap.String("auth", string(x.method)),
		zap.Duration("duration", time.Since(x.came)), zap.Uint64("from_client_bytes", r.moved.heard), zap.Uint64("from_server_bytes", r.moved.said),
		zap.String("ended_by", string(r.endedBy())), reason,
	}
	apart(ctx, func(context.Context) { x.log().Log(level, "session ended", said...) }) // as above
}

// orderly reports whether an end is one that needs no attention.
func orderly(err error) bool { return err == nil || errors.Is(err, io.EOF) }

func (x *session) engineConfig(v *visitor, in *loggedIn) engine.Config {
	s := x.server
	database := v.startup.Database()
	c := engine.Config{
		Directory: unscoped{}, Mode: scope.Off, MaxMessage: x.settings.MaxStatement, Analyze: s.analyses.analyze,
		Login: in.user, LoginName: scope.Short(v.startup.User()), Keep: in.lease != nil,
	}
	if s.pool != nil {
		c.Vacate = s.pool.vacate
	}
	if !x.scoped(v) {
		return c
	}
	c.Walsender, _ = walsender(v)
	c.Directory, c.Mode = s.directories.of(database), x.settings.mode(database)
	if c.Walsender {
		c.Analyze = analyzeStatements // its queries show what the cluster has
	}
	c.Switching = v.startup.Get(scope.ModeSetting) != "" || strings.Contains(v.startup.Get("options"), "pgscope")
	c.Decide = func(f *policy.Facts, a policy.Action) policy.Decision {
		d := s.decide(x.who, f, a)
		x.warn(a, d)
		return d
	}
	c.Needs = func(version int, kinds ...policy.Kind) policy.Need {
		return s.settings.Load().Policy.Needs(version, kinds...)
	}
	c.Forget = s.directories.forget
	if s.pool != nil || s.o.AccessChanged != nil {
		c.AccessChanged = func() { s.accessChanged(database) }
	}
	x.observe(&c, in.user, v.parent)
	c.Saw = func(_ string, result *rewrite.Result) {
		s.expectLogins(database, result.Actions)
		what := statementForwarded
		if len(result.Refusals) > 0 {
			what = statementRefused
		}
		s.metrics.statements.WithLabelValues(what).Inc()
	}
	return c
}

// observe has the engine tell of statements those who want to know of them.
func (x *session) observe(c *engine.Config, role scope.Cluster, parent string) {
	records, tracer := x.server.o.Audit, x.server.o.Tracer
	if records != nil {
		c.Room = records.Room
	}
	if tracer != nil {
		c.Clock = time.Now
	}
	if records == nil && tracer == nil {
		return
	}
	c.Done = func(st engine.Statement) {
		r := x.record(role, st)
		if records != nil {
			records.Put(r)
		}
		if tracer != nil {
			x.traceStatement(r, parent, st)
		}
	}
}

// accessChanged passes on that a session has changed roles or access.
func (s *Server) accessChanged(database string) {
	if s.pool != nil {
		s.pool.doubt()
	}
	if changed := s.o.AccessChanged; changed != nil {
		changed(database)
	}
}

// farewell tells both sides that the session is over, as far as they can still be told, and cancels what the server does
// for a client that is gone.
func (x *session) farewell(ctx context.Context, r *relay) {
	e := r.engine
	until := time.Now().Add(lastWords)
	_ = r.client.SetDeadline(until) // fails where nothing can be told
	_ = r.server.SetDeadline(until)
	if last := lastError(r); last != nil && !r.torn && e.ClientAtBoundary() && !e.Fatal() && !e.Goodbye() {
		_, _ = r.client.Write(wire.AppendError(nil, *last)) // the client may be gone as well
		linger(r.client)
	}
	if r.end.side == byServer {
		return
	}
	if key := e.CancelKey(); key != nil && e.Waiting() && !e.Goodbye() {
		if c, err := wire.DecodeCancel(key); err == nil {
			if err := x.link.cancelQuery(context.WithoutCancel(ctx), c); err != nil {
				x.log().Warn("the query of a client that is gone was not cancelled", zap.Error(err))
			}
		}
	}
	if e.ServerAtBoundary() {
		_, _ = r.server.Write(wire.AppendHeader(nil, wire.Terminate, 0)) // the server may be gone as well
	}
}

// linger lets the client read what it was told. To close a connection on which the client's next words have arrived resets
// it, and with it may go what the client has not read yet.
func linger(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime)) // a connection without is at its end
	_, _ = io.Copy(io.Discard, c)                     // until the client has closed, or the time is up
}

// lingerTime is how long a client has to close after its last message.
const lingerTime = 500 * time.Millisecond

const codeInternalError = "XX000" // internal_error

// lastError is what the client is told about the end of its session; nil where it knows, or is gone.
func lastError(r *relay) *wire.Fields {
	f := wire.Fields{Severity: wire.SeverityFatal}
	var violation *engine.Error
	var fault *panicked
	switch {
	case errors.As(r.end.err, &fault):
		f.Code, f.Message = codeInternalError, "the proxy failed"
		f.Hint = "The proxy's log says more."
	case errors.As(r.end.err, &violation):
		f.Code, f.Message, f.Detail, f.Hint = violation.Report.Code, violation.Report.Message, violation.Report.Detail, violation.Report.Hint
	case r.end.side == byShutdown:
		f.Code, f.Message = stopping().Code, stopping().Message
	case r.end.side == byServer:
		f.Code, f.Message = scope.CodeConnectionFailure, "server closed the connection unexpectedly"
		f.Hint = "The server or its host may have stopped. Connect again."
	default:
		return nil
	}
	return &f
}

// attach makes the relay known to drain and kill: from here on it ends the session.
func (x *session) attach(r *relay) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.relay = r
	x.cancel()
	x.ctx, x.cancel = context.Background(), func() {} // what is kept while it rests is what its memory is
	if x.leaving {
		r.drain()
	}
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
