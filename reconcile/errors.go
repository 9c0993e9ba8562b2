package reconcile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// ProblemsError says why a plan was not carried out. Nothing was changed.
type ProblemsError struct{ Problems []Problem }

func (e *ProblemsError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// LeftError says that the server took all changes, and is still not as desired.
type LeftError struct{ Plan Plan }

func (e *LeftError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "applied, but %d changes are still to be made:", len(e.Plan.Changes))
	for i, c := range e.Plan.Changes {
		if i == examples {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Plan.Changes)-i)
			break
		}
		b.WriteString("\n  " + c.String())
	}
	for _, p := range e.Plan.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// ErrMoved says that the state is not the one that the plan was made for. Nothing was changed.
var ErrMoved = errors.New("the state has changed since the plan was made: make a new one")

// ChangeError is a change that the server refused. What its transaction did is undone.
type ChangeError struct {
	Change Change
	Err    error
}

func (e *ChangeError) Error() string {
	text := fmt.Sprintf("%v: %v", e.Change, e.Err)
	var server *pgconn.PgError
	if errors.As(e.Err, &server) {
		if server.Detail != "" {
			text += "\nDETAIL:  " + server.Detail
		}
		if server.Hint != "" {
			text += "\nHINT:  " + server.Hint
		}
	}
	if sql := e.Change.SQL; len(sql) > maxShown {
		return text + "\nSTATEMENT:  " + strings.ToValidUTF8(sql[:maxShown], "") + " …"
	}
	return text + "\nSTATEMENT:  " + e.Change.SQL
}

const maxShown = 1000

func (e *ChangeError) Unwrap() error { return e.Err }

// passing reports whether the same may succeed the next time: another session was in the way.
func passing(err error) bool {
	if crossed(err) {
		return true
	}
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	switch server.Code {
	case "40001", // serialization_failure
		"55P03",                                     // lock_not_available, by lock_timeout
		"3F000", "42P01", "42703", "42704", "42883", // undefined_…: what was there when it was looked at, another session has dropped
		"42710": // duplicate_object: or made
		return true
	case "XX000": // it was dropped while the statement waited for it
		return strings.HasPrefix(server.Message, "cache lookup failed for ")
	default:
		return false
	}
}

// crossed reports whether a statement failed since another session did something to the same at the same time, and has
// ended its transaction now, or can.
func crossed(err error) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	switch server.Code {
	case "40P01": // deadlock_detected
		return true
	case "XX000": // internal_error: two sessions changed the ACL of one object (simple_heap_update, src/backend/access/heap/heapam.c)
		return strings.HasPrefix(server.Message, "tuple concurrently ")
	default:
		return false
	}
}
