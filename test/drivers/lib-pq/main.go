// Command lib-pq runs the driver lib/pq by database/sql: prepared statements, COPY, errors, notices, cancel by context.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/lib/pq"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func show(err error) {
	var e *pq.Error
	switch {
	case err == nil:
	case errors.As(err, &e):
		fmt.Println("  ", e.Severity, e.Code, e.Message, e.Position, e.Hint)
	default:
		fmt.Println("  ", err)
	}
}

func run(ctx context.Context) error {
	connector, err := pq.NewConnector("sslmode=disable")
	if err != nil {
		return err
	}
	db := sql.OpenDB(pq.ConnectorWithNoticeHandler(connector, func(e *pq.Error) { fmt.Println("  ", e.Severity, e.Code, e.Message) }))
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	q := func(text string, args ...any) {
		rows, err := c.QueryContext(ctx, text, args...)
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
	fmt.Println("== roles")
	q("CREATE ROLE clerk LOGIN PASSWORD 'pencil'; CREATE TABLE letters (n int, body text); GRANT SELECT, INSERT ON letters TO clerk")
	q("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = $1", "clerk")
	q("SELECT rolname FROM pg_roles WHERE rolname = ANY($1) ORDER BY 1", pq.Array([]string{"clerk", "nobody"}))
	fmt.Println("== errors")
	q("GRANT SELECT ON letters TO nobody")
	q("GRANT SELECT ON letters clerk")
	q("DROP ROLE IF EXISTS ghost")
	fmt.Println("== prepared")
	s, err := c.PrepareContext(ctx, "SELECT rolname || $2 FROM pg_roles WHERE rolname = $1")
	if err != nil {
		return err
	}
	for i := range 3 {
		var name string
		show(s.QueryRowContext(ctx, "clerk", fmt.Sprint(i)).Scan(&name))
		fmt.Println("  ", name)
	}
	show(s.Close())
	fmt.Println("== transactions and copy")
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	_, err = tx.Exec("CREATE ROLE temp")
	show(err)
	in, err := tx.Prepare(pq.CopyIn("letters", "n", "body"))
	if err != nil {
		return err
	}
	for i := range 1000 {
		_, err = in.Exec(i, "body")
		show(err)
	}
	_, err = in.Exec()
	show(err)
	show(in.Close())
	show(tx.Rollback())
	q("SELECT count(*), (SELECT count(*) FROM pg_roles WHERE rolname = 'temp') FROM letters")
	fmt.Println("== set role")
	q("SET ROLE clerk")
	q("SELECT current_user")
	q("DELETE FROM letters")
	q("RESET ROLE")
	fmt.Println("== cancel")
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	_, err = c.ExecContext(short, "SELECT pg_sleep(60)")
	stop()
	show(err)
	show(c.Close())
	fmt.Println("== login")
	own, err := sql.Open("postgres", "user=clerk password=pencil sslmode=disable")
	if err != nil {
		return err
	}
	var session, current string
	show(own.QueryRow("SELECT session_user, current_user").Scan(&session, &current))
	fmt.Println("  ", session, current)
	show(own.Close())
	_, err = db.Exec("DROP OWNED BY clerk; DROP ROLE clerk; DROP TABLE letters")
	show(err)
	return db.Close()
}
