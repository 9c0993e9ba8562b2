package proxy

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// maxBeginning bounds what a server says before it is ready, in bytes. It is a few kilobytes.
const maxBeginning = 1 << 20

// settle checks that a server that has let the client in is of the kind that the connection string asks
// for, and if not, goes on to the next host. settled is false where the attempt that it returns has an
// answer that is still to be looked at.
func (l *loginRelay) settle(ctx context.Context, a *loginAttempt) (_ *loginAttempt, settled bool, err error) {
	want := l.upstream.target
	if want == nil {
		return a, true, nil
	}
	kind, err := a.begin()
	if err != nil {
		return nil, false, l.abandon(a, err)
	}
	l.upstream.kinds.learn(l.upstream.entries[a.server.entry].address, kind.standby)
	if want.fits(kind) {
		return a, true, nil
	}
	next := l.upstream.hostEnd(a.server.entry)
	if !l.visitor.asked || l.proof != nil { // else the client would have to authenticate itself twice
		if b := l.openAt(ctx, a, next); b != nil {
			a.close()
			return b, false, nil
		}
	}
	if want.prefer {
		return a, true, nil
	}
	a.close()
	refused := l.visitor.turnAway(l.out, &scope.Error{
		Code: scope.CodeCannotConnect, Message: want.mismatch,
		Hint: "Of the server's hosts, none is known that the proxy's upstream setting asks for. Connect again.",
	})
	refused.side, refused.candidate = byServer, a.candidate
	refused.cause = fmt.Errorf("%v: %s", l.upstream.entries[a.server.entry], want.mismatch)
	return nil, false, refused
}

// openAt makes an attempt like a at one of the hosts from an entry on; nil where none lets it try.
func (l *loginRelay) openAt(ctx context.Context, a *loginAttempt, from int) *loginAttempt {
	packet, err := wire.AppendStartup(nil, l.startup(a.user))
	if err != nil { // it was sent before
		return nil
	}
	for ; from < len(l.upstream.entries); from = l.upstream.hostEnd(from) {
		link, err := l.upstream.dialAny(ctx, from, l.upstream.hostEnd(from))
		if err != nil {
			continue
		}
		b := l.attempt(ctx, link, a.candidate)
		if err := b.start(l.visitor, packet); err == nil && b.answer.refused == "" && b.version == a.version {
			return b
		}
		b.close()
	}
	return nil
}

// begin reads what the server says until it is ready, and keeps it for the client. An error
// among that ends the session later.
func (a *loginAttempt) begin() (kind serverKind, err error) {
	for frame := a.answer.after; ; {
		switch frame[0] {
		case wire.ReadyForQuery, wire.ErrorResponse:
			return kind, nil
		case wire.ParameterStatus:
			var p pgproto3.ParameterStatus
			if err := p.Decode(wire.Body(frame)); err != nil {
				return kind, a.serverBroke(err.Error())
			}
			switch p.Name {
			case "in_hot_standby":
				kind.standby = p.Value == "on"
			case "default_transaction_read_only":
				kind.readOnly = p.Value == "on"
			}
		}
		if frame, err = wire.ReadFrame(a.said, wire.MaxAuthToken); err != nil {
			return kind, err
		}
		if len(a.answer.after)+len(frame) > maxBeginning {
			return kind, a.serverBroke("it does not get ready")
		}
		a.answer.after = append(a.answer.after, frame...)
	}
}
