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
	sql := "SELECT pg_catalog.pg_try_advisory_lock($1)"
	if o.Wait {
		sql = "SELECT pg_catalog.pg_advisory_lock($1)"
	}
	rows, err := provision.Query(ctx, conn, sql, []string{strconv.FormatInt(lockKey, 10)})
	if err != nil || !o.Wait && rows[0][0] != "t" {
		return nil, false, errors.Join(err, release())
	}
	return release, true, nil
}
