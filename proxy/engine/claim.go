package engine

import (
	"fmt"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// claim stands in for the question about a role that the directory knows. Applications set a role in each transaction
// (SET LOCAL ROLE), and a question would cost each of them a round trip. So what the directory says is claimed, by a
// statement that fails where it is not true any more and thereby keeps the server from reading the one behind it:
//
//	Close Parse Bind Execute Close Close    SELECT 1 / count(*) FROM pg_auth_members WHERE …
//	Query, or Parse                         SET LOCAL ROLE "orders_reader"
//
// See docs/adr/0010-claims.md.
type claim struct {
	name   scope.Short
	closes int // CloseComplete messages seen
	done   bool
	failed bool
	retry  bool // it failed, and the names can be asked about without the client's knowing
}

// claims lets the held statement go behind a claim, and reports whether it could. A Query is held until the claim has held
// good; the messages that follow a Parse go at once, since the server skips them if it has not.
func (e *Engine) claims(out *Out) bool {
	h := e.held
	name, local, ok := h.analysis.SetsRole()
	asks := e.needs(policy.SetRole) != policy.Need{}
	if !ok || asks || e.cfg.Mode != scope.Transparent || e.switching || e.changing || e.cfg.Walsender || !e.takesClaim(h.typ, local) {
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
	e.pending.push(ownClaim, nil)
	out.Server.write(known.claim)
	h.known, h.memory, h.view, h.mode = known, memory, known.view, e.cfg.Mode
	if h.typ == wire.Query {
		h.step = awaitsClaim
	}
	e.rewrite(out)
	if h.typ == wire.Query {
		e.held = h
	}
	return true
}

// newClaim returns what can be claimed of a role, and the view by which its name is to be mapped; nil where nothing can.
func (e *Engine) newClaim(name scope.Short) *rewriting {
	view, role := e.cfg.Directory.Recall(name)
	if view == nil {
		return nil
	}
	sql, err := e.encode(view.DB.ClaimSQL(role))
	if err != nil {
		return nil
	}
	return &rewriting{view: view, role: role, claim: appendStatement(nil, sql, nil)}
}

// firstThatStaysOpen is the first version, as server_version_num, in which a Query behind messages without a Sync leaves the
// transaction of these open. There all claims are left, also those that would be answered well.
const firstThatStaysOpen = 180000

// takesClaim reports whether a claim can go before a statement without a trace. Outside of a transaction block the server
// takes what follows an Execute for part of a pipeline, where SET LOCAL has another effect (IsInTransactionBlock,
// src/backend/access/transam/xact.c): so it must be known that there is a block. Inside of a pipeline a claim is no other than
// the question that it saves; a Query there would have to wait for what only a Sync would bring.
func (e *Engine) takesClaim(typ byte, local bool) bool {
	p := &e.pending
	switch {
	case e.options.ServerVersion >= firstThatStaysOpen:
		return false
	case p.claims > 0: // one at a time
		return false
	case p.unsynced:
		return typ == wire.Parse
	case p.n > 0: // Sync or Query has ended what is before it, and how, is not known yet
		return !local
	default:
		return e.status == wire.TxActive || e.status == wire.TxIdle && !local
	}
}

// answerClaim takes one message of the answer to a claim.
func (e *Engine) answerClaim(frame []byte, out *Out) (verdict, error) {
	c := &e.claim
	switch typ := frame[0]; typ {
	case wire.ErrorResponse:
		var behind *text // what was claimed for
		if e.pending.n > 1 {
			behind = e.pending.at(1).text
		}
		if e.pending.failed() {
			e.question.skipped, e.question.done = true, true
		}
		c.done, c.failed = true, true
		list, _ := fields(wire.Body(frame))
		if code := get(list, 'C'); code != scope.CodeNotOwn {
			if behind != nil {
				e.done(behind.trail, code)
			}
			return drop, e.say(frame, out)
		}
		e.cfg.Directory.Changed()
		if c.retry = e.held != nil && e.held.step == awaitsClaim && e.status == wire.TxIdle; c.retry {
			return drop, nil
		}
		gone := []field{
			{'S', get(list, 'S')},
			{'V', "ERROR"},
			{'C', scope.CodeInvalidParameter},
			{'M', fmt.Sprintf(`role "%s" does not exist`, c.name)}, // check_role, src/backend/commands/variable.c
		}
		if behind != nil {
			e.done(behind.trail, scope.CodeInvalidParameter)
		}
		encodeFields(gone, e.options.Charset())
		out.Client.write(appendReport(nil, wire.ErrorResponse, gone))
	case wire.CloseComplete:
		if c.closes++; c.closes == closesAsked {
			c.done = true
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
	switch {
	case !e.claim.failed: // it is on its way
		e.held = nil
		e.saw(h.text)
	case e.claim.retry:
		h.known, h.memory, h.text = nil, nil, nil
		e.pending.push(ownSync, nil)
		out.Server.write(wire.AppendHeader(nil, wire.Sync, 0))
		e.askNames(e.cfg.Directory.Database(), out)
	default:
		e.held = nil
		e.saw(h.text)
		e.endSkipping(h.typ, out)
	}
}
