package engine

import (
	"fmt"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Error ends a session: a peer broke the protocol. Its fields are fit for the client.
type Error struct {
	Report scope.Error
	Server bool // the server did, not the client
}

func (e *Error) Error() string { return e.Report.Message }

func protocolViolation(what string, typ byte) error {
	return &Error{Report: scope.Error{
		Code:    scope.CodeProtocolViolation,
		Message: fmt.Sprintf("%s in a message of type %q", what, typ),
	}}
}

func serverViolation(what string, typ byte) error {
	return &Error{Server: true, Report: scope.Error{
		Code:    scope.CodeProtocolViolation,
		Message: fmt.Sprintf("%s in a message of type %q from the server", what, typ),
	}}
}
