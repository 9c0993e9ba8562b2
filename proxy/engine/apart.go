package engine

import (
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// To read a text, and to map the names in it, takes time in proportion to its length. Who drives an engine has other
// sessions to serve, and a lock that others want. So of a long text the engine leaves that work to be done apart, and
// holds the statement meanwhile:
//
//	statement ─▶ held ─▶ Apart ─▶ the work, in any goroutine ─▶ Worked ─▶ Client goes on
//
// The work has the held statement to itself, and nothing else of the engine, which may be told what the server says in
// the meantime.

// apart is how a long statement is worked on.
type apart struct {
	on       func(*held) // the work; nil once it was given away
	then     func(*Engine, *Out)
	worked   bool
	canceled bool // the client does not want the statement any more
}

// work lets the held statement be worked on, and goes on then.
func (e *Engine) work(on func(*held), then func(*Engine, *Out), out *Out) {
	h := e.held
	if h.apart == nil {
		on(h)
		then(e, out)
		return
	}
	h.step, h.on, h.then, h.worked = awaitsWork, on, then, false
}

// Apart returns what is to be done for the held statement, once, with the length of its text; nil where there is
// nothing. It takes long. Any goroutine may do it, without the lock that the engine has, and then tells so by
// [Engine.Worked].
func (e *Engine) Apart() (work func(), length int) {
	h := e.held
	if h == nil || h.apart == nil || h.on == nil {
		return nil, 0
	}
	on := h.on
	h.on = nil
	return func() { on(h) }, len(h.written)
}

// Worked tells that what Apart returned is done. Then [Engine.Client] goes on.
func (e *Engine) Worked() { e.held.worked = true }

// workDone goes on with the held statement when it was worked on.
func (e *Engine) workDone(out *Out) {
	switch h := e.held; {
	case e.discards(h.typ): // since what came before it has failed
		e.held = nil
	case h.canceled:
		h.canceled = false
		e.refuseHeld(&rewrite.Error{Error: canceled}, out)
	default:
		h.then(e, out)
	}
}

// Cancel lets the held statement fail if the client waits for what is done apart: the server cannot cancel what it has
// not heard of.
func (e *Engine) Cancel() {
	if h := e.held; h != nil && h.step == awaitsWork && e.pending.first().awaits == none {
		h.canceled = true
	}
}

// canceled is what the server says of what it does (ProcessInterrupts, src/backend/tcop/postgres.c).
var canceled = scope.Error{Code: "57014", Message: "canceling statement due to user request"}
