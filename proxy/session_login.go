package proxy

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/scram"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/trace"
)

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
		return nil, v.stopped(ctx, err)
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
	defer interruptReading(ctx, v.conn)()
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
