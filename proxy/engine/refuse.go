package engine

import (
	"fmt"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// What is refused is sent to fail at the server, whose error then gives way to another: see the package's doc.

// refuse answers a statement with an error. redacted is its text without secrets.
func (e *Engine) refuse(s statement, redacted string, err *rewrite.Error, out *Out) {
	e.sendToFail(s, &tracked{client: string(s.sql), result: refusedWith(err), trail: e.refused(redacted)}, out)
}

func refusedWith(err *rewrite.Error) *rewrite.Result {
	return &rewrite.Result{Refusals: []*rewrite.Error{err}}
}

func (e *Engine) sendToFail(s statement, t *tracked, out *Out) {
	if s.typ == wire.Parse {
		s.types = []byte{0, 0}
	}
	e.send(s, t, rewrite.RefusalSQL(0), out)
}

// refuseHeld answers the held statement with an error.
func (e *Engine) refuseHeld(err *rewrite.Error, out *Out) {
	e.reportFaults(err)
	e.failHeld(&tracked{result: refusedWith(err)}, out)
}

// failHeld lets the held statement fail. t tells with which answer.
func (e *Engine) failHeld(t *tracked, out *Out) {
	e.held.tracked, e.held.reading = t, e.reading()
	e.work((*held).redactText, (*Engine).sendHeldToFail, out)
}

// redactText makes of the held statement's text what is recorded.
func (h *held) redactText() { h.redacted = h.redact(h.written) }

func (e *Engine) sendHeldToFail(out *Out) {
	h := e.held
	e.held = nil
	h.tracked.client, h.tracked.trail = string(h.sql), e.refused(h.redacted)
	e.sendToFail(h.statement, h.tracked, out)
}

// reportFaults tells of refusals for a fault of the proxy's own.
func (e *Engine) reportFaults(refusals ...*rewrite.Error) {
	for _, r := range refusals {
		if r.Fault != "" {
			e.cfg.Host.Failed(r.Fault)
		}
	}
}

// refuseMessage answers a Bind or an Execute with an error.
func (e *Engine) refuseMessage(awaits awaited, t *tracked, err scope.Error, out *Out) {
	e.failMessage(awaits, t, tracked{result: refusedWith(&rewrite.Error{Error: err})}, out)
}

// failMessage puts a Parse of a statement that fails in the place of a Bind or an Execute. What answers that, substitute
// tells.
func (e *Engine) failMessage(awaits awaited, t *tracked, substitute tracked, out *Out) {
	substitute.client = t.client
	if t.trail != nil {
		var st *Statement
		substitute.trail, st = t.trail.again()
		st.Sent = ""
	}
	e.pending.push(awaits, &substitute)
	frame := wire.Begin(nil, wire.Parse)
	frame = append(append(frame, questionName...), 0)
	frame = append(append(frame, rewrite.RefusalSQL(0)...), 0)
	out.Server.write(wire.End(append(frame, 0, 0), 0))
}

// refuseLong answers a statement that is too long to be read.
func (e *Engine) refuseLong(typ byte, size int, out *Out) {
	e.refuse(statement{typ: typ}, rewrite.Unshown, &rewrite.Error{Error: tooLong("statement is too long", size, e.cfg.MaxMessage,
		"Send the data by COPY or as parameters, or raise max-statement-size.")}, out)
}

func tooLong(message string, size, limit int, hint string) scope.Error {
	return scope.Error{
		Code:    scope.CodeProgramLimitExceeded,
		Message: message,
		Detail:  fmt.Sprintf("It has %d bytes; the proxy reads at most %d.", size, limit),
		Hint:    hint,
	}
}
