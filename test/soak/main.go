// Command soak runs the proxy under a mixed load for a long time, and says what became of it: errors, latencies, and
// how much memory, how many goroutines and files it has, over time.
//
//	go run ./test/soak [-duration 1h] [-connections 1000] [-rate 200] PROXY
//
// PROXY is the program. It runs as a process of its own in front of a private PostgreSQL with two databases, and is told
// to reload all the time. Every connection does one thing after the other, of those in tasks.go: it knows what the
// answer must be, and anything else is an error. The exit code is 1 if there was one, if the proxy still has
// something at the end that it did not have at the start, or if its memory grew from the first tenth to the last.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// databases are those of the load, each half of the connections in one.
var databases = [...]string{"orders", "billing"}

// settings are what a run can be told.
type settings struct {
	program     string
	duration    time.Duration
	connections int
	rate        float64 // of tasks, in all, per second
	reload      time.Duration
	sample      time.Duration
}

func main() {
	var s settings
	flag.DurationVar(&s.duration, "duration", time.Hour, "how long")
	flag.IntVar(&s.connections, "connections", 1000, "how many connections")
	flag.Float64Var(&s.rate, "rate", 200, "tasks per second, of all connections together")
	flag.DurationVar(&s.reload, "reload", 10*time.Second, "how often the proxy reads its policy again")
	flag.DurationVar(&s.sample, "sample", 5*time.Second, "how often memory is looked at")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(64)
	}
	s.program = flag.Arg(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := soak(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		stop()
		os.Exit(1) //nolint:gocritic // nothing is left to do
	}
}

// soak runs the load until its time is over or ctx ends, prints the report, and returns what was wrong.
func soak(ctx context.Context, s settings) (err error) {
	cluster, err := launch(ctx, s.connections)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	p, err := startProxy(ctx, s.program, cluster)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()

	idle, err := p.measure(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d connections, %g tasks/s for %s; idle: %v\n", s.connections, s.rate, s.duration, idle)
	running, cancel := context.WithTimeout(ctx, s.duration)
	defer cancel()
	watched := make(chan []sample, 1)
	go func() { watched <- p.watch(running, s.sample) }()
	reloads := make(chan int, 1)
	go func() { reloads <- p.reloadEvery(running, s.reload) }()
	l := newLoad(p.address, s.connections, s.rate)
	l.run(running)

	r := report{idle: idle, samples: <-watched, reloads: <-reloads, tally: l.tally}
	if r.after, err = p.settle(ctx, idle); err == nil {
		r.leftRoles, r.leftSessions, err = leftovers(ctx, cluster)
	}
	fmt.Print(r)
	return errors.Join(err, r.verdict())
}

// launch starts a cluster for so many sessions.
func launch(ctx context.Context, connections int) (*pgtest.Cluster, error) {
	c, err := pgtest.Launch(ctx, "", pgtest.Options{Config: map[string]string{
		"max_connections": fmt.Sprint(connections + 50), // reconnecting ones may overlap with their former sessions
	}})
	if err != nil {
		return nil, err
	}
	for _, d := range databases {
		err = execute(ctx, c.DSN(), "CREATE DATABASE "+d)
		if err == nil {
			err = execute(ctx, c.DSN("dbname="+d), `CREATE TABLE item (id int PRIMARY KEY, owner text, note text);
				INSERT INTO item SELECT i, 'owner' || i, repeat('x', 100) FROM generate_series(1, 1000) i`)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}
