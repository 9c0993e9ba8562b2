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

// withHost returns the application_name that the server shows, with the client's address in it; the name gives way where both
// are longer than a name can be.
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

func (x *session) engineConfig(v *visitor, in *loggedIn) engine.Config {
	s := x.server
	c := engine.Config{
		Host: x, Directory: unscoped{}, Mode: scope.Off, MaxMessage: x.settings.MaxStatement, Analyze: s.analyze,
		Login: in.user, LoginName: scope.Short(v.startup.User()),
	}
	if in.lease != nil {
		c.Keep, c.Reported = true, &in.lease.reported
	}
	if v.replication == physical {
		return c
	}
	database := v.database()
	c.Directory, c.Mode, c.Recorded = s.directories.of(database), x.settings.mode(database), s.o.Audit != nil || s.o.Tracer != nil
	if c.Walsender = v.replication == logical; c.Walsender {
		c.Analyze = analyzeStatements // its queries show what the cluster has
	}
	return c
}

// Decide implements [engine.Host], as the methods that follow.
func (x *session) Decide(f *policy.Facts, a policy.Action) policy.Decision {
	d := x.server.decide(x.who(), f, a)
	x.warn(a, d)
	return d
}

func (x *session) Needs(serverVersion int, kinds ...policy.Kind) policy.Need {
	return x.server.settings.Load().Policy.Needs(serverVersion, kinds...)
}

func (x *session) Saw(_ string, result *rewrite.Result) {
	x.server.expectLogins(x.database, result.Actions)
	what := statementForwarded
	if len(result.Refusals) > 0 {
		what = statementRefused
	}
	x.server.metrics.statements.WithLabelValues(what).Inc()
}

func (x *session) Failed(fault string) {
	x.log().Error("the proxy failed at a statement, and refused it", zap.String("error", fault))
}

func (x *session) Vacate(database string) {
	if pool := x.server.pool; pool != nil {
		pool.vacate(database)
	}
}

func (x *session) Forget(database string) { x.server.directories.forget(database) }

func (x *session) Done(st engine.Statement) {
	r := x.record(x.place.user, st)
	if records := x.server.o.Audit; records != nil {
		records.Put(r)
	}
	if x.server.o.Tracer != nil {
		x.traceStatement(r, st)
	}
}

func (x *session) Room() bool { return x.server.o.Audit == nil || x.server.o.Audit.Room() }

func (x *session) Now() (now time.Time) {
	if x.server.o.Tracer != nil {
		now = time.Now()
	}
	return now
}

func (x *session) AccessChanged() { x.server.accessChanged(x.database) }

// accessChanged passes on that a session has changed roles or access.
func (s *Server) accessChanged(database string) {
	if s.pool != nil {
		s.pool.doubt()
	}
	if changed := s.o.AccessChanged; changed != nil {
		changed(database)
	}
}
