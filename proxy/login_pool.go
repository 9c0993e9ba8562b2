package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// What a login has of the pool: a server connection that another client has left, or room for a new one.

// authenticationOk is the server's message. It is not changed.
var authenticationOk = binary.BigEndian.AppendUint32(wire.AppendHeader(nil, wire.Authentication, 4), wire.AuthOk)

// reuse lets the client go on with a server connection that another has left; nil where there is none.
func (l *loginRelay) reuse(ctx context.Context) *loginAttempt {
	if l.pool == nil || l.proof == nil || len(l.names.candidates) != 1 {
		return nil
	}
	key, err := appendLeaseKey(nil, l.startup(l.names.candidates[0]), l.proof.method)
	if err != nil { // open says why
		return nil
	}
	for c := l.pool.take(key); c != nil; c = l.pool.take(key) {
		c.link.Conn = adopt(ctx, c.link.Conn)
		err := c.check(ctx, time.Now().Add(answerWithin(ctx)))
		if errors.Is(err, os.ErrDeadlineExceeded) { // packets get lost, and so will those of older connections
			l.pool.drop(func(*parked) bool { return true })
		}
		if err == nil {
			err = c.link.SetDeadline(l.visitor.deadline)
		}
		if err != nil || l.upstream.target != nil && !l.upstream.target.fits(c.checked.kind) {
			c.close()
			continue
		}
		l.pool.reused.Inc()
		l.lease = &c.lease
		return &loginAttempt{
			server: c.link, user: l.names.candidates[0], version: c.version, stop: func() bool { return ctx.Err() == nil },
			answer: loginAnswer{frame: authenticationOk, code: wire.AuthOk, after: slices.Clip(c.checked.rest)},
		}
	}
	l.lease = &lease{key: string(key), database: l.visitor.database(), began: time.Now()}
	return nil
}

// makeRoom closes idle connections of the pool, once, after the server has refused an attempt for want of connections. It
// reports whether another attempt is worth making; it is not where the client would have to authenticate itself again.
func (l *loginRelay) makeRoom(ctx context.Context, a *loginAttempt) (made bool) {
	if l.pool == nil || l.madeRoom || l.visitor.asked && l.proof == nil {
		return false
	}
	l.madeRoom = true
	offLoop(ctx, func(context.Context) { made = l.pool.makeRoom(a.user, l.visitor.database()) })
	if made {
		_, _ = io.Copy(io.Discard, a.said) // the refused server process counts as well, until it has ended
	}
	return made
}
