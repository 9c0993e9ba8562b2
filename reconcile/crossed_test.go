package reconcile

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Another session has granted on the table that this one is about to grant on, in a transaction that ends while this one
// waits: the server says "tuple concurrently updated", and the change is made all the same, with those before it.
func TestCrossed(t *testing.T) {
	for _, partial := range []bool{false, true} {
		t.Run(fmt.Sprintf("partial %v", partial), func(t *testing.T) {
			b := newBench(t, "rec_crossed")
			b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int); CREATE TABLE app.u (id int)`)
			other, err := b.connect("postgres")(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Close(t.Context()) }() // rolls back what the test left open
			if err := run(t.Context(), other, "CREATE ROLE rec_crossed_other; BEGIN; GRANT SELECT ON app.u TO rec_crossed_other"); err != nil {
				t.Fatal(err)
			}
			o := b.options(b.manifest(`roles: [{name: reader}]
grants:
  - {role: reader, privileges: [SELECT], object: {type: table, schema: app, name: t}}
  - {role: reader, privileges: [SELECT, INSERT], object: {type: table, schema: app, name: u}}
`))
			o.Partial = partial
			done := make(chan error, 1)
			go func() { _, err := Run(t.Context(), o); done <- err }()
			b.Await(t, `EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'rec_crossed' AND wait_event_type = 'Lock' AND query LIKE 'GRANT%')`)
			if err := run(t.Context(), other, "COMMIT"); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			b.settled(o)
			if got := b.sql(`SELECT has_table_privilege('rec_crossed_reader', 'app.u', 'INSERT'), has_table_privilege('rec_crossed_other', 'app.u', 'SELECT')`); got != "t|t\n" {
				t.Errorf("what both have granted: %s", got)
			}
		})
	}
}

func TestPassing(t *testing.T) {
	for _, e := range []struct {
		code, message    string
		passing, crossed bool
	}{
		{"XX000", "tuple concurrently updated", true, true},
		{"XX000", "tuple concurrently deleted", true, true},
		{"XX000", "cache lookup failed for relation 1", true, false},
		{"XX000", "unexpected chunk number", false, false},
		{"40P01", "deadlock detected", true, true},
		{"55P03", "canceling statement due to lock timeout", true, false},
		{"42P01", "relation does not exist", true, false},
		{"42501", "permission denied", false, false},
	} {
		err := fmt.Errorf("within: %w", &pgconn.PgError{Code: e.code, Message: e.message})
		if passing(err) != e.passing || crossed(err) != e.crossed {
			t.Errorf("%s %s: passing %v, crossed %v", e.code, e.message, passing(err), crossed(err))
		}
	}
	if err := errors.New("tuple concurrently updated"); passing(err) || crossed(err) {
		t.Error("what the server has not said")
	}
}
