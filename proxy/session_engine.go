package proxy

import (
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

const applicationName = "application_name"

// withHost returns the application_name that the server shows, with the client's address in it; the name gives way
// where both are longer than a name can be.
func withHost(v *visitor) wire.Parameter {
	host := "unix"
	if v.client.IsValid() {
		host = v.client.String()
	}
	application := settingOf(v.startup, applicationName)
	if application == "" {
		return wire.Parameter{Name: applicationName, Value: host}
	}
	const between = " - "
	if room := scope.MaxName - len(between) - len(host); len(application) > room {
		application = strings.ToValidUTF8(application[:room], "")
	}
	return wire.Parameter{Name: applicationName, Value: application + between + host}
}

func (s *session) engineConfig(v *visitor, in *loggedIn) engine.Config {
	srv := s.server
	c := engine.Config{
		Host: s, Directory: unscoped{}, Mode: scope.Off, MaxMessage: s.settings.MaxStatement, LongText: srv.o.LongText, Analyze: srv.analyze,
		Login: in.user, LoginName: scope.Short(v.startup.User()),
	}
	if c.Keep = in.lease != nil; c.Keep && in.lease.reported == nil {
		c.Reported = &in.lease.reported
	}
	if v.replication == physical {
		return c
	}
	database := v.database()
	c.Directory, c.Mode, c.Recorded = srv.directories.of(database), s.settings.mode(database), srv.o.Audit != nil || srv.o.Tracer != nil
	if c.Walsender = v.replication == logical; c.Walsender {
		c.Analyze = analyzeStatements // its queries show what the cluster has
	}
	return c
}

// Decide and the methods that follow implement [engine.Host].
func (s *session) Decide(f *policy.Facts, a policy.Action) policy.Decision {
	d := s.server.decide(s.who(), f, a)
	s.warn(a, d)
	return d
}

func (s *session) Needs(serverVersion int, kinds ...policy.Kind) policy.Need {
	return s.server.settings.Load().Policy.Needs(serverVersion, kinds...)
}

func (s *session) Saw(_ string, result *rewrite.Result) {
	s.server.expectLogins(s.database, result.Actions)
	what := statementForwarded
	if len(result.Refusals) > 0 {
		what = statementRefused
	}
	s.server.metrics.statements.WithLabelValues(what).Inc()
}

func (s *session) Failed(fault string) {
	s.log().Error("the proxy failed at a statement, and refused it", zap.String("error", fault))
}

func (s *session) Vacate(database string) {
	if pool := s.server.pool; pool != nil {
		pool.vacate(database)
	}
}

func (s *session) Forget(database string) { s.server.directories.forget(database) }

func (s *session) Done(st engine.Statement) {
	r := s.record(s.place.user, st)
	if records := s.server.o.Audit; records != nil {
		records.Put(r)
	}
	if s.server.o.Tracer != nil {
		s.traceStatement(r, st)
	}
}

func (s *session) Room() bool { return s.server.o.Audit == nil || s.server.o.Audit.Room() }

func (s *session) Now() (now time.Time) {
	if s.server.o.Tracer != nil {
		now = time.Now()
	}
	return now
}

func (s *session) AccessChanged() { s.server.accessChanged(s.database) }

// accessChanged passes on that a session has changed roles or access.
func (s *Server) accessChanged(database string) {
	if s.pool != nil {
		s.pool.doubt()
	}
	if changed := s.o.AccessChanged; changed != nil {
		changed(database)
	}
}
