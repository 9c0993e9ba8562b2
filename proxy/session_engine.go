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

func (x *session) engineConfig(v *visitor, in *loggedIn) engine.Config {
	s := x.server
	database := v.startup.Database()
	c := engine.Config{
		Host: x, Directory: unscoped{}, Mode: scope.Off, MaxMessage: x.settings.MaxStatement, Analyze: s.analyze,
		Login: in.user, LoginName: scope.Short(v.startup.User()), Keep: in.lease != nil,
	}
	if !x.scoped(v) {
		return c
	}
	c.Directory, c.Mode, c.Recorded = s.directories.of(database), x.settings.mode(database), s.o.Audit != nil || s.o.Tracer != nil
	if c.Walsender, _ = walsender(v); c.Walsender {
		c.Analyze = analyzeStatements // its queries show what the cluster has
	}
	c.Switching = v.startup.Get(scope.ModeSetting) != "" || strings.Contains(v.startup.Get("options"), "pgscope")
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
