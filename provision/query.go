package provision

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Query returns the rows of a statement as text; NULL is an empty one.
func Query(ctx context.Context, conn *pgconn.PgConn, sql string, params []string) ([][]string, error) {
	values := make([][]byte, len(params))
	for i, p := range params {
		values[i] = []byte(p)
	}
	result := conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	rows := make([][]string, len(result.Rows))
	for i, r := range result.Rows {
		rows[i] = make([]string, len(r))
		for j, v := range r {
			rows[i][j] = string(v)
		}
	}
	return rows, nil
}

// Inquire asks whose roles are. prefix is what the database's roles shall have where it is not enrolled yet; empty for its
// name.
func Inquire(ctx context.Context, conn *pgconn.PgConn, q scope.Inquiry, prefix string) (*scope.View, error) {
	sql, params := q.SQL()
	rows, err := Query(ctx, conn, sql, params)
	if err != nil {
		return nil, err
	}
	return q.Answer(rows, prefix)
}

func survey(ctx context.Context, conn *pgconn.PgConn, q scope.Survey) (*scope.Inventory, error) {
	sql, params := q.SQL()
	rows, err := Query(ctx, conn, sql, params)
	if err != nil {
		return nil, err
	}
	return q.Answer(rows)
}

func run(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	_, err := conn.Exec(ctx, sql).ReadAll()
	return err
}

// MajorVersion is the server's: 15; 0 where it does not tell.
func MajorVersion(conn *pgconn.PgConn) int {
	digits := conn.ParameterStatus("server_version")
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	major, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return major
}
