package engine

import (
	"fmt"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// claim stands in for the question about a role that the directory knows. Applications set a role in each transaction
// (SET LOCAL ROLE), and a question would cost each of them a round trip. So what the directory knows is claimed, and the
// server checks it. A Query is replaced by one that sets the role if the claim is true, and tells whether it was. A Parse,
// which may be executed at any time, is preceded by a statement that fails if the claim is no longer true: then the server
// discards what follows.
//
//	Query                                   SELECT set_config('role', 'orders_reader', true) FROM pg_auth_members WHERE …
//
//	Close Parse Bind Execute Close Close    SELECT 1 / count(*) FROM pg_auth_members WHERE …
//	Parse                                   SET LOCAL ROLE "orders_reader"
//
// See docs/adr/0010-claims.md.
type claim struct {
	name   scope.Short
	closes uint8 // CloseComplete messages seen
	done   bool
	retry  bool // it failed, and the names can be asked about without the client's knowing
}

// claims lets the held statement go with a claim, and reports whether it could. A Query is held until the claim has held
// good; the messages that follow a Parse go at once, since the server skips them if it has not.
func (e *Engine) claims(out *Out) bool {
	h := e.held
	name, local, ok := h.analysis.SetsRole()
	asks := e.needs(policy.SetRole) != policy.Need{}
	if !ok || asks || h.apart != nil || e.cfg.Mode != scope.Transparent || e.switching || e.transaction.changesRoles() || e.cfg.Walsender || !e.takesClaim(h.typ, local) {
		return false
	}
	memory := e.cfg.Directory.Rewritings() // before what goes into it
	known := memory.recall(h.analysis, e.cfg.Mode)
	if known == nil || e.cfg.Directory.Stale() {
		if known = e.newClaim(name); known == nil {
			return false
		}
	}
	e.claim = claim{name: name}
	h.known, h.memory, h.view, h.mode = known, memory, known.view, e.cfg.Mode
	if h.typ == wire.Query {
		h.step = awaitsClaim
	} else {
		e.pending.push(ownClaim, nil)
		out.Server.write(known.before)
	}
	e.rewrite(out)
	return true
}

// newClaim returns what can be claimed of a role, and the view by which its name is to be mapped; nil where nothing can.
func (e *Engine) newClaim(name scope.Short) *rewriting {
	view, claim := e.cfg.Directory.Recall(name)
	if view == nil {
		return nil
	}
	sql, err := e.encode(claim.SQL())
	if err != nil {
		return nil
	}
	return &rewriting{view: view, claim: claim, before: appendStatement(nil, sql, nil)}
}

// takesClaim reports whether a claim can go with a statement without leaving a trace.
//
// SET LOCAL has an effect only in a transaction block. Behind a claim the server would take it for a part of one, or of a
// pipeline (IsInTransactionBlock, src/backend/access/transam/xact.c). So it must be known that there is a block.
//
// Where a pipeline has begun, a claim before a Parse does no more than the question that it saves. A Query in a pipeline
// takes none: it would have to wait for an answer that only a Sync brings.
func (e *Engine) takesClaim(typ byte, local bool) bool {
	p := &e.pending
	switch {
	case p.own > 0: // one at a time
		return false
	case p.unsynced:
		return typ == wire.Parse
	case p.n > 0: // Sync or Query has ended what is before it, and how, is not known yet
		return !local
	default:
		return e.status == wire.TxActive || e.status == wire.TxIdle && !local
	}
}

// claimDone takes the tag of a Query that sets a role if the claim is true.
func (e *Engine) claimDone(tag []byte, t *tracked, out *Out) {
	t.claims = false
	if string(tag) == "SELECT 0\x00" {
		e.claimAnew(t)
		return
	}
	e.claim.done = true
	t.notify(out)
	out.Client.write(append(wire.AppendHeader(nil, wire.CommandComplete, len("SET\x00")), "SET\x00"...))
}

// claimAnew has the names of a Query asked about when the server is ready. The client hears nothing of the claim.
func (e *Engine) claimAnew(t *tracked) {
	e.cfg.Directory.Changed()
	e.claim.retry = true
	t.trail = nil // there will be another
}

// claimFails takes an error of such a Query, and reports whether that was the claim's. In a transaction, which has
// failed with it, the client is told.
func (e *Engine) claimFails(frame []byte, t *tracked, out *Out) (own bool, err error) {
	list, _ := fields(wire.Body(frame))
	t.claims = false
	own = scope.NotOwn(get(list, 'C'))
	if own && e.status == wire.TxIdle {
		e.claimAnew(t)
		return true, nil
	}
	e.claim.done = true
	t.notify(out)
	if own {
		err = e.deny(list, frame, t, out)
		t.trail = nil
	}
	return own, err
}

// deny tells the client that a claim has failed, as the server says of a role that is not there.
func (e *Engine) deny(list []field, frame []byte, behind *tracked, out *Out) error {
	code := get(list, 'C')
	gone := scope.NotOwn(code)
	if gone {
		code = scope.CodeInvalidParameter
	}
	if behind != nil {
		e.done(behind.trail, code)
	}
	if !gone {
		return e.say(frame, out)
	}
	e.cfg.Directory.Changed()
	said := []field{
		{'S', get(list, 'S')},
		{'V', wire.SeverityError},
		{'C', code},
		{'M', fmt.Sprintf(`role "%s" does not exist`, e.claim.name)}, // check_role, src/backend/commands/variable.c
	}
	encodeFields(said, e.options.Charset())
	out.Client.write(appendReport(nil, wire.ErrorResponse, said))
	return nil
}

// answerClaim takes one message of the answer to a claim before a Parse.
func (e *Engine) answerClaim(frame []byte, out *Out) (verdict, error) {
	c := &e.claim
	switch typ := frame[0]; typ {
	case wire.ErrorResponse:
		var behind *tracked // what was claimed for
		for p := range e.pending.all() {
			if behind = p.tracked; p.awaits != ownClaim {
				break
			}
		}
		if e.pending.failed() {
			e.question.skipped, e.question.done = true, true
		}
		list, _ := fields(wire.Body(frame))
		return drop, e.deny(list, frame, behind, out)
	case wire.CloseComplete:
		if c.closes++; c.closes == closesAsked {
			e.pending.pop()
		}
	case wire.ParseComplete, wire.BindComplete, wire.DataRow, wire.CommandComplete, wire.NoticeResponse:
	default:
		return drop, serverViolation("unexpected answer", typ)
	}
	return drop, nil
}

// claimed goes on with a Query when its claim was answered.
func (e *Engine) claimed(out *Out) {
	h := e.held
	if !e.claim.retry { // it is on its way, or has failed
		e.held = nil
		e.saw(h.written, h.mapped.result)
		return
	}
	h.known, h.memory = nil, nil
	e.askNames(e.cfg.Directory.Database(), out)
}
