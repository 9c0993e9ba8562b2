package engine

import (
	"bytes"
	"fmt"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// frontendPlain reports whether a message of the client passes unless its own text is a reason why not.
func (e *Engine) frontendPlain() bool {
	return !e.prepared.any() && !e.fetches && e.aftermath == nil && !e.goodbye &&
		!e.pending.skipping && !e.pending.copyIn && !e.userPath.lost && !e.userPath.asked
}

// frontendNote notes the answer that such a message will have. It does not take a message that has to be read.
func (e *Engine) frontendNote(frame []byte) verdict {
	if e.pending.full() || len(frame)-wire.HeaderSize > e.cfg.MaxMessage {
		return collect
	}
	switch typ, body := frame[0], wire.Body(frame); typ {
	case wire.CopyData:
		return passes
	case wire.Query:
		if sql, rest, ok := cutString(body); !ok || len(rest) > 0 || !e.untouched(typ, sql) {
			return collect
		}
	case wire.Parse:
		if _, sql, _, ok := cutStrings(body); !ok || !e.untouched(typ, sql) {
			return collect
		}
	case wire.Bind, wire.Describe, wire.Execute, wire.Close, wire.Sync:
	default:
		return collect
	}
	e.pending.push(asks[frame[0]], nil)
	return pass
}

// frontendBegin decides what becomes of a message of the client, and notes the answer that it will have. Every message
// that a client may send is named; what is not is refused, as SocketBackend (src/backend/tcop/postgres.c) does.
func (e *Engine) frontendBegin(typ byte, size int, out *Out) (verdict, error) {
	if e.pending.full() {
		if e.crowded = true; e.pending.unsynced { // what the server has answered may still be with it
			out.Server.write(wire.AppendHeader(nil, wire.Flush, 0))
		}
		return hold, nil
	}
	if e.goodbye || e.cleaningUp() || e.keepUserPath(typ, out) {
		return hold, nil
	}
	if e.discards(typ) {
		return drop, nil
	}
	switch typ {
	case wire.Query, wire.Parse:
		if size > e.cfg.MaxMessage {
			e.refuseLong(typ, size, out)
			return drop, nil
		}
		return collect, nil
	case wire.Bind, wire.Execute, wire.Close:
		return e.beginNamed(typ, size, out)
	case wire.FunctionCall:
		if e.cfg.Mode == scope.Off && !e.switching {
			e.pending.push(readyCall, nil)
			return pass, nil
		}
		if size > e.cfg.MaxMessage {
			e.refuseLong(wire.Query, size, out)
			return drop, nil
		}
		return collect, nil
	case wire.Describe, wire.Sync, wire.CopyDone, wire.CopyFail:
		if e.pending.ignored >= maxAwaited {
			return drop, protocolViolation("too many messages in a COPY", typ)
		}
		e.pending.push(asks[typ], nil)
		return pass, nil
	case wire.CopyData:
		return passes, nil
	case wire.Flush:
		return pass, nil
	case wire.Terminate:
		e.goodbye = true
		if e.goodbyeKept = e.cfg.Keep && e.ServerRests(); e.goodbyeKept {
			return drop, nil
		}
		return pass, nil
	default: // PasswordMessage and its kin too: authentication is over
		return drop, &Error{Report: scope.Error{
			Code:    scope.CodeProtocolViolation,
			Message: fmt.Sprintf("invalid frontend message type %d", typ),
		}}
	}
}

// beginNamed is frontendBegin for the messages about a prepared statement or a portal. They need be read only where one of
// these has a text that is not the client's, or was made by SQL.
func (e *Engine) beginNamed(typ byte, size int, out *Out) (verdict, error) {
	switch {
	case !e.prepared.any() && !e.fetches:
	case size <= e.cfg.MaxMessage:
		return collect, nil // which of them it is about
	case e.registers().acts():
		e.refuseMessage(asks[typ], new(tracked), tooLong("message is too long", size, e.cfg.MaxMessage,
			"Close the prepared statements with role names, of which it could be one, or raise max-statement-size."), out)
		return drop, nil
	}
	e.pending.push(asks[typ], nil)
	if typ == wire.Bind {
		e.assign(&e.registers().portals, "", nil) // the one that drivers use
	}
	return pass, nil
}

// asks tells what answer a message of the client has.
var asks = [256]awaited{
	wire.Query:        readyQuery,
	wire.Parse:        parsed,
	wire.Bind:         bound,
	wire.Describe:     described,
	wire.Execute:      executed,
	wire.Close:        closed,
	wire.Sync:         readySync,
	wire.FunctionCall: readyCall,
	wire.CopyDone:     copyEnded,
	wire.CopyFail:     copyEnded,
}

// discarded are the messages that the server discards after an error, up to Sync (PostgresMain,
// src/backend/tcop/postgres.c). The proxy does: whether a server that had to do with a COPY still discards them, it
// cannot always tell.
var discarded = [256]bool{
	wire.Query: true, wire.Parse: true, wire.Bind: true, wire.Describe: true, wire.Execute: true, wire.Close: true, wire.FunctionCall: true,
}

// discards reports whether the server would discard a message of the client that came now.
func (e *Engine) discards(typ byte) bool {
	if !discarded[typ] {
		return false
	}
	if e.pending.copyIn && !e.pending.skipping {
		e.pending.notCopying()
	}
	return e.pending.skipping
}

// frontendWhole sees the messages that frontendBegin wanted whole.
func (e *Engine) frontendWhole(frame []byte, out *Out) (verdict, error) {
	if e.pending.skipping { // since it began
		return drop, nil
	}
	typ, body := frame[0], frame[wire.HeaderSize:]
	switch typ {
	case wire.Query:
		sql, rest, ok := cutString(body)
		if !ok || len(rest) > 0 {
			return drop, protocolViolation("invalid string", typ)
		}
		return e.statement(statement{typ: typ, sql: sql}, out)
	case wire.Parse:
		name, sql, types, ok := cutStrings(body)
		if !ok {
			return drop, protocolViolation("invalid string", typ)
		}
		return e.statement(statement{typ: typ, name: name, sql: sql, types: types}, out)
	case wire.Bind:
		return e.bind(frame, out)
	case wire.Execute:
		return e.executePortal(frame, out)
	case wire.FunctionCall:
		return e.call(body, out)
	case wire.Close:
		e.closes(body)
	}
	return pass, nil
}

// bind takes a Bind, and notes which text its portal runs.
func (e *Engine) bind(frame []byte, out *Out) (verdict, error) {
	body := frame[wire.HeaderSize:]
	portal, name, _, ok := cutStrings(body)
	if !ok {
		return drop, protocolViolation("invalid string", wire.Bind)
	}
	t, certain := e.registers().statements.get(key(name), e.pending.syncs)
	if !certain {
		return e.holdMessage(frame), nil
	}
	if t == nil && e.fetches && len(name) > 0 {
		t = e.madeBySQL('S', name, out)
	}
	t = t.bindFormats(body)
	kept := t
	if kept != nil && e.registers().portals.full(key(portal)) {
		if t.trail != nil {
			e.refuseMessage(bound, t, tooManyPrepared, out)
			return drop, nil
		}
		kept = nil
	}
	e.pending.push(bound, t)
	e.assign(&e.registers().portals, key(portal), kept)
	if mapped := e.bindRoles(t, frame); mapped != nil {
		out.Server.write(mapped)
		return drop, nil
	}
	return pass, nil
}

// closes takes a Close, and forgets what it closes.
func (e *Engine) closes(body []byte) {
	e.pending.push(closed, nil)
	if len(body) == 0 {
		return
	}
	name, _, _ := cutString(body[1:])
	switch body[0] {
	case 'S':
		e.assign(&e.registers().statements, key(name), nil)
	case 'P':
		e.assign(&e.registers().portals, key(name), nil)
	}
}

// holdMessage holds a message about a prepared statement or a portal until it is known which text that has.
func (e *Engine) holdMessage(frame []byte) verdict {
	e.held = &held{step: awaitsName, frame: bytes.Clone(frame)}
	return hold
}

// nameKnown goes on with such a message.
func (e *Engine) nameKnown(out *Out) error {
	frame := e.held.frame
	e.held = nil
	v, err := e.frontendWhole(frame, out)
	if v == pass && err == nil {
		out.Server.write(frame)
	}
	return err
}

// cutString cuts a NUL-terminated string off b.
func cutString(b []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}

// cutStrings cuts off two.
func cutStrings(b []byte) (first, second, rest []byte, ok bool) {
	first, rest, ok = cutString(b)
	if !ok {
		return nil, nil, nil, false
	}
	second, rest, ok = cutString(rest)
	return first, second, rest, ok
}
