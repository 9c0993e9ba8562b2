// Command pgx runs the driver pgx: its statement cache, batches, COPY, types in binary, notices, cancel by context.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

func run(ctx context.Context) error {
	config, err := pgx.ParseConfig("")
	if err != nil {
		return err
	}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { fmt.Println("  ", n.Severity, n.Code, n.Message) }
	c, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	q := func(sql string, args ...any) {
		rows, err := c.Query(ctx, sql, args...)
		if err != nil {
			show(err)
			return
		}
		for rows.Next() {
			values, err := rows.Values()
			fmt.Println("  ", values, err)
		}
		show(rows.Err())
		fmt.Println("  ", rows.CommandTag())
	}
	simple := pgx.QueryExecModeSimpleProtocol

	fmt.Println("== roles")
	q("CREATE ROLE clerk LOGIN PASSWORD 'pencil'")
	q("CREATE TABLE letters (n int, body text)")
	q("GRANT SELECT, INSERT ON letters TO clerk")
	q("SELECT rolname, rolconfig, oid > 0 FROM pg_roles WHERE rolname = $1", "clerk")
	q("SELECT rolname FROM pg_roles WHERE rolname = ANY($1) ORDER BY 1", []string{"clerk", "nobody"})
	q("SELECT 'clerk'::regrole::text, relacl::text FROM pg_class WHERE relname = $1", "letters")
	fmt.Println("== errors")
	q("GRANT SELECT ON letters TO nobody")
	q("GRANT SELECT ON letters clerk")
	q("DROP ROLE IF EXISTS ghost", simple)
	fmt.Println("== statement cache")
	for i := range 4 {
		q("SELECT rolname, $2::int FROM pg_roles WHERE rolname = $1", "clerk", i)
	}
	fmt.Println("== batch")
	b := &pgx.Batch{}
	for _, sql := range []string{"CREATE ROLE porter", "GRANT clerk TO porter", "SELECT pg_has_role('porter', 'clerk', 'member')", "CREATE ROLE porter", "CREATE ROLE never"} {
		b.Queue(sql)
	}
	results := c.SendBatch(ctx, b)
	for range b.Len() {
		tag, err := results.Exec()
		fmt.Println("  ", tag)
		show(err)
	}
	show(results.Close())
	q("SELECT rolname FROM pg_roles WHERE rolname IN ('porter', 'never')")
	fmt.Println("== transactions")
	show(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "CREATE ROLE temp")
		show(err)
		show(pgx.BeginFunc(ctx, tx, func(nested pgx.Tx) error {
			_, err := nested.Exec(ctx, "DROP ROLE nobody")
			return err
		}))
		return errors.New("rolled back")
	}))
	q("DROP ROLE temp")
	fmt.Println("== copy")
	n, err := c.CopyFrom(ctx, pgx.Identifier{"letters"}, []string{"n", "body"}, pgx.CopyFromSlice(1000, func(i int) ([]any, error) { return []any{i, "body"}, nil }))
	fmt.Println("  ", n)
	show(err)
	fmt.Println("== set role")
	q("SET ROLE clerk")
	q("SELECT current_user::text, count(*) FROM letters")
	q("DELETE FROM letters")
	q("RESET ROLE")
	fmt.Println("== cancel")
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	_, err = c.Exec(short, "SELECT pg_sleep(60)")
	stop()
	fmt.Println("  ", errors.Is(err, context.DeadlineExceeded))
	if err := c.Close(ctx); err != nil {
		return err
	}
	fmt.Println("== login")
	config.User, config.Password = "clerk", "pencil"
	if c, err = pgx.ConnectConfig(ctx, config); err != nil {
		return err
	}
	q("SELECT session_user::text, current_user::text")
	fmt.Println("  ", c.PgConn().ParameterStatus("session_authorization"))
	if err := c.Close(ctx); err != nil {
		return err
	}
	if c, err = pgx.Connect(ctx, ""); err != nil {
		return err
	}
	q("DROP OWNED BY clerk; DROP ROLE clerk, porter; DROP TABLE letters", simple)
	return c.Close(ctx)
}
