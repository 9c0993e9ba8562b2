package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// task is what a connection does at a time. It returns an error if an answer is not what it must be.
type task struct {
	name  string
	share int // of all tasks, in those of the sum
	run   func(context.Context, *worker) error
}

var tasks = []task{
	{"select, simple", 25, selectSimple},
	{"select, prepared", 25, selectPrepared},
	{"pipeline of 5", 10, pipeline},
	{"transaction", 8, transaction},
	{"large result, 1 MB", 1, largeResult},
	{"COPY in and out", 4, copyBoth},
	{"role, rolled back", 6, roleRolledBack},
	{"role, kept and dropped", 4, roleKept},
	{"long text", 2, longText},
	{"catalogs", 5, catalogs},
	{"refused", 4, refused},
	{"error of the server", 3, failing},
	{"cancel", 1, cancelled},
	{"leave", 2, leave},
	{"vanish", 2, vanish},
}

// choose picks a task by its share.
func (w *worker) choose() task {
	sum := 0
	for _, k := range tasks {
		sum += k.share
	}
	n := w.rng.IntN(sum)
	for _, k := range tasks {
		if n -= k.share; n < 0 {
			return k
		}
	}
	panic("unreachable: n is less than the sum")
}

// role is the name of the worker's role. The same in each database.
func (w *worker) role() string { return fmt.Sprintf("role%d", w.id/len(databases)) }

// exec runs statements as one string, in the simple protocol.
func (w *worker) exec(ctx context.Context, sql string) ([]*pgconn.Result, error) {
	return w.conn.PgConn().Exec(ctx, sql).ReadAll()
}

// wants runs statements whose last result is one value.
func (w *worker) wants(ctx context.Context, sql, want string) error {
	results, err := w.exec(ctx, sql)
	if err != nil {
		return err
	}
	if len(results) == 0 {
		return fmt.Errorf("%s: no result", sql)
	}
	last := results[len(results)-1]
	if len(last.Rows) != 1 || string(last.Rows[0][0]) != want {
		return fmt.Errorf("%s: %d rows, want %q", sql, len(last.Rows), want)
	}
	return nil
}

// fails expects an error of that SQLSTATE whose message has this text.
func fails(err error, sqlstate, text string) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != sqlstate || !strings.Contains(e.Message, text) {
		return fmt.Errorf("want an error %s %q: %w", sqlstate, text, err)
	}
	return nil
}

func selectSimple(ctx context.Context, w *worker) error {
	id := 1 + w.rng.IntN(1000)
	return w.wants(ctx, fmt.Sprintf("SELECT owner FROM item WHERE id = %d", id), fmt.Sprintf("owner%d", id))
}

func selectPrepared(ctx context.Context, w *worker) error {
	id := 1 + w.rng.IntN(1000)
	var owner string
	if err := w.conn.QueryRow(ctx, "SELECT owner FROM item WHERE id = $1", id).Scan(&owner); err != nil {
		return err
	}
	if want := fmt.Sprintf("owner%d", id); owner != want {
		return fmt.Errorf("%q, want %q", owner, want)
	}
	return nil
}

func pipeline(ctx context.Context, w *worker) error {
	var b pgx.Batch
	for i := range 5 {
		b.Queue("SELECT owner, $2::int FROM item WHERE id = $1", i+1, w.id).QueryRow(func(row pgx.Row) error {
			var owner string
			var id int
			if err := row.Scan(&owner, &id); err != nil {
				return err
			}
			if id != w.id || owner != fmt.Sprintf("owner%d", i+1) {
				return fmt.Errorf("an answer for somebody else: %s, %d", owner, id)
			}
			return nil
		})
	}
	return w.conn.SendBatch(ctx, &b).Close()
}

func transaction(ctx context.Context, w *worker) error {
	id := 1 + w.id // a row of its own, if there are no more connections than rows
	return errors.Join(
		w.wants(ctx, fmt.Sprintf("BEGIN; UPDATE item SET note = 'changed' WHERE id = %d; SELECT current_database()", id), w.database),
		w.wants(ctx, "ROLLBACK; SELECT count(*) FROM item WHERE note = 'changed'", "0"))
}

