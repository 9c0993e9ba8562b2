package proxy

import (
	"context"
	"errors"

	"github.com/pgscope/pgscope-proxy/audit"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/trace"
)

// Two things have spans, if there is a tracer: a login, with what it waits for within it, and a role statement,
// from its arrival to the server's answer. Both say what an audit record says, and no more. What has nothing to do
// with roles has none, and pays for none.

// traceSetting is by what a client says, when it connects, which trace its session is part of. It is for
// the proxy: the server does not get it.
const traceSetting = "pgscope.traceparent"

// traceLogin begins the span of a login, which began when the client came.
func (s *session) traceLogin(ctx context.Context, v *visitor) (context.Context, trace.Span) {
	t := s.server.o.Tracer
	if t == nil {
		return ctx, trace.Span{}
	}
	v.startup, s.parent = withoutSetting(v.startup, traceSetting)
	ctx, span := t.Begin(ctx, trace.Work{Name: "login", Client: true, Parent: s.parent, Began: s.accepted}, s.traced()...)
	span.Was("tls", v.handshakeBegan, v.handshakeEnded)
	return ctx, span
}

// traced is what all spans of the session say.
func (s *session) traced() []trace.Field {
	return []trace.Field{
		trace.Text("db.system.name", "postgresql"), trace.Text("db.namespace", s.database), trace.Text("user.name", s.user),
		trace.Text("client.address", s.peer()), trace.Text("pgscope.application", s.application),
	}
}

// loggedInAs ends the span of a login.
func (s *session) loggedInAs(span trace.Span, in *loggedIn, err error) {
	if s.server.o.Tracer == nil {
		return
	}
	span.Set(trace.Text("pgscope.auth", string(s.method)), trace.Text("pgscope.tls", s.encryption()))
	var failed *loginError
	switch {
	case err == nil:
		span.Set(trace.Text("pgscope.role", string(in.user)))
	case errors.As(err, &failed) && failed.sqlstate != "":
		span.Set(trace.Text(traceSQLSTATE, failed.sqlstate))
	}
	span.End(err)
}

const traceSQLSTATE = "db.response.status_code"

// traceStatement tells of a statement whose result is known. It is part of the trace that it names, else of its session's.
func (s *session) traceStatement(r audit.Record, st engine.Statement) {
	parent := s.parent
	if own := trace.InComment(st.Written); own != "" {
		parent = own
	}
	name, kinds := "role statement", make([]string, len(st.Wants))
	for i, w := range st.Wants {
		kinds[i] = string(w.Action.Kind)
	}
	if len(kinds) > 0 {
		name = kinds[0]
	}
	_, span := s.server.o.Tracer.Begin(context.Background(), trace.Work{Name: name, Client: true, Parent: parent, Began: st.Came}, append(s.traced(),
		trace.Text("pgscope.role", r.Role), trace.Texts("pgscope.actions", kinds), trace.Text("db.query.text", r.Statement),
		trace.Text("pgscope.decision", r.Decision), trace.Text("pgscope.rule", r.Rule), trace.Text(traceSQLSTATE, r.Result))...)
	if span.Was("decide", st.Came, st.Decided); st.Sent != "" {
		span.Was("server", st.Decided, r.Time)
	}
	if r.Result != engine.Succeeded || r.Decision == refused || r.Decision == string(policy.Deny) {
		span.Fail(r.Result)
	}
	span.End(nil)
}
