package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// What is said to a server connection between two clients.

// resetSQL leaves nothing of a client but what it has written, and what it has made the server's process remember outside of
// SQL. A role that the database or the user sets at each login is no session's own: DISCARD ALL takes it away, and RESET ROLE
// brings it back.
var resetSQL = []string{"DISCARD ALL", "RESET ROLE"}

// reset makes the connection as new. It is to be called when the server is at rest outside of a transaction.
func (p *parked) reset() error {
	if err := p.link.SetDeadline(time.Now().Add(lastWords)); err != nil {
		return err
	}
	_, err := p.converse(resetSQL...)
	return err
}

// checkSQL asks for the session's user, whether it could log in here now, and what is set of the parameters that the
// server reports.
func (p *parked) checkSQL() string {
	var b strings.Builder
	b.WriteString("SELECT session_user, (r.rolcanlogin AND d.datallowconn AND " +
		"pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT'))::pg_catalog.text")
	for _, name := range p.reported {
		b.WriteString(", pg_catalog.current_setting(" + scope.QuoteLiteral(name) + ")")
	}
	b.WriteString(" FROM pg_catalog.pg_roles r, pg_catalog.pg_database d WHERE r.rolname OPERATOR(pg_catalog.=) session_user " +
		"AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()")
	return b.String()
}

// check returns what the server would say after AuthenticationOk if it were asked for a session now, and of which kind it is. An
// error means that the connection is not to be used.
func (p *parked) check(deadline time.Time) (rest []byte, kind serverKind, err error) {
	if err := p.link.SetDeadline(deadline); err != nil {
		return nil, kind, err
	}
	rows, err := p.converse(p.checkSQL())
	if err != nil {
		return nil, kind, err
	}
	const asked = 2 // beside the parameters
	if len(rows) != 1 || len(rows[0]) != asked+len(p.reported) {
		return nil, kind, errors.New("the role is gone")
	}
	row := rows[0]
	if scope.Cluster(row[0]) != p.user || string(row[1]) != "true" {
		return nil, kind, errors.New("the role may not log in any more")
	}
	for i, name := range p.reported {
		value := string(row[asked+i])
		switch name {
		case "in_hot_standby":
			kind.standby = value == "on"
		case "default_transaction_read_only":
			kind.readOnly = value == "on"
		}
		at := len(rest)
		rest = append(append(wire.Begin(rest, wire.ParameterStatus), name...), 0)
		rest = wire.End(append(append(rest, value...), 0), at)
	}
	if p.cancel != nil {
		rest = append(wire.AppendHeader(rest, wire.BackendKeyData, len(p.cancel)), p.cancel...)
	}
	return append(wire.AppendHeader(rest, wire.ReadyForQuery, 1), wire.TxIdle), kind, nil
}

// What the server says to a few statements of the proxy's, in bytes: at most, and as a rule.
const (
	maxConverse    = 16 << 10
	commonConverse = 2 << 10
)

// converse runs statements, each by itself, and returns their rows. The first error of the server's is the error; so is
// anything that leaves the connection other than at rest.
func (p *parked) converse(statements ...string) (rows [][][]byte, err error) {
	var out []byte
	for _, sql := range statements {
		at := len(out)
		out = wire.End(append(append(wire.Begin(out, wire.Query), sql...), 0), at)
	}
	if _, err := p.link.Write(out); err != nil {
		return nil, err
	}
	for buf := make([]byte, 0, commonConverse); len(statements) > 0; {
		h, partial, err := wire.ParseHeader(buf)
		if err != nil {
			return nil, err
		}
		if partial || len(buf) < h.Frame() {
			if len(buf) == cap(buf) {
				if cap(buf) >= maxConverse {
					return nil, fmt.Errorf("more than %d bytes for an answer", len(buf))
				}
				buf = slices.Grow(buf, maxConverse)
			}
			n, err := p.link.Read(buf[len(buf):cap(buf)])
			if err != nil {
				return nil, err
			}
			buf = buf[:len(buf)+n]
			continue
		}
		frame := buf[:h.Frame()]
		buf = buf[h.Frame():]
		switch h.Type {
		case wire.ErrorResponse:
			return nil, fmt.Errorf("%s: %s", wire.Field(frame, 'C'), wire.Field(frame, 'M'))
		case wire.DataRow:
			var row pgproto3.DataRow
			if err := row.Decode(wire.Body(frame)); err != nil {
				return nil, err
			}
			rows = append(rows, row.Values)
		case wire.ReadyForQuery:
			if h.Body != 1 || wire.Body(frame)[0] != wire.TxIdle {
				return nil, errors.New("the server is in a transaction")
			}
			if statements = statements[1:]; len(statements) == 0 && len(buf) > 0 {
				return nil, errors.New("the server says more than it was asked for")
			}
		}
	}
	return rows, nil
}

// close ends the connection.
func (p *parked) close() {
	_ = p.link.SetDeadline(time.Now().Add(lastWords)) // where it is broken, the server knows
	_, _ = p.link.Write(wire.AppendHeader(nil, wire.Terminate, 0))
	_ = p.link.Close()
}

// reuse lets the client go on with a server connection that another has left; nil where there is none.
func (l *loginRelay) reuse(ctx context.Context) *loginAttempt {
	if l.pool == nil || l.proof == nil || len(l.names.candidates) != 1 {
		return nil
	}
	packet, err := wire.AppendStartup(nil, l.startup(l.names.candidates[0]))
	if err != nil { // open says why
		return nil
	}
	l.lease = newLease(packet, l.proof.method, l.visitor.startup.Database())
	for c := l.pool.take(l.lease.key); c != nil; c = l.pool.take(l.lease.key) {
		a := l.attempt(ctx, c.link, 0)
		rest, kind, err := c.check(l.visitor.deadline)
		if err != nil || l.upstream.target != nil && l.upstream.target.otherwise(kind) != "" {
			a.stop()
			c.close()
			continue
		}
		l.pool.reused.Inc()
		l.lease.began = c.began
		a.version = c.version
		ok := binary.BigEndian.AppendUint32(wire.AppendHeader(nil, wire.Authentication, 4), wire.AuthOk)
		a.answer = loginAnswer{frame: ok, code: wire.AuthOk, after: rest}
		return a
	}
	l.lease.began = time.Now()
	return nil
}

// keep parks the server connection of a session that its client has ended, and reports whether it could.
func (x *session) keep(r *relay, in *loggedIn) bool {
	e, p := r.engine, x.server.pool
	if in.lease == nil || !e.Kept() || r.end.side != byClient || r.end.err != nil {
		return false
	}
	if r.server != net.Conn(in.server) {
		in.server.Conn = r.server // an event loop had it
	}
	c := &parked{
		lease: *in.lease, link: in.server, user: in.user, version: in.version, cancel: e.CancelKey(), reported: e.Reported(),
	}
	if err := c.reset(); err != nil {
		x.log.Warn("a server connection could not be reset", zap.Error(err))
		c.close()
		return true
	}
	p.put(c)
	return true
}
