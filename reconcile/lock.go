package reconcile

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/provision"
)

// Advisory locks belong to a database, and a cluster shall have one writer: all meet in this one, or where they may not
// connect to it, in their own.
const meetingPlace = "postgres"

// lockKey is "pgscopeR" in ASCII.
const lockKey int64 = 0x706773636f706552

// lastingSQL begins a transaction that none of the limits ends that a role or a database may set for its sessions. The
// lock is a transaction's and not a session's, so that it is held, and given back, behind a pooler too.
const lastingSQL = "BEGIN; SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name IN " +
	"('lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"

// lock makes this process the one that applies to the cluster; false where another is.
func (o Options) lock(ctx context.Context) (release func() error, ok bool, err error) {
	conn, err := o.Connect(ctx, meetingPlace)
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		conn, err = o.Connect(ctx, "")
	}
	if err != nil {
		return nil, false, err
	}
	release = func() error { return conn.Close(context.WithoutCancel(ctx)) }
	sql := "SELECT pg_catalog.pg_try_advisory_xact_lock($1)"
	if o.Wait {
		sql = "SELECT pg_catalog.pg_advisory_xact_lock($1)"
	}
	if err = run(ctx, conn, lastingSQL); err != nil {
		return nil, false, errors.Join(err, release())
	}
	rows, err := provision.Query(ctx, conn, sql, []string{strconv.FormatInt(lockKey, 10)})
	if err != nil || !o.Wait && rows[0][0] != "t" {
		return nil, false, errors.Join(err, release())
	}
	return release, true, nil
}
