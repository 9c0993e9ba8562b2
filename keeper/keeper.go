package keeper

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/reconcile"
	"github.com/pgscope/pgscope-proxy/trace"
)

// Source is a manifest that was read.
type Source struct {
	Parts []Part
	Files []string // those that it was read from, and those that it points to: what to watch
}

// Part is what is kept in one database.
type Part struct {
	Database string
	Shared   bool // it is about what belongs to the whole cluster: statements in any database may change it
	reconcile.Options
}

// Options are what a [Keeper] works with.
type Options struct {
	Settings
	Log     *zap.Logger
	Metrics prometheus.Registerer
	Tracer  *trace.Tracer // nil for none
}

// Settings are the options that [Keeper.Configure] can change.
type Settings struct {
	// Load reads the manifest. Where it fails, what was read before stays in force.
	Load func() (Source, error)
	// Interval is the time between two looks at a database, give or take a tenth.
	Interval time.Duration
	// Report leaves everything as it is found, and tells of it.
	Report bool
	// Mode is how far a repair goes.
	Mode reconcile.Mode
}

// Times that nobody needs to set.
const (
	settle     = 200 * time.Millisecond // for more of the same to come, after a file or a role has changed
	firstPause = time.Second            // after the first failure; it doubles with each
	standby    = 2 * time.Second        // until one that stands by looks again
	longest    = 10 * time.Minute       // a run; then it has failed
	// share bounds the load that statements cause: a database is left alone for this many times
	// as long as its last run took.
	share = 5
)

// Keeper keeps a server at its manifest.
type Keeper struct {
	o       Options
	metrics *metrics
	wake    chan struct{}

	mu      sync.Mutex
	now     Settings        // in force
	changed bool            // now is newer than the last look at the databases
	reload  bool            // wanted
	nudged  map[string]bool // databases in which something has changed
	broken  error           // why the manifest that was read last is not in force
	files   []string
	parts   []*kept
}

// kept is a part and its state. Only Run changes it, and holds the lock for what State shows.
type kept struct {
	Part
	state    State
	due      time.Time
	failures int
	ended    time.Time     // of the last run
	took     time.Duration // the last run
	// passwords that were set since the manifest was read.
	passwords reconcile.Passwords
}

// New returns a keeper that keeps nothing yet.
func New(o Options) *Keeper {
	return &Keeper{o: o, now: o.Settings, metrics: newMetrics(o.Metrics), wake: make(chan struct{}, 1), nudged: make(map[string]bool)}
}

// Configure puts other settings in force, has the manifest read again, and everything looked at. It does not block; a
// run that is under way ends as it began.
func (k *Keeper) Configure(s Settings) {
	k.mu.Lock()
	k.now, k.changed = s, true
	k.mu.Unlock()
	k.Reload()
}

func (k *Keeper) settings() Settings {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

// Nudge tells that roles or access may have changed in a database, which is then looked at soon. It does not block.
func (k *Keeper) Nudge(database string) {
	k.mu.Lock()
	k.nudged[database] = true
	k.mu.Unlock()
	k.wakeUp()
}

// Reload has the manifest read again, and everything looked at. It does not block.
func (k *Keeper) Reload() {
	k.mu.Lock()
	k.reload = true
	k.mu.Unlock()
	k.wakeUp()
}

func (k *Keeper) wakeUp() {
	select {
	case k.wake <- struct{}{}:
	default: // it will be awake, and see this too
	}
}

// Load reads the manifest. What was known of databases that are in it still is. It is called once before [Keeper.Run],
// which calls it again when the manifest may have changed.
func (k *Keeper) Load() error {
	source, err := k.settings().Load()
	k.metrics.loads.WithLabelValues(resultOf(err)).Inc()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken = err; err != nil {
		return err
	}
	k.files = source.Files
	before := k.parts
	k.parts = make([]*kept, len(source.Parts))
	for i, p := range source.Parts {
		now := &kept{Part: p, state: State{Database: p.Database, Shared: p.Shared, Outcome: Unknown}, passwords: make(reconcile.Passwords)}
		for _, old := range before {
			if old.Database == p.Database && old.Shared == p.Shared {
				now.state, now.ended, now.took = old.state, old.ended, old.took
			}
		}
		k.parts[i] = now
	}
	k.metrics.count(k.parts)
	return nil
}

// Run keeps the server at the manifest until ctx ends. [Keeper.Load] must have succeeded.
func (k *Keeper) Run(ctx context.Context) {
	w := newWatcher(k.o.Log, k.Reload)
	defer w.close()
	w.watch(k.files)
	k.Reload() // it may have changed before it was watched
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		if k.wanted() {
			if err := k.Load(); err != nil {
				k.o.Log.Error("the manifest was not read: what was read before stays in force", zap.Error(err))
			}
			w.watch(k.files)
		}
		for _, p := range k.parts {
			if ctx.Err() == nil && !p.due.After(time.Now()) {
				k.keep(ctx, p)
			}
		}
		timer.Reset(k.next())
	}
}

