package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/scope"
)

// applier carries out a plan.
type applier struct {
	Options
	conn   *pgconn.PgConn
	extent Extent
	report *Report
	failed []error // what a partial run has left out
}

// apply makes all changes, stage by stage. Of a partial run the error tells which it did not.
func (a *applier) apply(ctx context.Context) error {
	plan := a.report.Plan
	defer func() { slices.Reverse(a.report.Undo) }() // also of what was done before an error
	if err := a.leave(plan.possible()); err != nil {
		return err
	}
	byStage := make(map[stage][]Change)
	for _, c := range plan.Changes {
		byStage[steps[c.Step].stage] = append(byStage[steps[c.Step].stage], c)
	}
	for _, s := range []stage{inMain, inNone, inDatabase, inLast} {
		if err := a.stage(ctx, s, byStage[s]); err != nil {
			return err
		}
	}
	return errors.Join(a.failed...)
}

func (a *applier) stage(ctx context.Context, s stage, changes []Change) error {
	switch s {
	case inMain:
		if onlyEnrols(changes) && len(changes) == len(a.report.Plan.Changes) {
			return a.adopt(ctx, changes)
		}
		return a.transaction(ctx, a.conn, changes, nil)
	case inNone:
		for _, c := range changes {
			if err := a.leave(a.alone(ctx, c)); err != nil {
				return err
			}
		}
		return nil
	case inDatabase:
		return a.databases(ctx, changes)
	default:
		return a.transaction(ctx, a.conn, changes, nil)
	}
}

// databases makes changes in each database that they are for, in one transaction each.
func (a *applier) databases(ctx context.Context, changes []Change) error {
	var order []string
	byName := make(map[string][]Change)
	for _, c := range changes {
		if byName[c.Database] == nil {
			order = append(order, c.Database)
		}
		byName[c.Database] = append(byName[c.Database], c)
	}
	for _, name := range order {
		if err := a.leave(a.database(ctx, name, byName[name])); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) database(ctx context.Context, name string, changes []Change) (err error) {
	conn := a.conn
	if name != "" {
		if conn, err = a.Connect(ctx, name); err != nil {
			return fmt.Errorf("database %q: %w", name, err)
		}
		defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	}
	return a.transaction(ctx, conn, changes, nil)
}

// transaction makes changes in one transaction. proof, if there is one, runs before the commit.
func (a *applier) transaction(ctx context.Context, conn *pgconn.PgConn, changes []Change, proof func() error) (err error) {
	if len(changes) == 0 {
		return nil
	}
	timeout := a.LockTimeout
	if timeout == 0 {
		timeout = defaultLockTimeout
	}
	made, undo := a.report.Made, a.report.Undo
	begin := "BEGIN; SET LOCAL lock_timeout TO " + scope.QuoteLiteral(strconv.FormatInt(timeout.Milliseconds(), 10)) + "; SET LOCAL search_path TO ''; SAVEPOINT change"
	if err := run(ctx, conn, begin); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.report.Made, a.report.Undo = made, undo
			err = errors.Join(err, run(context.WithoutCancel(ctx), conn, "ROLLBACK"))
		}
	}()
	for _, c := range changes {
		if err := a.within(ctx, conn, c); err != nil {
			return err
		}
	}
	if proof != nil {
		if err := proof(); err != nil {
			return err
		}
	}
	return run(ctx, conn, "COMMIT")
}

// leave takes an error for what a partial run leaves out.
func (a *applier) leave(err error) error {
	if err == nil || !a.Partial {
		return err
	}
	a.failed = append(a.failed, err)
	return nil
}

// within makes one change in a transaction, in one round trip: the savepoint that it goes back to stands already, as one
// that is set in the same text would not be there where the text does not parse. Where another session was in its way,
// the change is tried again at once: that session has ended its transaction by then, and what the others of this one
// have done stays. A partial run goes on without the changes that the server refuses.
func (a *applier) within(ctx context.Context, conn *pgconn.PgConn, c Change) error {
	sql, err := statement(c)
	if err != nil {
		return a.leave(err)
	}
	for attempt := 1; ; attempt++ {
		err := run(ctx, conn, sql+"; RELEASE change; SAVEPOINT change")
		if err == nil {
			a.made(c)
			return nil
		}
		err = &ChangeError{c, err}
		if back := run(ctx, conn, "ROLLBACK TO change"); back != nil {
			return errors.Join(err, back)
		}
		if !crossed(err) || attempt == attempts {
			return a.leave(err)
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// alone makes one change outside of a transaction.
func (a *applier) alone(ctx context.Context, c Change) error {
	sql, err := statement(c)
	if err != nil {
		return err
	}
	if err := run(ctx, a.conn, sql); err != nil {
		return &ChangeError{c, err}
	}
	a.made(c)
	return nil
}

// statement is what makes a change. A password leaves this process as its verifier only.
func statement(c Change) (string, error) {
	if c.password == nil {
		return c.SQL, nil
	}
	password, err := secret(c.password)
	if err != nil {
		return "", &ChangeError{c, err}
	}
	v, err := newVerifier(password)
	if err != nil {
		return "", &ChangeError{c, err}
	}
	return alterRole(c.role, "PASSWORD "+scope.QuoteLiteral(v)), nil
}

// made notes a change, and how to take it back.
func (a *applier) made(c Change) {
	a.report.Made = append(a.report.Made, c)
	if c.Undo != "" {
		a.report.Undo = append(a.report.Undo, c.Undo)
	} else {
		a.report.Undo = append(a.report.Undo, scope.OneLine("-- cannot be taken back: "+c.Step.String()+" "+scope.QuoteIdent(c.Subject)))
	}
	if a.Progress != nil {
		a.Progress(len(a.report.Made), len(a.report.Plan.Changes))
	}
}

func onlyEnrols(changes []Change) bool {
	return !slices.ContainsFunc(changes, func(c Change) bool {
		return c.Step != Enrol && c.Step != EnrolRole && c.Step != EnrolSchema
	})
}

// adopt makes roles the database's own, and proves before the commit that this gives and takes nobody anything.
func (a *applier) adopt(ctx context.Context, changes []Change) error {
	if len(changes) == 0 {
		return nil
	}
	extent := a.extent
	extent.All, extent.Passwords = true, nil
	before, err := Observe(ctx, a.conn, extent)
	if err != nil {
		return err
	}
	return a.transaction(ctx, a.conn, changes, func() error {
		after, err := observe(ctx, a.conn, extent)
		if err != nil {
			return err
		}
		a.report.Proof, err = prove(before, after)
		return err
	})
}
