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
// See docs/adr/0009-claims.md.
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
	if !ok || asks || e.cfg.Mode != scope.Transparent || e.switching || e.changing || e.cfg.Walsender || !e.takesClaim(local) {
		return false
	}
	view, role := e.cfg.Directory.Recall(name)
	if view == nil {
		return false
	}
	sql, err := e.encode(view.DB.ClaimSQL(role))
	if err != nil {
		return false
	}
	e.claim = claim{name: name}
	e.pending.push(ownClaim, nil)
	out.Server.write(appendStatement(nil, sql, nil))
	h.view, h.mode = view, e.cfg.Mode
	e.rewrite(out)
	if h.typ == wire.Query {
		h.step = awaitsClaim
		e.held = h
	}
	return true
}

// takesClaim reports whether a claim can go before a statement without a trace. The server must be at rest; and outside of
// a transaction block it takes what follows an Execute for part of a pipeline, where SET LOCAL has another effect
// (IsInTransactionBlock, src/backend/access/transam/xact.c).
func (e *Engine) takesClaim(local bool) bool {
	if e.pending.unsynced || e.pending.n > 0 {
		return false
	}
	return e.status == wire.TxActive || e.status == wire.TxIdle && !local
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
		e.pending.failed()
		c.done, c.failed = true, true
		list, _ := fields(wire.Body(frame))
		if get(list, 'C') != scope.CodeNotOwn {
			return drop, e.say(frame, out)
		}
		e.cfg.Directory.Changed()
		if c.retry = e.held != nil && e.status == wire.TxIdle; c.retry {
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
	case e.claim.retry:
		e.pending.push(ownSync, nil)
		out.Server.write(wire.AppendHeader(nil, wire.Sync, 0))
		e.askNames(e.cfg.Directory.Database(), out)
	default:
		e.held = nil
		e.endSkipping(h.typ, out)
	}
}
