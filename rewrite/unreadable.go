package rewrite

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pganalyze/pg_query_go/v6/parser"

	"github.com/pgscope/pgscope-proxy/scope"
)

// unreadable says why a text that may name a role is refused. parsed is what the parser has seen of it, and begins at base.
func unreadable(err error, parsed, sql string, base int, rd reading) *Error {
	failure := (*parser.Error)(nil)
	if !errors.As(err, &failure) {
		return &Error{Error: notRead(err)}
	}
	e := &Error{Error: scope.Error{Code: codeOf(failure.Message), Message: failure.Message, Hint: hintOf(failure.Message)}, Grammar: rd.depth == 0}
	if e.Code == codeSyntaxError && rd.newerServer() {
		e = &Error{Error: notRead(err)}
		e.Hint = "If the server takes the statement, send the parts that are newer than PostgreSQL 17 without role names."
	}
	if failure.Cursorpos > 0 {
		e.place = at(e.Error, sql, min(max(base+byteOffset(parsed, failure.Cursorpos), 0), len(sql))).place
	}
	return e
}

// notRead is the error for what may be right, but was not understood.
func notRead(reason any) scope.Error {
	return scope.Error{
		Code:    scope.CodeFeatureNotSupported,
		Message: "this statement could not be read, and the roles that it may name could not be mapped",
		Detail:  fmt.Sprintf("The reader of role names says: %v.", reason),
	}
}

// tooComplex refuses what would take too long to read.
func tooComplex(why string) scope.Error {
	return scope.Error{
		Code: codeTooComplex, Message: "statement is too complex to be read", Detail: why,
		Hint: "Send statements that name roles apart from others, and data by COPY or as parameters.",
	}
}

// hints are those that the server gives with messages of the grammar, by how these begin (gram.y); the parser drops them.
var hints = []struct{ message, hint string }{
	{"unrecognized row security option", "Only PERMISSIVE or RESTRICTIVE policies are supported currently."},
	{"UNENCRYPTED PASSWORD is no longer", "Remove UNENCRYPTED to store the password in encrypted form instead."},
	{"LIMIT #,# syntax is not supported", "Use separate LIMIT and OFFSET clauses."},
	{"missing argument", "Use NONE to denote the missing argument of a unary operator."},
}

func hintOf(message string) string {
	for _, h := range hints {
		if strings.HasPrefix(message, h.message) {
			return h.hint
		}
	}
	return ""
}

// codeOf returns the SQLSTATE that the server gives with a message of the grammar (gram.y).
func codeOf(message string) string {
	switch {
	case strings.HasPrefix(message, `role name "`), strings.HasSuffix(message, "cannot be used as a role name here"):
		return scope.CodeReservedName
	case strings.HasSuffix(message, "not yet implemented"), strings.HasSuffix(message, "cannot be changed"),
		strings.HasSuffix(message, "no longer supported"):
		return scope.CodeFeatureNotSupported
	default:
		return codeSyntaxError
	}
}
