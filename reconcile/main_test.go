package reconcile

import (
	"context"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// bench is a database of its own on the shared server, whose roles go with it.
type bench struct {
	*testing.T
	*pgtest.Cluster
	database string
}

func newBench(t *testing.T, database string) *bench {
	t.Helper()
	b := &bench{t, pgtest.Shared(t), database}
	t.Cleanup(func() { b.dropRoles() })
	b.CreateDatabase(t, database)
	return b
}

// dropRoles drops the roles that belong to the test: those that begin with the database's name, and its markers.
func (b *bench) dropRoles() {
	b.DropRoles(b.T, "^(pgscope_.*_)?"+b.database)
}

func (b *bench) sql(script string) string {
	b.Helper()
	return b.Psql(b.T, b.database, script)
}

// connect is as whom and where a test's reconciler works.
func (b *bench) connect(user string) func(context.Context, string) (*pgconn.PgConn, error) {
	return func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		if database == "" {
			database = b.database
		}
		return pgconn.Connect(ctx, b.DSN("user="+user, "dbname="+database))
	}
}

func (b *bench) options(d *access.Desired) Options {
	return Options{Connect: b.connect("postgres"), Desired: d, Wait: true}
}

// apply makes the database as desired.
func (b *bench) apply(o Options) Report {
	b.Helper()
	r, err := Run(b.Context(), o)
	if err != nil {
		b.Fatalf("apply: %v", err)
	}
	return r
}

func (b *bench) major() int {
	b.Helper()
	n, err := strconv.Atoi(b.Major)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// plan says what is to be done.
func (b *bench) plan(o Options) Plan {
	b.Helper()
	o.DryRun = true
	r, err := Run(b.Context(), o)
	if err != nil {
		b.Fatalf("plan: %v", err)
	}
	return r.Plan
}

// settled fails the test if anything is to be done.
func (b *bench) settled(o Options) {
	b.Helper()
	p := b.plan(o)
	for _, c := range p.Changes {
		b.Errorf("still to be done: %v\n\t%s", c, c.SQL)
	}
	for _, problem := range p.Problems {
		b.Errorf("problem: %v", problem)
	}
}

// meets runs beside somebody else's transaction, which has run the statement, and commits when the run waits for it.
// Then nothing is left to do.
func (b *bench) meets(o Options, statement string) {
	b.Helper()
	other, err := o.Connect(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = other.Close(b.Context()) }()
	if err := run(b.Context(), other, "BEGIN; "+statement); err != nil {
		b.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := Run(b.Context(), o)
		done <- err
	}()
	b.Await(b, `EXISTS (SELECT FROM pg_locks WHERE NOT granted)`)
	if err := run(b.Context(), other, `COMMIT`); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.settled(o)
}

func own(name string) access.Ref {
	return access.Ref{Kind: access.Own, Name: scope.Name{Role: scope.Short(name)}}
}

func role(name string) access.Role {
	return access.Role{Ref: own(name), Inherit: true, ConnectionLimit: -1}
}
