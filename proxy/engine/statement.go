package engine

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// statement is a message of the client that carries a text: Query, or Parse with the prepared statement's name and the
// parameter types behind the text. The slices are the reader's.
type statement struct {
	typ       byte
	name, sql []byte
	types     []byte
}

func (s statement) clone() statement {
	s.name, s.sql, s.types = bytes.Clone(s.name), bytes.Clone(s.sql), bytes.Clone(s.types)
	return s
}

// declared are the types that a Parse declares for its parameters.
func (s statement) declared() (types []uint32) {
	if len(s.types) < 2 { // a Query
		return nil
	}
	for list := s.types[2:]; len(list) >= 4; list = list[4:] {
		types = append(types, binary.BigEndian.Uint32(list))
	}
	return types
}

// statement decides about a text of the client. Most name no role, and pass.
func (e *Engine) statement(s statement, out *Out) (verdict, error) {
	if e.untouched(s.typ, s.sql) {
		e.pending.push(asks[s.typ], nil)
		if s.typ == wire.Parse {
			e.assign(&e.registers().statements, key(s.name), nil)
		}
		return pass, nil
	}
	e.holdStatement(s.clone(), out)
	if e.held == nil {
		return drop, nil
	}
	return hold, nil
}

// holdStatement holds a statement that may name a role, and begins to find out what it needs.
func (e *Engine) holdStatement(s statement, out *Out) {
	e.came = e.now()
	e.held = &held{statement: s, written: string(s.sql), spoke: e.switching}
	if e.cfg.LongText > 0 && len(s.sql) >= int(e.cfg.LongText) {
		e.held.apart = new(apart)
	}
	if mentionsSettings(s.sql) {
		e.switching = true
		if db := e.cfg.Directory.Database().Name; db != "" && e.status != wire.TxFailed {
			e.held.step = saysSettings
			e.askHeld(settingsSQL, []string{db, string(e.cfg.Mode)}, out)
			return
		}
	}
	e.readOrAsk(out)
}

// sendFirstPart sends the first part of the held Query, which leaves the transaction: in a failed one nothing can be
// asked, and what any transaction goes back to is only known when it is over.
func (e *Engine) sendFirstPart(first, rest string, out *Out) {
	h := e.held
	h.step, h.sql = endsFirstPart, []byte(rest)
	e.question = new(question)
	e.pending.push(readyPart, nil)
	out.Server.write(appendQuery(nil, first))
}

// firstPartEnded reports whether a ReadyForQuery ends only the first part of a Query, which left the transaction: then
// it is not for the client, since the rest of the Query follows. After an error it is: the rest is not run.
func (e *Engine) firstPartEnded(part bool) bool {
	if !part {
		return false
	}
	if e.status == wire.TxFailed || e.question.failure != nil {
		e.held = nil
		return false
	}
	e.question.done = true
	return true
}

// untouched reports whether a text goes as it is, unread.
func (e *Engine) untouched(typ byte, sql []byte) bool {
	if e.cfg.Mode == scope.Off && !e.switching {
		e.switching = mentionsSettings(sql)
	}
	return e.cfg.Mode == scope.Off && !e.switching || !e.concerns(typ, sql)
}

// concerns reports whether a text is worth an analysis. What a Query deallocates must be known by now to matter; of a Parse
// that is not said, since it runs later.
func (e *Engine) concerns(typ byte, sql []byte) bool {
	return rewrite.MayNameRole(sql) || rewrite.MayReadRoles(sql) || e.fetches && rewrite.MayFetch(sql) ||
		(typ == wire.Parse || e.prepared.any()) && rewrite.MayDeallocate(sql)
}

// mentionsSettings reports whether a text may set one of the session's pgscope.* settings.
func mentionsSettings(sql []byte) bool {
	const word = "pgscope"
	for i := 0; i+len(word) <= len(sql); i++ {
		if sql[i]|0x20 == word[0] && strings.EqualFold(string(sql[i:i+len(word)]), word) {
			return true
		}
	}
	return false
}

// send lets a statement go to the server with sql for its text. t is nil where that is what the client wrote, and nothing
// else is to be tracked.
func (e *Engine) send(s statement, t *tracked, sql string, out *Out) {
	if t.ordinary(sql) {
		t = nil
	}
	kept := t
	if s.typ == wire.Parse && t != nil && !t.fails() && e.registers().statements.full(key(s.name)) {
		if t.trail != nil {
			e.refuse(s, t.trail.statements[0].Written, &rewrite.Error{Error: tooManyPrepared}, out)
			return
		}
		kept = nil
	}
	e.expect(asks[s.typ], t)
	if s.typ == wire.Parse {
		out.Server.message(s.typ, string(s.name), "\x00", sql, "\x00", string(s.types))
	} else {
		out.Server.message(s.typ, sql, "\x00")
	}
	if s.typ == wire.Parse && !t.fails() {
		e.assign(&e.registers().statements, key(s.name), kept)
	}
	if s.typ == wire.Parse && t.looked() { // whether or not the client asks
		e.transmit(ownDescribed, t, appendDescribe('S', s.name), out)
	}
}

// sendAsWritten sends the held statement as the client wrote it.
func (e *Engine) sendAsWritten(out *Out) {
	h, sql := e.held, string(e.held.sql)
	t := &tracked{client: sql}
	if h.analysis != nil {
		t.deallocates = e.deallocates(h.analysis.Results())
	}
	e.held = nil
	e.send(h.statement, t, sql, out)
}

// madeBySQL returns the text of a prepared statement or a portal that none is known of: it may be one that PREPARE or
// DECLARE has made, whose rows are to be looked at.
func (e *Engine) madeBySQL(what byte, name []byte, out *Out) *tracked {
	t := &tracked{rows: &rows{results: rewrite.Results{Typed: true}}}
	e.transmit(ownDescribed, t, appendDescribe(what, name), out)
	return t
}

// appendDescribe is the message that asks for the description of a prepared statement, or a portal.
func appendDescribe(what byte, name []byte) []byte {
	frame := append(wire.Begin(nil, wire.Describe), what)
	return wire.End(append(append(frame, name...), 0), 0)
}
