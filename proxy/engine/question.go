package engine

import (
	"bytes"
	"fmt"

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

// ask puts a question to the server behind what the client has sent so far.
func (e *Engine) ask(sql string, params []string, out *Out) {
	e.question = question{sync: !e.pending.unsynced}
	e.pending.push(ownQuestion, nil)
	out.Server.write(appendQuestion(nil, sql, params, e.question.sync))
}

// asksFirst reports whether there is something to ask before the client may begin.
func (e *Engine) asksFirst() bool {
	d := e.cfg.Directory
	return d.Stale() || !d.Admitted(e.cfg.Login, e.cfg.LoginName)
}

// firstInquiry is about the roles of the database, and whose the role is that logged in.
func (e *Engine) firstInquiry() scope.Inquiry {
	db := e.cfg.Directory.Database()
	return scope.Inquiry{Database: db.Name, Names: append(db.Candidates(e.cfg.LoginName), e.cfg.Login), Own: true}
}

func (e *Engine) askDirectory(out *Out) {
	sql, params := e.firstInquiry().SQL()
	e.ask(sql, params, out)
}

// start lets the client begin when that question was answered. That the roles could not be learned is no reason to
// refuse a session: its statements ask for themselves.
func (e *Engine) start(out *Out) error {
	if e.question.failure == nil {
		view, err := e.firstInquiry().Answer(e.question.rows, e.cfg.Directory.Prefix())
		if err != nil {
			return serverViolation(err.Error(), wire.DataRow)
		}
		e.cfg.Directory.Learn(view)
		if err := e.mayLogin(view); err != nil {
			return err
		}
		e.cfg.Directory.Admit(e.cfg.Login, e.cfg.LoginName)
	}
	e.started = true
	out.Client.write(append(wire.AppendHeader(nil, wire.ReadyForQuery, 1), e.status))
	return nil
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
func appendQuestion(dst []byte, sql string, params []string, sync bool) []byte {
	values := make([][]byte, len(params))
	for i, p := range params {
		values[i] = []byte(p)
	}
	messages := []pgproto3.FrontendMessage{
		&pgproto3.Close{ObjectType: 'S', Name: questionName}, // a question that failed may have left it
		&pgproto3.Parse{Name: questionName, Query: sql},
		&pgproto3.Bind{DestinationPortal: questionName, PreparedStatement: questionName, Parameters: values},
		&pgproto3.Execute{Portal: questionName},
		&pgproto3.Close{ObjectType: 'P', Name: questionName},
		&pgproto3.Close{ObjectType: 'S', Name: questionName},
		&pgproto3.Flush{},
	}
	if sync {
		messages[len(messages)-1] = &pgproto3.Sync{}
	}
	for _, m := range messages {
		var err error
		if dst, err = m.Encode(dst); err != nil {
			panic(err) // only a statement over 1 GB cannot be encoded
		}
	}
	return dst
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
	case wire.ParseComplete, wire.BindComplete, wire.CommandComplete, wire.NoticeResponse:
	default:
		return serverViolation("unexpected answer", typ)
	}
	return nil
}
