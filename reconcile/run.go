package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/trace"
)

// Options are what [Run] needs to know. Connect and Desired are required.
type Options struct {
	// Connect opens a connection to a database of the cluster; an empty name is the one that the desired access is
	// for.
	Connect func(ctx context.Context, database string) (*pgconn.PgConn, error)
	Desired *access.Desired
	Mode    Mode

	AsWritten bool                // names are the cluster's: see [Extent]
	Promised  map[access.Ref]bool // roles that another run makes before this one's plan is carried out

	DryRun bool   // observe and plan only
	Undo   bool   // note what takes the run back
	Expect string // the fingerprint of the plan that was agreed to; empty for any
	// Known are the passwords that are left alone where the server does not show them. Run adds those that it sets;
	// nil: all are set in every run.
	Known Passwords
	Wait  bool // wait while another process applies to the cluster; without, [Report.Standby] tells of it
	// Partial makes the changes that can be made where others cannot: the trouble of one role is not that of the
	// rest. The error then tells what was left out.
	Partial bool
	// LockTimeout is how long a statement waits for other sessions; 0 for five seconds.
	LockTimeout time.Duration
	// Progress is what a person may want to see on the way; nil for nobody.
	Progress func(done, total int)
}

// Report is what a run found and did.
type Report struct {
	Plan        Plan
	Fingerprint string   // of the state and the plan, see [Fingerprint]
	Standby     bool     // another process was applying: nothing was done
	Made        []Change // those of the plan that took effect
	Undo        []string // what takes them back, the last first; nil unless asked for
	Proof       *Proof   // of a run that only made roles members of markers

	snapshot string // of the state that was planned for
}

const (
	defaultLockTimeout = 5 * time.Second
	attempts           = 5
	firstPause         = 100 * time.Millisecond
)

// Run makes the access in one database what is desired, and proves that it is. A server that is as desired is only
// read. Several problems are told at once, before the first change, as a [ProblemsError]; what other sessions were in
// the way of is tried again.
//
// An error after the first change says what was left undone; the report then tells what was done.
func Run(ctx context.Context, o Options) (report Report, err error) {
	conn, err := o.Connect(ctx, "")
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	extent, err := o.extent()
	if err != nil {
		return Report{}, err
	}
	if report, err = o.look(ctx, conn, extent); err != nil || o.DryRun {
		return report, err
	}
	if len(report.Plan.Changes) == 0 {
		return report, cmp.Or(o.expected(report), report.Plan.possible())
	}
	release, ok, err := o.lock(ctx)
	if err != nil || !ok {
		report.Standby = err == nil
		return report, err
	}
	defer func() { err = errors.Join(err, release()) }()

	same, err := unmoved(ctx, conn, report.snapshot) // what another process did before the lock was ours counts
	if err == nil && !same {
		report, err = o.look(ctx, conn, extent)
	}
	if err == nil {
		err = o.expected(report)
	}
	if err != nil {
		return report, err
	}
	return o.converge(ctx, conn, extent, report)
}

// converge carries out the plan of a report, and looks again. What others have done meanwhile that is not as desired,
// a table that they have made, is the plan of another round; not where one plan was agreed to.
func (o Options) converge(ctx context.Context, conn *pgconn.PgConn, extent Extent, report Report) (Report, error) {
	var done Report // in earlier rounds
	for attempt := 1; ; attempt++ {
		failed := o.carryOut(ctx, conn, extent, &report)
		switch {
		case failed == nil:
			done = report.after(done)
		case !passing(failed) || len(report.Made) > 0 || attempt == attempts:
			return report.after(done), failed
		default:
			if err := pause(ctx, attempt); err != nil {
				return report.after(done), err
			}
		}
		next, err := o.look(ctx, conn, extent)
		if err == nil && failed != nil {
			err = o.expected(next)
		}
		if err != nil {
			return done, err
		}
		if failed == nil {
			next.Plan = next.Plan.without(Change.Blind) // passwords that may not be read are taken for set
			if next.Plan.empty() {
				return done, nil
			}
			if attempt == attempts || o.Expect != "" || len(next.Plan.Problems) > 0 || done.made(next.Plan) {
				return done, &LeftError{next.Plan}
			}
		}
		report = next
	}
}

func (o Options) carryOut(ctx context.Context, conn *pgconn.PgConn, extent Extent, report *Report) error {
	ctx, span := trace.Child(ctx, "apply")
	a := &applier{Options: o, conn: conn, extent: extent, report: report, stopped: make(map[scope.Cluster]bool)}
	err := a.apply(ctx)
	span.Set(trace.Count("pgscope.statements", len(report.Made)))
	span.End(err)
	o.Known.add(report.Made)
	return err
}

