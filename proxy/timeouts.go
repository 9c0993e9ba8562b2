package proxy

import (
	"context"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Timeouts are how long a client may take; 0 for any time, but for Login. Those of sessions are looked after once a second,
// so that a message costs nothing: a session is ended up to two seconds late, and never early.
type Timeouts struct {
	Login             time.Duration // from accept to the end of the login; 0 means a minute, as authentication_timeout
	Idle              time.Duration // without a statement, outside of a transaction
	IdleInTransaction time.Duration // without a statement, inside of one
}

const watchEvery = time.Second

// rest is what the watch last saw of a session.
type rest struct {
	state      engine.State
	fromClient uint64 // bytes received
	since      time.Time
}

// lookAfter is how long a client is held before the watch checks that it is still there.
const lookAfter = 5 * time.Second

// watch ends the sessions that rest for too long, and those whose client has gone while it was held, and tidies up after
// bursts, until ctx ends.
func (s *Server) watch(ctx context.Context) {
	var memory tidy
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			memory.look()
			t := s.settings.Load().Timeouts
			s.each(func(sess *session) { sess.expire(now, t) })
		}
	}
}

// expire ends the session if it has rested for too long, or if its client has gone while it was held.
func (s *session) expire(now time.Time, t Timeouts) {
	s.mu.Lock()
	r := s.relay
	s.mu.Unlock()
	if r != nil {
		r.expire(now, t)
	}
}

func (r *relay) expire(now time.Time, t Timeouts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asked.IsZero() && now.Sub(r.asked) >= lookAfter {
		r.checkClient()
	}
	state := r.engine.State()
	if r.behind {
		state = engine.Active // to the client, which has not got its answer yet
	}
	if state != r.rest.state || r.moved.fromClient != r.rest.fromClient {
		r.rest = rest{state, r.moved.fromClient, now}
		return
	}
	switch still := now.Sub(r.rest.since); r.rest.state {
	case engine.Idle:
		if t.Idle > 0 && still >= t.Idle {
			r.finish(ending{byTimeout, &engine.Error{Report: idleSession}})
		}
	case engine.InTransaction:
		if t.IdleInTransaction > 0 && still >= t.IdleInTransaction {
			r.finish(ending{byTimeout, &engine.Error{Report: idleInTransaction}})
		}
	case engine.Active:
	}
}

// As the server says it (ProcessInterrupts, src/backend/tcop/postgres.c).
var (
	idleSession = scope.Error{
		Code: "57P05", Message: "terminating connection due to idle-session timeout", // idle_session_timeout
		Hint: "idle-timeout of the proxy sets it.",
	}
	idleInTransaction = scope.Error{
		Code: "25P03", Message: "terminating connection due to idle-in-transaction timeout", // idle_in_transaction_session_timeout
		Hint: "idle-in-transaction-timeout of the proxy sets it.",
	}
)