// wanted takes the requests since the last call, and reports whether the manifest is to be read again.
func (k *Keeper) wanted() (reload bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	reload, k.reload = k.reload, false
	if k.changed {
		for _, p := range k.parts {
			p.due = time.Time{}
		}
		k.changed = false
	}
	now := time.Now()
	if len(k.nudged) > 0 {
		for _, p := range k.parts {
			if p.Shared || k.nudged[p.Database] {
				if soon := latest(now.Add(settle), p.ended.Add(share*p.took)); soon.Before(p.due) {
					p.due = soon
				}
			}
		}
		clear(k.nudged)
	}
	return reload
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// next returns how long nothing is due.
func (k *Keeper) next() time.Duration {
	wait := k.settings().Interval
	for _, p := range k.parts {
		wait = min(wait, time.Until(p.due))
	}
	return max(wait, 0)
}

// keep looks at one database, and makes it as it should be.
func (k *Keeper) keep(ctx context.Context, p *kept) {
	now := k.settings()
	o := p.Part.Options
	o.DryRun, o.Mode, o.Partial, o.Known = now.Report, now.Mode, true, p.passwords
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, longest)
	bounded, span := k.o.Tracer.Begin(bounded, trace.Work{Name: "reconcile"}, trace.Text("db.system.name", "postgresql"), trace.Text("db.namespace", p.Database))
	report, err := reconcile.Run(bounded, o)
	cancel()
	if ctx.Err() != nil {
		return // the process ends
	}
	s := stateOf(p.Part, report, err, now.Report)
	span.Set(trace.Text("pgscope.outcome", string(s.Outcome)))
	span.End(err)
	s.Checked = time.Now()

	k.mu.Lock()
	changed := s.Outcome != p.state.Outcome || s.Changes != p.state.Changes || s.Problems != p.state.Problems
	p.state, p.ended, p.took = s, s.Checked, s.Checked.Sub(began)
	switch s.Outcome {
	case Standby:
		p.due = p.ended.Add(jitter(standby))
	case Failed:
		p.due = p.ended.Add(jitter(min(firstPause<<min(p.failures, 20), now.Interval)))
		p.failures++
	case Unknown, InStep, Drifted:
		p.due, p.failures = p.ended.Add(jitter(now.Interval)), 0
	}
	k.metrics.ran(s, report, p.took)
	k.metrics.count(k.parts)
	k.mu.Unlock()
	k.tell(s, report, err, changed)
}

// jitter is a time that is not the same everywhere.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // no secret
}

// tell logs what was done, and, where the state has changed since the last run, what it is now.
func (k *Keeper) tell(s State, report reconcile.Report, err error, changed bool) {
	log := k.o.Log.With(zap.String("database", s.Database))
	if s.Shared {
		log = log.With(zap.Bool("cluster", true))
	}
	for _, c := range report.Made {
		log.Info("repaired", fieldsOf(c)...)
	}
	switch {
	case s.Outcome == Failed:
		if err == nil { // it was only looked at
			err = &reconcile.ProblemsError{Problems: report.Plan.Problems}
		}
		log.Error("the database is not as the manifest has it", zap.Error(err))
	case s.Outcome == Drifted && changed:
		for _, c := range report.Plan.Changes {
			if !c.Blind() {
				log.Warn("differs from the manifest", fieldsOf(c)...)
			}
		}
	case changed || len(report.Made) > 0:
		log.Info("reconciled", zap.String("outcome", string(s.Outcome)), zap.Int("statements", len(report.Made)))
	}
}

func fieldsOf(c reconcile.Change) []zap.Field {
	return []zap.Field{zap.Stringer("step", c.Step), zap.String("subject", c.Subject), zap.String("reason", c.Reason)}
}