// after adds what earlier rounds of the same run have done.
func (r Report) after(earlier Report) Report {
	if earlier.Made == nil {
		return r
	}
	earlier.Plan.Changes = slices.Concat(earlier.Plan.Changes, r.Plan.Changes)
	earlier.Made = slices.Concat(earlier.Made, r.Made)
	earlier.Undo = slices.Concat(r.Undo, earlier.Undo)
	return earlier
}

// made reports whether any of the changes was made, and had no effect.
func (r Report) made(p Plan) bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool {
		return slices.ContainsFunc(r.Made, func(m Change) bool { return m.SQL == c.SQL && m.Database == c.Database })
	})
}

// extent is what to observe, with the passwords that the manifest points to. One that cannot be read is an error, or
// if the run is partial a problem.
func (o Options) extent() (Extent, error) {
	e := ExtentOf(o.Desired)
	e.AsWritten, e.Prefix, e.Promised, e.Connect = o.AsWritten, o.Desired.Prefix, o.Promised, o.Connect
	e.Passwords = make(map[access.Ref]string)
	for _, r := range o.Desired.Roles {
		if r.Password == nil || r.External {
			continue
		}
		password, err := secret(r.Password)
		if err != nil {
			e.unread = append(e.unread, Problem{Place: r.Password.Place, Message: fmt.Sprintf("the password of role %q: %v", r.Ref, err)})
			continue
		}
		e.Passwords[r.Ref] = password
	}
	if e.unread != nil && !o.Partial {
		return Extent{}, &ProblemsError{e.unread}
	}
	return e, nil
}

// look observes and plans. One of all that are alike is enough to see that there is nothing to change, or to grant on
// all that a schema has; where their names will be read or must be said, the plan is made anew of each of them.
func (o Options) look(ctx context.Context, conn *pgconn.PgConn, extent Extent) (report Report, err error) {
	err = inSnapshot(ctx, conn, func() error {
		var state *State
		few := extent
		few.alike = true
		err := traced(ctx, "observe", func(ctx context.Context) (err error) {
			state, err = observe(ctx, conn, few)
			return err
		})
		if err != nil {
			return err
		}
		report = o.plan(ctx, state, extent)
		if p := report.Plan; p.empty() || !o.named() && !p.sampled && len(p.Problems) == 0 {
			return nil
		}
		err = traced(ctx, "observe", func(ctx context.Context) (err error) {
			state, err = state.listed(ctx, conn, extent)
			return err
		})
		if err == nil {
			report = o.plan(ctx, state, extent)
		}
		return err
	})
	return report, err
}

// named reports whether what a plan is about is to be known by name, whatever its statements say.
func (o Options) named() bool { return o.DryRun || o.Expect != "" || o.Undo }

func traced(ctx context.Context, name string, f func(context.Context) error) error {
	ctx, span := trace.Child(ctx, name)
	err := f(ctx)
	span.End(err)
	return err
}

func (o Options) plan(ctx context.Context, state *State, extent Extent) Report {
	_, span := trace.Child(ctx, "plan")
	plan := NewPlan(o.Desired, state, o.Mode)
	plan.Problems = append(plan.Problems, extent.unread...)
	plan.Changes = slices.DeleteFunc(plan.Changes, func(c Change) bool {
		return c.Blind() && o.Known[c.role] || slices.ContainsFunc(extent.unread, func(p Problem) bool { return c.password != nil && c.password.Place == p.Place })
	})
	span.Set(trace.Count("pgscope.changes", len(plan.Changes)), trace.Count("pgscope.problems", len(plan.Problems)))
	span.End(nil)
	return Report{Plan: plan, Fingerprint: Fingerprint(state, plan), snapshot: state.Snapshot}
}

// unmoved reports whether no transaction has changed anything since the snapshot.
func unmoved(ctx context.Context, conn *pgconn.PgConn, snapshot string) (bool, error) {
	rows, err := provision.Query(ctx, conn, "SELECT pg_current_snapshot()", nil)
	return err == nil && rows[0][0] == snapshot, err
}

func (o Options) expected(r Report) error {
	if o.Expect != "" && o.Expect != r.Fingerprint {
		return ErrMoved
	}
	return nil
}

// pause waits the longer, the more often it was tried, and never as long as another that waits for the same.
func pause(ctx context.Context, attempt int) error {
	wait := firstPause << attempt
	timer := time.NewTimer(wait/2 + rand.N(wait)) //nolint:gosec // no secret
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
