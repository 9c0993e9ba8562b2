package proxy

import (
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/scope"
)

// localClient stands for the address of a client on a Unix socket.
const localClient = "local"

// meet notes who has come, as a load balancer says, and who wants a session.
func (s *session) meet(v *visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = v.client
	s.database, s.user, s.application = v.database(), v.startup.User(), settingOf(v.startup, applicationName)
}

// who is the session to the policy.
func (s *session) who() policy.Session {
	return policy.Session{Database: s.database, User: s.user, Client: s.client.Addr(), Application: s.application}
}

// decide asks the policy that is in force now.
func (s *Server) decide(who policy.Session, facts *policy.Facts, a policy.Action) policy.Decision {
	who.Time, who.Facts, who.Declared = time.Now(), facts, s.declared.Load()
	return s.settings.Load().Policy.Decide(who, a)
}

// warn tells the log of what the policy warns of.
func (s *session) warn(a policy.Action, d policy.Decision) {
	if d.Verdict == policy.Warn {
		s.log().Warn("the policy warns", zap.String("kind", string(a.Kind)), zap.String("rule", d.Rule))
	}
}

var connecting = policy.Action{Kind: policy.Connect}

// mayConnect tells what the policy says now of the session's being.
func (s *session) mayConnect() policy.Decision {
	s.mu.Lock()
	who := s.who()
	s.mu.Unlock()
	return s.server.decide(who, nil, connecting)
}

// recheck ends the sessions that a new policy would not have let begin.
func (s *Server) recheck() {
	s.each((*session).recheck)
}

// recheck ends a session that is logged in and may no longer be. One that is not yet is asked about when it is.
func (s *session) recheck() {
	d := s.mayConnect()
	if d.Err == nil {
		return
	}
	denied := *d.Err
	denied.Code = scope.CodeAdminShutdown
	denied.Message = "terminating connection: " + denied.Message
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.relay != nil {
		s.relay.expel(&engine.Error{Report: denied})
	}
}
