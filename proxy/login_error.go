package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// loginError says why a login has failed. The client has been told already, as far as it may know.
type loginError struct {
	side      side
	sqlstate  string // of the error that the client was sent; empty where it was sent none
	candidate int    // which of the user's names the server was asked for last; -1 for none
	cause     error  // for the log: it may hold addresses and cluster names
	left      bool   // nothing was wrong: the client has left
}

func (e *loginError) Error() string { return fmt.Sprintf("%s: %v", e.side, e.cause) }
func (e *loginError) Unwrap() error { return e.cause }

// unauthorized reports whether a login fails by who the client is, or says to be.
func unauthorized(sqlstate string) bool {
	return sqlstate == codeInvalidPassword || sqlstate == scope.CodeInvalidAuthorization
}

// clientGone is the error of a client that has left: port scans and health checks do, and psql
// when it has to ask for a password.
func clientGone(cause error) error {
	return &loginError{side: byClient, candidate: -1, cause: cause, left: true}
}

// unanswered is the error of a connection that gets no answer: what it sent is not the protocol, or it has gone.
func unanswered(cause error) error {
	var broken net.Error // an exceeded deadline is one too
	gone := errors.Is(cause, io.EOF) || errors.Is(cause, io.ErrUnexpectedEOF) || errors.Is(cause, context.Canceled) || errors.As(cause, &broken)
	return &loginError{side: byClient, candidate: -1, cause: cause, left: gone}
}

// turnAway tells the client a fatal error of the proxy's own. before is sent ahead of it, in the same write.
func (v *visitor) turnAway(before []byte, e *scope.Error) *loginError {
	v.failing(e.Code)
	err := v.lastWords(wire.AppendError(before, wire.Fields{
		Severity: wire.SeverityFatal, Code: e.Code, Message: e.Message, Detail: e.Detail, Hint: e.Hint,
	}))
	return &loginError{side: byClient, sqlstate: e.Code, candidate: -1, cause: errors.Join(e, err)}
}

// lastWords sends the client of a login that has failed frames that say why. The time for the login may be over.
func (v *visitor) lastWords(frames []byte) error {
	_ = v.conn.SetWriteDeadline(time.Now().Add(lastWords)) // fails where nobody can be told
	_, err := v.conn.Write(frames)
	return err
}

// stopped tells a client that it is because the proxy stops that its login has failed, where that is so and nobody has
// told it anything. It returns the error of the login.
func (v *visitor) stopped(ctx context.Context, err error) error {
	var failed *loginError
	if !errors.Is(ctx.Err(), context.Canceled) || errors.As(err, &failed) && failed.sqlstate != "" {
		return err
	}
	told := v.turnAway(nil, stopping())
	told.side, told.cause = byShutdown, err
	return told
}

// failing counts the login as failed, by the SQLSTATE that the client is about to be told.
func (v *visitor) failing(sqlstate string) {
	if v.onFailure != nil {
		v.onFailure(sqlstate)
	}
}

// notInTime is what a client is told whose server has not let the session begin while there was time for it.
func notInTime() *scope.Error {
	return &scope.Error{
		Code: scope.CodeConnectionFailure, Message: "the server did not answer in time",
		Hint: "login-timeout of the proxy sets how long a login may take. Try again.",
	}
}

// stopping is what a client is told of the end of its session, or of its login, when the proxy stops.
func stopping() *scope.Error {
	return &scope.Error{Code: scope.CodeAdminShutdown, Message: "terminating connection due to administrator command"}
}
