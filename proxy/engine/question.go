package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// questionName names the prepared statement and the portal of the proxy's questions: the unnamed ones are the client's.
const questionName = "pgscope_question"

// maxAnswer bounds what an answer may take, in bytes.
const maxAnswer = 64 << 20

// question is a statement of the proxy's own in the client's session, and its answer.
type question struct {
	sync    bool // it ends in Sync; else in Flush
	speaks  bool // its notices are for the client
	rows    [][]string
	size    int
	closes  int    // CloseComplete messages seen
	failure []byte // the ErrorResponse, whole
	skipped bool   // an error before it kept the server from reading it
	done    bool
}

// ask puts a question to the server behind what the client has sent so far. It fails where the question cannot be written
// in the client's character set.
func (e *Engine) ask(sql string, params []string, out *Out) *scope.Error {
	if e.asksSimply() {
		sql, params = inline(sql, params), nil
	}
	encoded := make([]string, len(params))
	for i, p := range params {
		var err *scope.Error
		if encoded[i], err = e.encode(p); err != nil {
			return err
		}
	}
	text, err := e.encode(sql)
	if err != nil {
		return err
	}
	e.put(text, encoded, e.endOfQuestion(), out)
	return nil
}

// endOfQuestion is the message that a question ends in: Sync, but inside a pipeline Flush, since a Sync would commit the
// client's statements too early.
func (e *Engine) endOfQuestion() byte {
	if e.pending.unsynced {
		return wire.Flush
	}
	return wire.Sync
}

// tell lets the server run something of the proxy's own, of which the client hears what the server has to say. What cannot
// be written in the client's character set, the server refuses.
func (e *Engine) tell(sql string, end byte, out *Out) {
	text, err := e.encode(sql)
	if err != nil {
		text = sql
	}
	e.put(text, nil, end, out)
	e.question.speaks = true
}

// asksSimply reports whether a question goes by the simple protocol. Walsenders know no other. And behind messages of the
// extended protocol that no Sync follows, but a Query, neither end of the other one is right, as long as nothing was
// executed: a Sync would end the skipping that the server may be in, and an Execute without makes PostgreSQL 18 open an
// implicit transaction block (start_xact_command, src/backend/tcop/postgres.c) that the Query does not end. The Query
// itself is the simple protocol, and to the client's unnamed statement does no less.
func (e *Engine) asksSimply() bool {
	return e.cfg.Walsender || e.held != nil && e.held.typ == wire.Query && e.pending.unsynced && !e.pending.worked
}

// put sends a question that is in the client's character set. end is Flush where it belongs to the transaction of what the
// client sends next, else Sync.
func (e *Engine) put(sql string, params []string, end byte, out *Out) {
	simply := e.asksSimply()
	e.question = &question{sync: end == wire.Sync || simply}
	e.pending.push(ownQuestion, nil)
	if simply {
		out.Server.write(appendQuery(nil, inline(sql, params)))
	} else {
		out.Server.write(appendQuestion(nil, sql, params, end))
	}
}

// mayLogin checks that the role that logged in is the one that the name means in this database: with another database's
// roles nobody can log in here, and where the proxy had to guess, it may have guessed wrong.
func (e *Engine) mayLogin(view *scope.View) error {
	c, err := view.Login(e.cfg.LoginName)
	if err == nil && c != e.cfg.Login {
		err = &scope.Error{
			Message: fmt.Sprintf(`role "%s" of the cluster was taken for the role of that name of database "%s"`, e.cfg.LoginName, view.DB.Name),
			Hint:    "Connect again: the proxy knows the roles of the database now.",
		}
	}
	if err != nil {
		err.Code = scope.CodeInvalidAuthorization
		return &Error{Report: *err}
	}
	return nil
}

// appendQuestion appends the messages that run one statement of the proxy's own with its parameters in text format,
// ending in Sync or in Flush.
func appendQuestion(dst []byte, sql string, params []string, end byte) []byte {
	return wire.AppendHeader(appendStatement(dst, sql, params), end, 0)
}

// appendStatement appends the messages of a question but for the last.
func appendStatement(dst []byte, sql string, params []string) []byte {
	dst = appendClose(dst, 'S') // a question that failed may have left it
	at := len(dst)
	dst = append(wire.Begin(dst, wire.Parse), questionName+"\x00"...)
	dst = append(dst, sql...)
	dst = wire.End(append(dst, 0, 0, 0), at) // no parameter types

	at = len(dst)
	dst = append(wire.Begin(dst, wire.Bind), questionName+"\x00"+questionName+"\x00"...)
	dst = append(dst, 0, 0)                                       // all parameters are in text format
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(params))) //nolint:gosec // a question has a few
	for _, p := range params {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(p))) //nolint:gosec // below 1 GB
		dst = append(dst, p...)
	}
	dst = wire.End(append(dst, 0, 0), at) // and so is the result

	at = len(dst)
	dst = append(wire.Begin(dst, wire.Execute), questionName+"\x00"...)
	dst = wire.End(append(dst, 0, 0, 0, 0), at) // all rows
	return appendClose(appendClose(dst, 'P'), 'S')
}

// appendClose appends a Close of the proxy's prepared statement ('S') or portal ('P').
func appendClose(dst []byte, what byte) []byte {
	at := len(dst)
	dst = append(wire.Begin(dst, wire.Close), what)
	return wire.End(append(dst, questionName+"\x00"...), at)
}

// appendQuery is appendQuestion for the simple protocol; ReadyForQuery ends the answer.
func appendQuery(dst []byte, sql string) []byte {
	at := len(dst)
	return wire.End(append(append(wire.Begin(dst, wire.Query), sql...), 0), at)
}

// inline makes constants of a statement's parameters. The text must be encoded afterwards: in some character sets a
// character has a byte that looks like a backslash.
func inline(sql string, params []string) string {
	var pairs []string
	for i, p := range params {
		pairs = append(pairs, "$"+strconv.Itoa(i+1), scope.QuoteLiteral(p))
	}
	return strings.NewReplacer(pairs...).Replace(sql) // all in one pass: a parameter may hold what looks like another
}

// closesAsked is how many Close messages a question has.
const closesAsked = 3

// take reads one message of the answer.
func (q *question) take(frame []byte) error {
	switch typ := frame[0]; typ {
	case wire.DataRow:
		if q.size += len(frame); q.size > maxAnswer {
			return serverViolation("too much data", typ)
		}
		var row pgproto3.DataRow
		if err := row.Decode(frame[wire.HeaderSize:]); err != nil {
			return serverViolation(err.Error(), typ)
		}
		values := make([]string, len(row.Values))
		for i, v := range row.Values {
			values[i] = string(v)
		}
		q.rows = append(q.rows, values)
	case wire.ErrorResponse:
		q.failure = bytes.Clone(frame)
	case wire.CloseComplete:
		q.closes++
		q.done = !q.sync && q.closes == closesAsked
	case wire.ReadyForQuery:
		q.done = true
	case wire.ParseComplete, wire.BindComplete, wire.RowDescription, wire.CommandComplete, wire.NoticeResponse:
	default:
		return serverViolation("unexpected answer", typ)
	}
	return nil
}
