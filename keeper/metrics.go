package keeper

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgscope/pgscope-proxy/reconcile"
)

// metrics tell how the server is kept. No label holds a name of a role or a database.
type metrics struct {
	loads      *prometheus.CounterVec // by result
	runs       *prometheus.CounterVec // by outcome
	statements prometheus.Counter
	duration   prometheus.Histogram
	databases  *prometheus.GaugeVec // by outcome
	changes    prometheus.Gauge
	problems   prometheus.Gauge
	oldest     prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgscope_reconcile_manifest_loads_total", Help: "How often the manifest was read, by result.",
		}, []string{"result"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgscope_reconcile_runs_total", Help: "Databases that were compared with the manifest, by outcome.",
		}, []string{"outcome"}),
		statements: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pgscope_reconcile_statements_total", Help: "Statements that changed roles or access to repair them.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pgscope_reconcile_duration_seconds", Help: "How long it took to compare a database and to repair it.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 8),
		}),
		databases: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pgscope_reconcile_databases", Help: "Databases of the manifest now, by outcome of the last run.",
		}, []string{"outcome"}),
		changes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pgscope_reconcile_changes", Help: "Changes that the last runs found to make and did not.",
		}),
		problems: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pgscope_reconcile_problems", Help: "Problems that the last runs found.",
		}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pgscope_reconcile_checked_timestamp_seconds",
			Help: "When the database was looked at that nobody has looked at for the longest time; 0 before all were.",
		}),
	}
	// What there was none of yet shows as 0: what rises from nowhere is no rate.
	for _, o := range outcomes[1:] {
		m.runs.WithLabelValues(o.label())
	}
	for _, result := range []string{loadOK, loadFailed} {
		m.loads.WithLabelValues(result)
	}
	r.MustRegister(m.loads, m.runs, m.statements, m.duration, m.databases, m.changes, m.problems, m.oldest)
	return m
}

// The results of reading the manifest.
const (
	loadOK     = "ok"
	loadFailed = "failed"
)

func resultOf(err error) string {
	if err != nil {
		return loadFailed
	}
	return loadOK
}

// label is the outcome as a label has it.
func (o Outcome) label() string { return strings.ReplaceAll(string(o), " ", "_") }

func (m *metrics) ran(s State, report reconcile.Report, took time.Duration) {
	m.runs.WithLabelValues(s.Outcome.label()).Inc()
	m.statements.Add(float64(len(report.Made)))
	m.duration.Observe(took.Seconds())
}

func (m *metrics) count(parts []*kept) {
	by := make(map[Outcome]int)
	changes, problems, oldest := 0, 0, time.Now()
	for _, p := range parts {
		s := &p.state
		by[s.Outcome]++
		problems += s.Problems
		if s.Outcome != InStep {
			changes += s.Changes
		}
		if s.Checked.Before(oldest) {
			oldest = s.Checked
		}
	}
	for _, o := range outcomes {
		m.databases.WithLabelValues(o.label()).Set(float64(by[o]))
	}
	m.changes.Set(float64(changes))
	m.problems.Set(float64(problems))
	if oldest.IsZero() {
		m.oldest.Set(0)
		return
	}
	m.oldest.Set(float64(oldest.UnixMilli()) / 1000)
}
