package proxy

import (
	"cmp"
	"errors"
	"time"

	"github.com/pgscope/pgscope-proxy/audit"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/scope"
)

// blank is the audit record of something that the session did, without what it was.
func (s *session) blank(event string) audit.Record {
	return audit.Record{
		Time: time.Now(), Event: event, Client: s.peer(),
		Database: s.database, User: s.user, Application: s.application,
	}
}

// refused is the decision about what the proxy itself refuses, or the server.
const refused = "refuse"

// record is the audit record of a statement.
func (s *session) record(role scope.Cluster, st engine.Statement) audit.Record {
	r := s.blank(audit.Statement)
	r.Role, r.Statement, r.Sent, r.Number, r.Of = string(role), st.Written, st.Sent, st.Number, st.Of
	r.Result = cmp.Or(st.Result, audit.Unknown)
	r.Decision = string(policy.Allow)
	for i, w := range st.Wants {
		a := audit.Action{
			Kind: string(w.Action.Kind), Role: string(w.Action.Role.Name), Cluster: string(w.Action.Role.Cluster),
			Grantee: string(w.Action.Grantee.Name), Attributes: w.Action.Attributes, Object: w.Action.Object,
			Decision: string(w.Decision.Verdict), Rule: w.Decision.Rule,
		}
		r.Actions = append(r.Actions, a)
		if i == 0 || heavier(w.Decision.Verdict, policy.Verdict(r.Decision)) {
			r.Decision, r.Rule = cmp.Or(a.Decision, r.Decision), a.Rule
		}
	}
	if st.Refused {
		r.Decision, r.Rule = refused, ""
	}
	return r
}

// heavier reports whether the verdict on one action says more of its statement than that on another.
func heavier(a, b policy.Verdict) bool {
	weight := map[policy.Verdict]int{policy.Allow: 0, policy.Warn: 1, policy.Deny: 2}
	return weight[a] > weight[b]
}

// recordLogin keeps a record of a login that failed, where it came so far that there was a user.
func (s *session) recordLogin(err error, d policy.Decision) {
	if s.server.o.Audit == nil || s.user == "" {
		return
	}
	r := s.blank(audit.Login)
	r.Decision, r.Reason = refused, err.Error()
	var failed *loginError
	if errors.As(err, &failed) {
		r.Result = failed.sqlstate
	}
	r.Result = cmp.Or(r.Result, audit.Unknown)
	if d.Verdict == policy.Deny {
		r.Decision, r.Rule = string(d.Verdict), d.Rule
	}
	s.server.o.Audit.Put(r)
}
