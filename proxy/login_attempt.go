package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// loginAttempt is a connection to the server that asks for one of the names.
type loginAttempt struct {
	server    *serverLink
	said      *bufio.Reader // what the server says; nil where it was asked for nothing
	candidate int
	user      scope.Cluster
	version   wire.Version // as negotiated so far
	notices   [][]byte     // that came before the answer
	answer    loginAnswer
	stop      func() bool // of interruptWith
}

// loginAnswer is what a server says when it is its turn: a request, AuthenticationOk, or an error.
type loginAnswer struct {
	frame   []byte
	code    uint32 // of a request
	after   []byte // the frame that follows AuthenticationOk, and others after begin
	refused string // SQLSTATE, where frame or after is an error
}

// refusal returns the error of an answer that is one.
func (a loginAnswer) refusal() []byte {
	if a.after != nil {
		return a.after
	}
	return a.frame
}

// checkedFurther reports whether the server has come further with this refusal than with the other. It looks whether a
// role exists before it looks whether that may log in, and has one SQLSTATE for both (InitializeSessionUserId,
// src/backend/utils/init/miscinit.c); so the line tells that the name is not a wrong guess.
func (a loginAnswer) checkedFurther(than loginAnswer) bool {
	if !bytes.Equal(wire.Field(a.refusal(), 'R'), wire.Field(than.refusal(), 'R')) {
		return true // of two functions of the server: the later one
	}
	line, err := strconv.Atoi(string(wire.Field(a.refusal(), 'L')))
	other, err2 := strconv.Atoi(string(wire.Field(than.refusal(), 'L')))
	return err != nil || err2 != nil || line >= other
}

// repeatable reports whether another name can still be chosen: what the client answers does not
// depend on the name or on the connection.
func (a loginAnswer) repeatable() bool {
	return a.code == wire.AuthOk || a.code == wire.AuthCleartextPassword
}

// open connects to the server, asks it for a candidate, and waits for the first answer.
func (l *loginRelay) open(ctx context.Context, candidate int) (*loginAttempt, error) {
	packet, err := wire.AppendStartup(nil, l.startup(l.names.candidates[candidate]))
	if err != nil { // the strings come from a packet, or are the proxy's own: none holds a NUL
		return nil, l.visitor.turnAway(nil, &scope.Error{
			Code: scope.CodeProgramLimitExceeded, Message: "startup packet is too long",
			Detail: fmt.Sprintf("With what the proxy adds, it would have more than %d bytes.", wire.MaxStartup),
		})
	}
	from, to, ok := 0, len(l.upstream.entries), true
	var last *loginAttempt // its refusal stands if the next entry cannot be reached
	for ok {
		link, err := l.upstream.dialAny(ctx, from, to)
		if err != nil {
			if last != nil {
				return last, nil
			}
			return nil, l.fail(candidate, err)
		}
		if last != nil {
			last.close()
		}
		a := l.attempt(ctx, link, candidate)
		if err := a.start(l.visitor, packet); err != nil {
			return nil, l.abandon(a, err)
		}
		last = a
		if a.answer.after != nil {
			break
		}
		from, to, ok = l.upstream.retry(link, a.answer.refused)
	}
	return last, nil
}

func (l *loginRelay) attempt(ctx context.Context, link *serverLink, candidate int) *loginAttempt {
	return &loginAttempt{
		server: link, said: bufio.NewReaderSize(link, commonLogin), candidate: candidate, user: l.names.candidates[candidate], version: l.version, stop: interruptWith(ctx, link),
	}
}

// commonLogin is what a server usually says in a login, in bytes: one read gets it all.
const commonLogin = 1 << 10

// unread returns what was read of the server behind the answer.
func (a *loginAttempt) unread() []byte {
	if a.said == nil {
		return nil
	}
	said, _ := a.said.Peek(a.said.Buffered()) // does not fail: that many are there
	return said
}

// start sends the startup packet.
func (a *loginAttempt) start(v *visitor, packet []byte) error {
	if err := a.server.SetDeadline(v.deadline); err != nil {
		return err
	}
	return a.reply(packet)
}

// reply sends a frame to the server and waits for the answer. A server that does not take it may have said why: so a
// failed write is not looked at before the answer.
func (a *loginAttempt) reply(frame []byte) error {
	_, failed := a.server.Write(frame)
	if err := a.next(); err != nil {
		return errors.Join(failed, err)
	}
	return nil
}

// next reads the server's next answer, and what comes before it.
func (a *loginAttempt) next() error {
	for range loginRounds {
		frame, err := wire.ReadFrame(a.said, wire.MaxAuthToken)
		if err != nil {
			return err
		}
		switch frame[0] {
		case wire.NoticeResponse:
			a.notices = append(a.notices, frame)
		case wire.NegotiateProtocolVersion:
			if err := a.negotiate(wire.Body(frame)); err != nil {
				return err
			}
		case wire.ErrorResponse:
			a.answer = loginAnswer{frame: frame, refused: sqlstateOf(frame)}
			return nil
		case wire.Authentication:
			return a.request(frame)
		default:
			return a.serverBroke(fmt.Sprintf("message of type %q during the login", frame[0]))
		}
	}
	return a.serverBroke("authentication does not come to an end")
}

// request reads an Authentication message, and with AuthenticationOk what follows it: the server sends both at once, and
// with trust authentication an error there is the first that it says of a role that does not exist.
func (a *loginAttempt) request(frame []byte) error {
	body := wire.Body(frame)
	if len(body) < 4 {
		return a.serverBroke("authentication request without a code")
	}
	a.answer = loginAnswer{frame: frame, code: binary.BigEndian.Uint32(body)}
	if a.answer.code != wire.AuthOk {
		return nil
	}
	after, err := wire.ReadFrame(a.said, wire.MaxAuthToken)
	if err != nil {
		return err
	}
	a.answer.after = after
	if after[0] == wire.ErrorResponse {
		a.answer.refused = sqlstateOf(after)
	}
	return nil
}

// negotiate reads the server's NegotiateProtocolVersion. The names of options in it are not looked at: none were sent.
func (a *loginAttempt) negotiate(body []byte) error {
	if len(body) < 8 {
		return a.serverBroke("NegotiateProtocolVersion message is too short")
	}
	v := wire.Version(binary.BigEndian.Uint32(body))
	if v.Major() != a.version.Major() || v > a.version {
		return a.serverBroke(fmt.Sprintf("server offers protocol %v where %v was asked for", v, a.version))
	}
	a.version = v
	return nil
}

func (a *loginAttempt) serverBroke(what string) error {
	return &scope.Error{Code: scope.CodeProtocolViolation, Message: "the server broke the protocol: " + what}
}

func (a *loginAttempt) close() {
	a.stop()
	_ = a.server.Close() // an attempt that is given up: nothing that was written matters
}

// sqlstateOf returns the SQLSTATE of an error; one without is an internal error.
func sqlstateOf(frame []byte) string {
	if code := wire.Field(frame, 'C'); len(code) > 0 {
		return string(code)
	}
	const internalError = "XX000"
	return internalError
}
