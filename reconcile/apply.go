package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	// stopped are the roles whose retirement is not gone on with: no step is taken after one that failed.
	stopped    map[scope.Cluster]bool
	rehearsing bool // what is done is taken back
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
	if err := a.stage(ctx, inMain, byStage[inMain]); err != nil {
		return err
	}
	if err := a.rehearse(ctx, byStage[inDatabase]); err != nil {
		return err
	}
	for _, s := range []stage{inShut, inNone, inDatabase, inLast} {
		if err := a.stage(ctx, s, byStage[s]); err != nil {
			return err
		}
	}
	return errors.Join(a.failed...)
}

// rehearse finds out what the server would refuse of what roles that go have in databases, before they lose anything:
// it makes the changes, and takes them back.
func (a *applier) rehearse(ctx context.Context, changes []Change) error {
	a.rehearsing = true
	defer func() { a.rehearsing = false }()
	return a.databases(ctx, changes)
}

func (a *applier) stage(ctx context.Context, s stage, changes []Change) error {
	switch {
	case s == inMain && onlyEnrols(changes) && len(changes) == len(a.report.Plan.Changes):
		return a.adopt(ctx, changes)
	case s == inNone:
		for _, c := range changes {
			if a.stopped[c.retires] {
				continue
			}
			if err := a.leave(a.alone(ctx, c), c); err != nil {
				return err
			}
		}
		return nil
	case s == inDatabase:
		return a.databases(ctx, changes)
	default: // inMain, inShut, inLast
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
		changes := a.goOn(byName[name])
		if len(changes) == 0 {
			continue
		}
		if err := a.leave(a.database(ctx, name, changes), changes...); err != nil {
			return err
		}
	}
	return nil
}

// goOn returns the changes but for those of retirements that are stopped.
func (a *applier) goOn(changes []Change) []Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return a.stopped[c.retires] })
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
			err = errors.Join(err, rollBack(ctx, conn))
		}
	}()
	for rest := changes; len(rest) > 0; {
		n := together(rest)
		if err := a.within(ctx, conn, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if proof != nil {
		if err := proof(); err != nil {
			return err
		}
	}
	if a.rehearsing {
		a.report.Made, a.report.Undo = made, undo
		return run(ctx, conn, "ROLLBACK")
	}
	return run(ctx, conn, "COMMIT")
}

// leave takes an error for what a partial run leaves out, and with that what comes after the changes that failed.
func (a *applier) leave(err error, failed ...Change) error {
	if err == nil || !a.Partial {
		return err
	}
	a.failed = append(a.failed, err)
	for _, c := range failed {
		if c.retires != "" {
			a.stopped[c.retires] = true
		}
	}
	return nil
}

// Changes go to the server together, but not too many, and none behind one that takes its time: someone may watch.
const (
	maxTogether = 100
	manyRights  = 1000
)

// together returns how many of the changes go next. A password goes by itself: where a text fails, the server's log has
// all of it.
func together(changes []Change) int {
	rights := 0
	for i, c := range changes {
		switch rights += c.Rights; {
		case c.password != nil:
			return max(1, i)
		case rights >= manyRights || i+1 == maxTogether:
			return i + 1
		}
	}
	return len(changes)
}

// keep ends a text that is to stay when a later one fails, which goes back. The savepoint stands before a text: one that
// is set in it would not be there where it does not parse.
const (
	keep   = "; RELEASE change; SAVEPOINT change"
	goBack = "ROLLBACK TO change"
)

// within makes changes in a transaction, all in one text. Where that fails, each has a text of its own, to see which is
// to blame.
func (a *applier) within(ctx context.Context, conn *pgconn.PgConn, changes []Change) error {
	changes = a.goOn(changes)
	if len(changes) > 1 {
		list := make([]string, len(changes)) // without passwords
		for i, c := range changes {
			list[i] = c.SQL
		}
		err := run(ctx, conn, strings.Join(list, "; ")+keep)
		if err == nil {
			a.made(changes...)
			return nil
		}
		if conn.IsClosed() {
			return err
		}
		if back := run(ctx, conn, goBack); back != nil {
			return errors.Join(err, back)
		}
	}
	for _, c := range changes {
		if a.stopped[c.retires] { // by one before it
			continue
		}
		if err := a.one(ctx, conn, c); err != nil {
			return err
		}
	}
	return nil
}

// one makes one change in a transaction. Where another session was in its way, the change is tried again at once: that
// session has ended its transaction by then, and what the others of this one have done stays. A partial run goes on
// without the changes that the server refuses.
func (a *applier) one(ctx context.Context, conn *pgconn.PgConn, c Change) error {
	sql, err := statement(c)
	if err != nil {
		return a.leave(err, c)
	}
	for attempt := 1; ; attempt++ {
		err := run(ctx, conn, sql+keep)
		if err == nil {
			a.made(c)
			return nil
		}
		err = &ChangeError{c, err}
		if conn.IsClosed() {
			return err
		}
		if back := run(ctx, conn, goBack); back != nil {
			return errors.Join(err, back)
		}
		if a.rehearsing && passing(err) { // a session that will be ended, it may be
			return nil
		}
		if !crossed(err) || attempt == attempts {
			return a.leave(err, c)
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
	v, err := newVerifier(password, c.rounds)
	if err != nil {
		return "", &ChangeError{c, err}
	}
	return alterRole(c.role, "PASSWORD "+scope.QuoteLiteral(v)), nil
}

// made notes changes, and how to take them back.
func (a *applier) made(changes ...Change) {
	a.report.Made = append(a.report.Made, changes...)
	if a.Undo {
		for _, c := range changes {
			a.report.Undo = append(a.report.Undo, cmp.Or(c.Undo, scope.OneLine("-- cannot be taken back: "+c.Step.String()+" "+scope.QuoteIdent(c.Subject))))
		}
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
