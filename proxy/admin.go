package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
)

// admin is the proxy's own connection to the server, for what must be known before a session has begun. One is enough:
// its answers are cached, see directory.
type admin struct {
	config *pgconn.Config
	turn   chan struct{} // holds one while somebody asks, to whom the rest belongs
	conn   *pgconn.PgConn
	failed failedConnection
}

// failedConnection is the last connection that could not be made.
type failedConnection struct {
	began time.Time
	err   error
}

// newAdmin returns what connects when it is asked first.
func newAdmin(config *pgconn.Config) *admin {
	return &admin{config: config, turn: make(chan struct{}, 1)}
}

// answerTime is how long one answer is waited for: it takes milliseconds. Where packets get lost, nothing else ends it.
const answerTime = 5 * time.Second

// ask puts an inquiry to the server.
func (a *admin) ask(ctx context.Context, q scope.Inquiry, prefix string) (*scope.View, error) {
	sql, params := q.SQL()
	rows, err := a.query(ctx, sql, params)
	if err != nil {
		return nil, err
	}
	return q.Answer(rows, prefix)
}

// query asks the server. A connection that broke since the last question is made anew, once.
func (a *admin) query(ctx context.Context, sql string, params []string) (rows [][]string, err error) {
	came := time.Now()
	offLoop(ctx, func(ctx context.Context) {
		select {
		case a.turn <- struct{}{}:
			defer func() { <-a.turn }()
		case <-ctx.Done():
			err = fmt.Errorf("the admin connection is in use: %w", ctx.Err())
			return
		}
		reused := a.conn != nil
		if !reused && a.failed.began.After(came) {
			err = a.failed.err // somebody has tried in vain since: one after the other would wait for too long
			return
		}
		rows, err = a.try(ctx, sql, params)
		if err != nil && reused && a.conn == nil {
			rows, err = a.try(ctx, sql, params)
		}
	})
	return rows, err
}

func (a *admin) try(ctx context.Context, sql string, params []string) ([][]string, error) {
	if a.conn == nil {
		began := time.Now()
		conn, err := pgconn.ConnectConfig(ctx, a.config)
		if err != nil {
			if ctx.Err() == nil { // else others may have the time that this login has not
				a.failed = failedConnection{began, err}
			}
			return nil, err
		}
		a.conn = conn
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin(ctx))
	defer cancel()
	rows, err := provision.Query(ctx, a.conn, sql, params)
	if a.conn.IsClosed() {
		a.conn = nil
	}
	return rows, err
}

// answerWithin is answerTime, or half of what is left of ctx: there has to be time for another connection.
func answerWithin(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(answerTime, time.Until(end)/2)
	}
	return answerTime
}

func (a *admin) close() {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	if a.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		_ = a.conn.Close(ctx) // the process ends
		a.conn = nil
	}
}
