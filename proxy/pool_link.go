package proxy

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// What is said to a server connection between two clients. What a login does with one is in login_pool.go.

// resetSQL returns the statements that reset a session. They leave nothing of a client but its data, and what it has made
// the server's process remember outside of SQL. A role that ALTER DATABASE or ALTER ROLE sets at each login has to stay:
// DISCARD ALL takes it away in servers before 14.14, 15.9, 16.5 and 17.1, and RESET ROLE brings it back.
func (l *lease) resetSQL() []string {
	sql := []string{"DISCARD ALL", "RESET ROLE"}
	if l.roleless {
		return sql[:1]
	}
	return sql
}

// reset resets the session on the connection. The server must be at rest, outside of a transaction.
func (p *parked) reset() error {
	if err := p.link.SetDeadline(time.Now().Add(lastWords)); err != nil {
		return err
	}
	_, err := p.converse(p.resetSQL()...)
	return err
}

// settle parks a connection after its reset, or closes it where that has failed.
func (p *parked) settle(err error) {
	if err != nil {
		p.pool.log.Warn("a server connection could not be reset", zap.String("database", p.database), zap.Error(err))
		p.close()
		return
	}
	p.pool.put(p)
}

// checkSQL asks for the session's user, whether it could log in here now, the role that was set at the login, and what is
// set of the parameters that the server reports.
func (p *parked) checkSQL() string {
	var b strings.Builder
	b.WriteString("SELECT session_user, (r.rolcanlogin AND d.datallowconn AND " +
		"pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT'))::pg_catalog.text, pg_catalog.current_setting('role')")
	for _, name := range p.reported {
		b.WriteString(", pg_catalog.current_setting(" + scope.QuoteLiteral(name) + ")")
	}
	b.WriteString(" FROM pg_catalog.pg_roles r, pg_catalog.pg_database d WHERE r.rolname OPERATOR(pg_catalog.=) session_user " +
		"AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()")
	return b.String()
}

// check makes sure that the role may log in, by asking, or by an answer that is recent enough if the server has sent
// nothing since. After an error the connection must not be used.
func (p *parked) check(ctx context.Context, deadline time.Time) error {
	now, doubt := time.Now(), p.pool.doubts.Load()
	if now.Sub(p.checked.at) < p.pool.o.Check && p.checked.doubt == doubt {
		if c, ok := p.link.Conn.(interface{ quiet() bool }); ok && c.quiet() {
			return nil
		}
	}
	if err := p.link.SetDeadline(deadline); err != nil {
		return err
	}
	defer interruptWith(ctx, p.link)()
	rows, err := p.converse(p.checkSQL())
	if err != nil {
		return err
	}
	const asked = 3 // beside the parameters
	if len(rows) != 1 || len(rows[0]) != asked+len(p.reported) {
		return errors.New("the role is gone")
	}
	row := rows[0]
	if scope.Cluster(row[0]) != p.user || string(row[1]) != "true" {
		return errors.New("the role may not log in any more")
	}
	p.roleless = string(row[2]) == "none"
	p.checked = checked{at: now, doubt: doubt}
	p.checked.rest, p.checked.kind = p.beginning(row[asked:])
	return nil
}

// beginning returns what the server would send behind AuthenticationOk if its reported
// parameters had these values, and its kind.
func (p *parked) beginning(values [][]byte) (rest []byte, kind serverKind) {
	for i, name := range p.reported {
		value := string(values[i])
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
	if p.cancel != "" {
		rest = append(wire.AppendHeader(rest, wire.BackendKeyData, len(p.cancel)), p.cancel...)
	}
	return append(wire.AppendHeader(rest, wire.ReadyForQuery, 1), wire.TxIdle), kind
}

// converse runs statements, each by itself, and returns their rows. The first error of the server's is the error; so is
// anything that leaves the connection other than at rest.
func (p *parked) converse(statements ...string) (rows [][][]byte, err error) {
	var t talk
	if _, err := p.link.Write(t.ask(statements...)); err != nil {
		return nil, err
	}
	for buf := make([]byte, commonConverse); !t.over(); {
		n, err := p.link.Read(buf)
		if err != nil {
			return nil, err
		}
		if err := t.take(buf[:n]); err != nil {
			return nil, err
		}
	}
	return t.rows, nil
}

// close ends the connection.
func (p *parked) close() {
	p.terminate()
	_ = p.link.Close()
}

// terminate tells the server to end the connection.
func (p *parked) terminate() {
	_ = p.link.SetDeadline(time.Now().Add(lastWords)) // where it is broken, the server knows
	_, _ = p.link.Write(wire.AppendHeader(nil, wire.Terminate, 0))
}

// park implements owner. The client has left the server's connection at rest.
func (s *session) park(server net.Conn) *parked {
	if server != net.Conn(s.link) {
		s.link.Conn = server // an event loop had it
	}
	e := s.relay.engine
	return &parked{
		lease: *s.lease, pool: s.server.pool, link: s.link, user: s.place.user, version: s.version,
		cancel: e.CancelKey(),
	}
}

// keep parks the server's connection where the client has ended the session and left it at
// rest, and reports whether it did.
func (r *relay) keep() bool {
	if !r.engine.Kept() || r.end.side != byClient || r.end.err != nil {
		return false
	}
	p := r.park(r.server)
	p.settle(p.reset())
	return true
}
