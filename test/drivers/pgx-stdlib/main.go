// Command pgx-stdlib runs pgx below database/sql: a pool, statements that it prepares by itself and keeps, arrays,
// transactions, COPY, errors, cancel by context.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func show(err error) {
	var e *pgconn.PgError
	switch {
	case err == nil:
	case errors.As(err, &e):
		fmt.Println("  ", e.Severity, e.Code, e.Message, e.Position, e.Hint)
	default:
		fmt.Println("  ", err)
	}
}

// querier is a pool, or one of its connections, or a transaction on it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func query(ctx context.Context, on querier, text string, args ...any) {
	rows, err := on.QueryContext(ctx, text, args...)
	if err != nil {
		show(err)
		return
	}
	columns, err := rows.Columns()
	show(err)
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		to := make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		show(rows.Scan(to...))
		fmt.Println("  ", columns, values)
	}
	show(rows.Err())
}

func run(ctx context.Context) error {
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return err
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { fmt.Println("  ", n.Severity, n.Code, n.Message) }
	db := stdlib.OpenDB(*config)
	fmt.Println("== roles")
	for _, text := range []string{
		"CREATE ROLE clerk LOGIN PASSWORD 'pencil'", "CREATE TABLE letters (n int, body text)", "GRANT SELECT, INSERT ON letters TO clerk",
	} {
		query(ctx, db, text)
	}
	query(ctx, db, "SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = $1", "clerk")
	query(ctx, db, "SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1) ORDER BY 1", []string{"clerk", "nobody"})
	query(ctx, db, "SELECT grantee, privilege_type FROM information_schema.role_table_grants WHERE table_name = $1 AND grantee = 'clerk' ORDER BY 1, 2", "letters")
	fmt.Println("== errors")
	query(ctx, db, "GRANT SELECT ON letters TO nobody")
	query(ctx, db, "GRANT SELECT ON letters clerk")
	query(ctx, db, "DROP ROLE IF EXISTS ghost")
	fmt.Println("== prepared, again and again")
	s, err := db.PrepareContext(ctx, "SELECT rolname || $2 FROM pg_roles WHERE rolname = $1")
	if err != nil {
		return err
	}
	for i := range 3 {
		var name string
		show(s.QueryRowContext(ctx, "clerk", fmt.Sprint(i)).Scan(&name))
		fmt.Println("  ", name)
	}
	show(s.Close())
	for range 3 { // the driver prepares it by itself, and keeps it
		_, err := db.ExecContext(ctx, "GRANT UPDATE ON letters TO clerk")
		show(err)
	}
	fmt.Println("== simple protocol")
	query(ctx, db, "SELECT rolname FROM pg_roles WHERE rolname = $1", pgx.QueryExecModeSimpleProtocol, "clerk")
	_, err = db.ExecContext(ctx, "CREATE ROLE one; GRANT one TO clerk; DROP ROLE one", pgx.QueryExecModeSimpleProtocol)
	show(err)
	fmt.Println("== transactions")
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	if err != nil {
		return err
	}
	query(ctx, tx, "CREATE ROLE temp IN ROLE clerk")
	query(ctx, tx, "SELECT count(*) FROM pg_roles WHERE rolname = 'temp'")
	show(tx.Rollback())
	query(ctx, db, "SELECT count(*) FROM pg_roles WHERE rolname = 'temp'")
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	fmt.Println("== copy")
	show(c.Raw(func(driver any) error {
		n, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{"letters"}, []string{"n", "body"}, //nolint:errcheck // it is pgx's
			pgx.CopyFromSlice(1000, func(i int) ([]any, error) { return []any{i, "body"}, nil }))
		fmt.Println("  ", n)
		return err
	}))
	query(ctx, c, "SELECT count(*) FROM letters")
	fmt.Println("== set role")
	for _, text := range []string{"SET ROLE clerk", "SELECT current_user", "DELETE FROM letters", "RESET ROLE"} {
		query(ctx, c, text)
	}
	show(c.Close())
	fmt.Println("== cancel")
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	_, err = db.ExecContext(short, "SELECT pg_sleep(60)")
	stop()
	fmt.Println("  ", errors.Is(err, context.DeadlineExceeded))
	fmt.Println("== login")
	own, err := sql.Open("pgx", "user=clerk password=pencil sslmode=disable")
	if err != nil {
		return err
	}
	var session, current string
	show(own.QueryRow("SELECT session_user, current_user").Scan(&session, &current))
	fmt.Println("  ", session, current)
	show(own.Close())
	for _, text := range []string{"DROP OWNED BY clerk", "DROP ROLE clerk", "DROP TABLE letters"} {
		query(ctx, db, text)
	}
	return db.Close()
}
