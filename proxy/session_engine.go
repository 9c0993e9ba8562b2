package proxy

import (
	"strings"
	"time"

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
