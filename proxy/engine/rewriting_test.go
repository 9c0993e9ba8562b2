package engine

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestWhatIsRemembered: texts that may be said again and again, unless they are long, or become so.
func TestWhatIsRemembered(t *testing.T) {
	for _, c := range []struct {
		sql  string
		want int
	}{
		{"SELECT session_user", 1},
		{"SELECT session_user -- " + strings.Repeat("x", maxRecurring), 0},
		{"SELECT " + strings.Repeat("session_user||", 500) + "''", 0},
		{"SELECT session_user, '; CREATE ROLE x'", 0}, // it could be a role statement, with a password
	} {
		b := newBook()
		s := newTestSession(t, b)
		s.client(&pgproto3.Query{String: c.sql})
		if got := b.known.cache.Len(); got != c.want {
			t.Errorf("%.40s: %d are remembered, want %d", c.sql, got, c.want)
		}
	}
}
