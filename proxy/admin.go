package proxy

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
)

// admin is the proxy's own connection to the server, for what must be known before a session has begun. One is enough:
// its answers are cached, see directory.
type admin struct {
	config *pgconn.Config

	mu   sync.Mutex
	conn *pgconn.PgConn
}

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
	apart(ctx, func(ctx context.Context) {
		a.mu.Lock()
		defer a.mu.Unlock()
		reused := a.conn != nil
		rows, err = a.try(ctx, sql, params)
		if err != nil && reused && a.conn == nil {
			rows, err = a.try(ctx, sql, params)
		}
	})
	return rows, err
}

func (a *admin) try(ctx context.Context, sql string, params []string) ([][]string, error) {
	if a.conn == nil {
		conn, err := pgconn.ConnectConfig(ctx, a.config)
		if err != nil {
			return nil, err
		}
		a.conn = conn
	}
	rows, err := provision.Query(ctx, a.conn, sql, params)
	if a.conn.IsClosed() {
		a.conn = nil
	}
	return rows, err
}

func (a *admin) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		_ = a.conn.Close(ctx) // the process ends
		a.conn = nil
	}
}
