package engine

import (
	"bytes"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// backendPlain reports whether the server's answers pass as they are.
func (e *Engine) backendPlain() bool { return e.pending.plain() }

// backendNote accounts for a message where they do.
func (e *Engine) backendNote(frame []byte) verdict {
	switch typ := frame[0]; typ {
	case wire.DataRow, wire.CopyData:
		return passes
	case wire.ParameterDescription:
		return pass
	default:
		if ends[typ] == none || typ == wire.CommandComplete && e.watches(len(frame)-wire.HeaderSize) {
			return collect
		}
		e.pending.answered(ends[typ])
		return pass
	}
}

// ends tells which answer ends with a message of the server's.
var ends = [256]awaited{
	wire.ParseComplete:      parsed,
	wire.BindComplete:       bound,
	wire.CloseComplete:      closed,
	wire.RowDescription:     described,
	wire.NoData:             described,
	wire.CommandComplete:    executed,
	wire.EmptyQueryResponse: executed,
	wire.PortalSuspended:    executed,
}

// backendBegin decides what becomes of a message of the server, and accounts for the answer that it gives. If it wants the
// message whole, backendWhole does that, so the answer must still be the first one. Every message that a server may send
// after authentication is named.
func (e *Engine) backendBegin(typ byte, size int, out *Out) (verdict, error) {
	if typ != wire.ReadyForQuery && typ != wire.NoticeResponse && !asynchronous(typ) {
		e.pending.doubt = false
	}
	first := e.pending.first()
	if (first.awaits == ownQuestion || first.awaits == ownClaim) && !asynchronous(typ) {
		return collectUpTo(maxAnswer, typ, size)
	}
	if first.awaits == ownDescribed && describes(typ) {
		return collectUpTo(maxDescription, typ, size)
	}
	if t := first.tracked; t != nil && t.claims {
		switch typ {
		case wire.RowDescription, wire.DataRow:
			return drop, nil
		case wire.CommandComplete:
			return collectUpTo(e.cfg.MaxMessage, typ, size)
		}
	} else if t != nil && !asynchronous(typ) {
		t.notify(out)
	}
	switch typ {
	case wire.ErrorResponse, wire.NoticeResponse, wire.ReadyForQuery, wire.ParameterStatus, wire.BackendKeyData:
		return collectUpTo(e.cfg.MaxMessage, typ, size)
	case wire.ParseComplete, wire.BindComplete, wire.CloseComplete:
		e.pending.answered(ends[typ])
	case wire.RowDescription, wire.NoData:
		e.pending.answered(described)
		if typ == wire.RowDescription && first.awaits == readyQuery && first.tracked.looked() {
			return collectUpTo(maxDescription, typ, size)
		}
	case wire.DataRow:
		if !first.tracked.shows() {
			return passes, nil
		}
		if size <= e.cfg.MaxMessage {
			return collect, nil
		}
	case wire.CommandComplete, wire.EmptyQueryResponse, wire.PortalSuspended:
		if typ == wire.CommandComplete && e.watches(size) {
			return collect, nil
		}
		return e.ended(), nil
	case wire.CopyInResponse:
		e.pending.copying()
	case wire.CopyData:
		return passes, nil
	case wire.ParameterDescription, wire.FunctionCallResponse, wire.NotificationResponse,
		wire.CopyOutResponse, wire.CopyBothResponse, wire.CopyDone:
	default: // Authentication and NegotiateProtocolVersion too: that is over
		return drop, serverViolation("unexpected message", typ)
	}
	return pass, nil
}

// The tags of the statements by which a transaction is left to be committed later, and is, by any session.
const (
	tagPrepared  = "PREPARE TRANSACTION"
	tagCommitted = "COMMIT PREPARED"
)

// deallocated are the tags of the statements that [rewrite.Results.Deallocates] has names of.
var deallocated = map[string]bool{"DEALLOCATE": true, "DEALLOCATE ALL": true, "DISCARD ALL": true}

// watches reports whether a CommandComplete of that length may have a tag that matters.
func (e *Engine) watches(size int) bool {
	t := e.pending.first().tracked
	return t != nil && t.deallocations != nil || e.userPath.watches(size) ||
		size == len(tagCommitted)+1 || size == len(tagPrepared)+1 && e.transaction.changesRoles()
}

// tagged takes note of a tag.
func (e *Engine) tagged(body []byte) {
	tag, _, _ := cutString(body)
	e.userPath.completed(string(tag))
	if t := e.pending.first().tracked; t != nil && len(t.deallocations) > 0 && deallocated[string(tag)] {
		t.deallocated()
	}
	switch string(tag) {
	case tagPrepared:
		if e.transaction.changesRoles() {
			e.cfg.Directory.Prepared()
		}
	case tagCommitted:
		e.cfg.Directory.Committed()
	}
}

// ended accounts for a statement that has been executed, and decides about the message that says so.
func (e *Engine) ended() verdict {
	if !e.completed() {
		return drop
	}
	if p := e.pending.first(); p.awaits == executed && p.tracked != nil {
		e.over(p.tracked, Succeeded)
	}
	e.pending.answered(executed)
	return pass
}

// collectUpTo bounds what a server may send in one piece.
func collectUpTo(limit int, typ byte, size int) (verdict, error) {
	if size > limit {
		return drop, serverViolation("invalid message length", typ)
	}
	return collect, nil
}

// describes reports whether a message is of the answer to Describe.
func describes(typ byte) bool {
	return typ == wire.ParameterDescription || typ == wire.RowDescription || typ == wire.NoData
}

// asynchronous reports whether a server may send the message at any time.
func asynchronous(typ byte) bool {
	return typ == wire.ParameterStatus || typ == wire.NotificationResponse
}

// backendWhole sees the messages that backendBegin wanted whole.
func (e *Engine) backendWhole(frame []byte, out *Out) (verdict, error) {
	typ, body := frame[0], frame[wire.HeaderSize:]
	first := e.pending.first()
	if typ == wire.ReadyForQuery && e.pending.surplus() {
		first = entry{}
	}
	switch {
	case asynchronous(typ):
	case first.awaits == ownQuestion:
		return e.answer(frame, out)
	case first.awaits == ownClaim:
		return e.answerClaim(frame, out)
	case first.awaits == ownDescribed && describes(typ):
		return drop, e.described(frame)
	}
	switch typ {
	case wire.RowDescription:
		return pass, e.describe(first.tracked, frame)
	case wire.DataRow:
		return e.row(frame, first.tracked, out)
	case wire.ReadyForQuery:
		return e.readyForQuery(first, body, out)
	case wire.CommandComplete:
		if t := first.tracked; t != nil && t.claims {
			e.claimDone(body, t, out)
			return drop, nil
		}
		e.tagged(body)
		return e.ended(), nil
	case wire.BackendKeyData:
		e.key = string(body)
	case wire.ParameterStatus:
		return e.parameterStatus(frame, out)
	case wire.NoticeResponse:
		t := first.tracked
		if t != nil && t.preceded {
			return drop, e.say(frame, out)
		}
		return e.report(frame, t, out)
	case wire.ErrorResponse:
		return e.errorResponse(frame, first, out)
	}
	return pass, nil
}

// readyForQuery accounts for the end of what the server was asked. The client does not get it while the proxy still has
// something to do before it.
func (e *Engine) readyForQuery(first entry, body []byte, out *Out) (verdict, error) {
	if len(body) != 1 {
		return drop, serverViolation("invalid message length", wire.ReadyForQuery)
	}
	e.status = body[0]
	if first.awaits == readyQuery && first.tracked != nil {
		e.over(first.tracked, Succeeded)
	}
	e.pending.ready(e.status == wire.TxIdle)
	if e.status == wire.TxIdle {
		e.transactionEnded()
	}
	if !e.Started() {
		if user := e.beginning.user; user != "" {
			e.tellUser(user, out)
		}
		if e.asksFirst() {
			return drop, e.askFirst(e.cfg.Directory.Database(), out)
		}
		e.begun()
	}
	if e.claim.retry && !e.claim.done {
		e.claim.done = true
		return drop, nil
	}
	if e.firstPartEnded(first.awaits == readyPart) || e.withheld() {
		return drop, nil
	}
	return pass, nil
}

// errorResponse accounts for an error, and puts it in the client's words. first is what it answers.
func (e *Engine) errorResponse(frame []byte, first entry, out *Out) (verdict, error) {
	t := first.tracked
	if t != nil && t.claims {
		if own, err := e.claimFails(frame, t, out); own || err != nil {
			return drop, err
		}
	}
	e.failedWith(t, e.toldCode(frame[wire.HeaderSize:], t))
	if first.awaits == readyPart {
		e.question.failure = bytes.Clone(frame)
	}
	if e.pending.failed() {
		e.question.skipped, e.question.done = true, true
	}
	if t != nil && t.preceded {
		return drop, e.say(frame, out)
	}
	return e.report(frame, t, out)
}

// answer gives a message to the proxy's question that it answers.
func (e *Engine) answer(frame []byte, out *Out) (verdict, error) {
	q := e.question
	if err := q.take(frame); err != nil {
		return drop, err
	}
	switch frame[0] {
	case wire.NoticeResponse:
		if q.speaks {
			return drop, e.say(frame, out)
		}
	case wire.ErrorResponse:
		if !q.sync {
			// The pipeline that the question stood in has failed with it: the error is the answer to the statement.
			e.pending.failed()
			q.skipped, q.done = true, true
			return drop, e.say(frame, out)
		}
		if e.aftermath != nil || string(wire.Field(frame, 'V')) != wire.SeverityError { // nothing follows
			return drop, e.say(frame, out)
		}
	}
	if !q.done {
		return drop, nil
	}
	e.pending.pop()
	if frame[0] == wire.ReadyForQuery && len(frame) == wire.HeaderSize+1 {
		e.status = frame[wire.HeaderSize]
	}
	switch {
	case !e.Started():
		return drop, e.start(out)
	case e.userPath.asked:
		e.userPathKept()
	case e.cleaningUp():
		last, err := e.answerAftermath()
		if last && err == nil {
			return pass, nil // the ReadyForQuery that was withheld
		}
		return drop, err
	}
	return drop, nil
}