func largeResult(ctx context.Context, w *worker) error {
	results, err := w.exec(ctx, "SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
	if err != nil {
		return err
	}
	if n := len(results[0].Rows); n != 1000 {
		return fmt.Errorf("%d rows", n)
	}
	return nil
}

func copyBoth(ctx context.Context, w *worker) error {
	conn := w.conn.PgConn()
	if _, err := w.exec(ctx, "CREATE TEMP TABLE IF NOT EXISTS copied (a text); TRUNCATE copied"); err != nil {
		return err
	}
	const rows = 500
	in := strings.Repeat(w.role()+"\n", rows)
	if tag, err := conn.CopyFrom(ctx, strings.NewReader(in), "COPY copied FROM STDIN"); err != nil || tag.RowsAffected() != rows {
		return fmt.Errorf("copied %d rows: %w", tag.RowsAffected(), err)
	}
	var out strings.Builder
	if _, err := conn.CopyTo(ctx, &out, "COPY copied TO STDOUT"); err != nil {
		return err
	}
	if out.String() != in {
		return fmt.Errorf("copied %d bytes in and %d out", len(in), out.Len())
	}
	return nil
}

// roleRolledBack makes a role, uses it, and takes it back.
func roleRolledBack(ctx context.Context, w *worker) error {
	r := w.role()
	return errors.Join(
		w.wants(ctx, "BEGIN; CREATE ROLE "+r+"; CREATE TABLE of_"+r+" (a int); GRANT SELECT ON of_"+r+" TO "+r+"; SET LOCAL ROLE "+r+
			"; SELECT current_user", r),
		w.wants(ctx, "ROLLBACK; SELECT count(*) FROM pg_roles WHERE rolname = '"+r+"'", "0"))
}

// roleKept makes a role, sees it in the next transaction, and drops it.
func roleKept(ctx context.Context, w *worker) error {
	r := w.role()
	_, err := w.exec(ctx, "CREATE ROLE "+r+" CONNECTION LIMIT 7")
	return errors.Join(err,
		w.wants(ctx, "SELECT rolconnlimit FROM pg_roles WHERE rolname = '"+r+"'", "7"),
		w.wants(ctx, "DROP ROLE "+r+"; SELECT count(*) FROM pg_roles WHERE rolname = '"+r+"'", "0"))
}

// long is a text about the worker's role of more bytes than the proxy reads beside other sessions.
func (w *worker) long() string {
	r := w.role()
	return "BEGIN; CREATE ROLE " + r + "; CREATE TABLE of_" + r + " (a int);\n" +
		strings.Repeat("GRANT SELECT ON of_"+r+" TO "+r+"; -- said at such length that it is read apart from all that others say\n", 120)
}

// longText makes a role by a long text, sees it, and takes it back.
func longText(ctx context.Context, w *worker) error {
	return errors.Join(
		w.wants(ctx, w.long()+"SET LOCAL ROLE "+w.role()+"; SELECT current_user", w.role()),
		w.wants(ctx, "ROLLBACK; SELECT count(*) FROM pg_roles WHERE rolname = '"+w.role()+"'", "0"))
}

// catalogs looks at all the roles there are: each has its short name, and none is of the other database, where there
// are as many that are called the same.
func catalogs(ctx context.Context, w *worker) error {
	return w.wants(ctx, `SELECT count(*) || ' ' || count(*) FILTER (WHERE rolname ~ '^(orders|billing|pgscope)_') FROM
		(SELECT rolname FROM pg_roles GROUP BY rolname HAVING rolname !~ '^role' OR count(*) > 1) r WHERE rolname !~ '^pg_'`, "1 0") // postgres
}

// refused asks for what the proxy does not let pass, in each protocol.
func refused(ctx context.Context, w *worker) error {
	_, simple := w.exec(ctx, "SELECT 1; CREATE ROLE pgscope_mine; SELECT 2")
	_, extended := w.conn.Exec(ctx, "CREATE ROLE pgscope_mine", pgx.QueryExecModeExec)
	return errors.Join(fails(simple, "42939", "pgscope_mine"), fails(extended, "42939", "pgscope_mine"),
		w.wants(ctx, "SELECT 1", "1"))
}

// failing gets an error of the server, in which names are short.
func failing(ctx context.Context, w *worker) error {
	_, missing := w.exec(ctx, "GRANT nobody TO postgres")
	_, twice := w.exec(ctx, "BEGIN; CREATE ROLE "+w.role()+"; CREATE ROLE "+w.role())
	return errors.Join(fails(missing, "42704", `"nobody"`), fails(twice, "42710", `"`+w.role()+`"`),
		w.wants(ctx, "ROLLBACK; SELECT 1", "1"))
}

// cancelled starts a statement and has it cancelled. A request that comes before the statement has no effect, so there
// may be more than one.
func cancelled(ctx context.Context, w *worker) error {
	ended := make(chan struct{})
	var asking sync.WaitGroup
	var asked error
	asking.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Millisecond):
				asked = errors.Join(asked, w.conn.PgConn().CancelRequest(ctx))
			}
		}
	})
	_, err := w.exec(ctx, "SELECT pg_sleep(60)")
	close(ended)
	asking.Wait()
	return errors.Join(asked, fails(err, "57014", "user request"), w.wants(ctx, "SELECT 1", "1"))
}

// leave says good-bye.
func leave(ctx context.Context, w *worker) error {
	err := w.conn.Close(ctx)
	w.conn = nil
	return err
}

// vanish drops the connection without a word, in the middle of a transaction that has made a role, or while a long text
// is read.
func vanish(ctx context.Context, w *worker) (err error) {
	if w.rng.IntN(2) == 0 {
		_, err = w.exec(ctx, "BEGIN; CREATE ROLE "+w.role())
	} else {
		w.conn.PgConn().Frontend().SendQuery(&pgproto3.Query{String: w.long()})
		err = w.conn.PgConn().Frontend().Flush()
		time.Sleep(time.Duration(w.rng.IntN(5)) * time.Millisecond) // else the end may overtake it
	}
	if tcp, ok := w.conn.PgConn().Conn().(*net.TCPConn); ok {
		err = errors.Join(err, tcp.SetLinger(0))
	}
	err = errors.Join(err, w.conn.PgConn().Conn().Close())
	w.conn = nil
	return err
}
