package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// tally counts what the tasks came to.
type tally struct {
	mu     sync.Mutex
	took   map[string][]time.Duration // by task, those that went well
	errors map[string]int             // by task and text
}

func newTally() *tally {
	return &tally{took: make(map[string][]time.Duration), errors: make(map[string]int)}
}

func (t *tally) add(name string, d time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.errors[name+": "+err.Error()]++
		return
	}
	t.took[name] = append(t.took[name], d)
}

// report is all that a run has found.
type report struct {
	idle, after  sample // before the first connection, and after the last
	samples      []sample
	reloads      int
	tally        *tally
	leftRoles    int // in the server's catalogs
	leftSessions int // of the server
}

// steady are the samples after the connections were made.
func (r report) steady() []sample {
	for i, s := range r.samples {
		if s.at.Sub(r.idle.at) > 3*rampUp/2 {
			return r.samples[i:]
		}
	}
	return nil
}

// growth compares the largest memory of the first tenth of the samples with the least of the last tenth: what was
// taken for a moment is given back, what leaks is not.
func (r report) growth() float64 {
	all := r.steady()
	tenth := len(all) / 10
	if tenth == 0 {
		return 0
	}
	byMemory := func(a, b sample) int { return a.rss - b.rss }
	first, last := slices.MaxFunc(all[:tenth], byMemory), slices.MinFunc(all[len(all)-tenth:], byMemory)
	return float64(last.rss)/float64(first.rss) - 1
}

const mayGrow = 0.1

// String writes the report as a person reads it.
func (r report) String() string {
	var w, rows strings.Builder
	rows.WriteString("task\tnumber\tp50 ms\tp99 ms\tmax ms\t\n")
	total := 0
	for _, name := range slices.Sorted(maps.Keys(r.tally.took)) {
		all := slices.Sorted(slices.Values(r.tally.took[name]))
		total += len(all)
		fmt.Fprintf(&rows, "%s\t%d\t%s\t%s\t%s\t\n", name, len(all), millis(all[len(all)/2]), millis(all[len(all)*99/100]), millis(all[len(all)-1]))
	}
	table := tabwriter.NewWriter(&w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = table.Write([]byte(rows.String())) // a Builder takes everything
	_ = table.Flush()                         // as above
	errs := 0
	for _, text := range slices.Sorted(maps.Keys(r.tally.errors)) {
		errs += r.tally.errors[text]
		fmt.Fprintf(&w, "ERROR %d times: %s\n", r.tally.errors[text], text)
	}
	fmt.Fprintf(&w, "%d tasks, %d errors, %d reloads\n", total, errs, r.reloads)
	if all := r.steady(); len(all) > 0 {
		byMemory := func(a, b sample) int { return a.rss - b.rss }
		last := all[len(all)-1]
		fmt.Fprintf(&w, "RSS: idle %.1f MB, all connected %.1f, least %.1f, most %.1f, last %.1f (%+.0f %%), all gone %.1f\n",
			mega(r.idle.rss), mega(all[0].rss), mega(slices.MinFunc(all, byMemory).rss), mega(slices.MaxFunc(all, byMemory).rss),
			mega(last.rss), 100*r.growth(), mega(r.after.rss))
		fmt.Fprintf(&w, "processor: %.1f %% of one\n", 100*(last.cpu-r.idle.cpu)/last.at.Sub(r.idle.at).Seconds())
	}
	fmt.Fprintf(&w, "before: %v\nafter:  %v\nleft at the server: %d roles, %d sessions\n", r.idle, r.after, r.leftRoles, r.leftSessions)
	return w.String()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// verdict returns what is wrong.
func (r report) verdict() error {
	var wrong []string
	if len(r.tally.errors) > 0 {
		wrong = append(wrong, "errors")
	}
	if !r.after.holds(r.idle) {
		wrong = append(wrong, "the proxy has something left over")
	}
	if r.leftRoles+r.leftSessions > 0 {
		wrong = append(wrong, "the server has something left over")
	}
	if g := r.growth(); g > mayGrow {
		wrong = append(wrong, fmt.Sprintf("memory grew by %.0f %%", 100*g))
	}
	if wrong == nil {
		return nil
	}
	return errors.New(strings.Join(wrong, "; "))
}

// leftovers counts the roles of the databases and the sessions of their clients that the server still has.
func leftovers(ctx context.Context, c *pgtest.Cluster) (roles, sessions int, err error) {
	conn, err := pgx.Connect(ctx, c.DSN())
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close(ctx) }()
	err = conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_roles WHERE rolname ~ '^(orders|billing)_'),
		(SELECT count(*) FROM pg_stat_activity WHERE datname = ANY ($1))`, databases[:]).Scan(&roles, &sessions)
	return roles, sessions, err
}
