package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// load is all the connections.
type load struct {
	address string
	pause   time.Duration // mean, of a connection between two tasks
	workers []*worker
	tally   *tally
}

// worker is one connection, which is made anew now and then.
type worker struct {
	id       int
	database string
	dsn      string
	conn     *pgx.Conn // nil: not connected
	rng      *rand.Rand
}

func newLoad(address string, connections int, rate float64) *load {
	l := &load{
		address: address, tally: newTally(),
		pause: time.Duration(float64(connections) / rate * float64(time.Second)),
	}
	host, port, _ := net.SplitHostPort(address) // the proxy's own words
	for id := range connections {
		database := databases[id%len(databases)]
		l.workers = append(l.workers, &worker{
			id: id, database: database,
			dsn: fmt.Sprintf("host=%s port=%s dbname=%s user=postgres sslmode=disable connect_timeout=60", host, port, database),
			rng: rand.New(rand.NewPCG(uint64(id), 1)), //nolint:gosec // the same load in each run
		})
	}
	return l
}

// run lets the workers work until ctx ends. What they are at then, they finish.
func (l *load) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, w := range l.workers {
		all.Go(func() { w.run(ctx, l.pause, l.tally) })
	}
	all.Wait()
}

// run does one task after the other, at random times: as many clients do, who do not know of each other.
func (w *worker) run(ctx context.Context, pause time.Duration, t *tally) {
	finish := context.WithoutCancel(ctx)
	defer func() { w.close(finish) }()
	wait := time.Duration(w.rng.Float64() * float64(min(pause, rampUp)))
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		w.do(finish, t, w.choose())
		wait = time.Duration(w.rng.ExpFloat64() * float64(pause))
	}
}

// rampUp is the time in which all connections are made.
const rampUp = time.Minute

// patience is how long one task may take. Longer is an error.
const patience = 2 * time.Minute

func (w *worker) do(ctx context.Context, t *tally, k task) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if w.conn == nil {
		if !w.connect(ctx, t) {
			return
		}
	}
	began := time.Now()
	err := k.run(ctx, w)
	t.add(k.name, time.Since(began), err)
	if err != nil {
		w.close(ctx) // what state it is in nobody knows
	}
}

func (w *worker) connect(ctx context.Context, t *tally) bool {
	began := time.Now()
	conn, err := pgx.Connect(ctx, w.dsn)
	t.add("connect", time.Since(began), err)
	w.conn = conn
	return err == nil
}

// close ends the connection in order. That the server may have ended it first is no error of its own.
func (w *worker) close(ctx context.Context) {
	if w.conn != nil {
		_ = w.conn.Close(ctx)
		w.conn = nil
	}
}

// execute runs statements in a connection of their own.
func execute(ctx context.Context, dsn, sql string) error {
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql).ReadAll()
	return err
}
