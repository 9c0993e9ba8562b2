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

// notEnrolled says that a marker that a statement needs cannot be made in the client's session.
func notEnrolled(db scope.Database, schemas []scope.Schema) scope.Error {
	whose, marker, what := fmt.Sprintf(`database "%s"`, db.Name), db.Marker, "database"
	if db.Enrolled {
		whose, marker, what = fmt.Sprintf(`schema "%s"`, schemas[0].Name), schemas[0].Marker, "schema"
	}
	return scope.Error{
		Code:    scope.CodeInsufficientPriv,
		Message: whose + " is not enrolled",
		Detail:  fmt.Sprintf(`A role "%s" exists, but its comment does not say that it is the marker of this %s.`, marker, what),
		Hint:    "An administrator can enrol the database: pgscope-proxy init.",
	}
}

// unsettled says that what was learned of the database was outdated each time.
func unsettled(db scope.Database) scope.Error {
	return scope.Error{
		Code:    scope.CodeSerializationFailure,
		Message: fmt.Sprintf(`the roles of database "%s" are being moved`, db.Name),
		Hint:    "Try again.",
	}
}

// tooManyCandidates says that a text's names may stand for too many roles.
func tooManyCandidates() scope.Error {
	return scope.Error{
		Code:    scope.CodeProgramLimitExceeded,
		Message: "the names of this text may stand for too many roles",
		Detail:  fmt.Sprintf("Along the search_path there are more than %d that would have to be looked up.", maxCandidates),
		Hint:    "Send the text in parts, or set a shorter search_path.",
	}
}
