package proxy

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/provision"
)

const (
	// sweepTime is how long a sweep may take: it may have to wait for somebody's lock. Then it is left to the next start.
	sweepTime = 10 * time.Minute
	// A server that is not there yet is waited for: at first so long, then twice as long each time, up to the other.
	firstPause, longestPause = time.Second, time.Minute
)

// sweep repairs what was left behind while no proxy looked: databases that were dropped or renamed by direct
// connections, and whatever a crash has interrupted. The proxy works without it, so what goes wrong is only told.
func (s *Server) sweep(ctx context.Context) {
	log := s.o.Log.With(zap.String("task", "sweep"))
	conn, err := s.sweeper(ctx, log)
	if err != nil {
		if ctx.Err() == nil {
			log.Warn("the admin connection cannot be made", zap.Error(err))
		}
		return
	}
	bounded, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	warnings, err := provision.TrySweep(bounded, conn)
	for _, w := range warnings {
		log.Warn(w)
	}
	if err != nil && ctx.Err() == nil {
		log.Warn("not all could be swept", zap.Error(err))
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	_ = conn.Close(closing) // it is not needed any more
}

// sweeper returns a connection that logs what the server says. It waits for a server that is not there yet.
func (s *Server) sweeper(ctx context.Context, log *zap.Logger) (*pgconn.PgConn, error) {
	config := s.o.Admin.Copy()
	config.RuntimeParams["statement_timeout"] = strconv.FormatInt(sweepTime.Milliseconds(), 10) // it would not hear of ours
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			log.Warn(n.Message, zap.String("detail", n.Detail))
		} else {
			log.Info(n.Message, zap.String("detail", n.Detail))
		}
	}
	var conn *pgconn.PgConn
	err := whenThere(ctx, func() (err error) {
		conn, err = pgconn.ConnectConfig(ctx, config)
		return err
	}, func(err error) { log.Warn("the server is not there yet: it is swept when it is", zap.Error(err)) })
	return conn, err
}

// whenThere does something at the server, again as long as that is not there. wait, if not nil, is told of the first time.
func whenThere(ctx context.Context, do func() error, wait func(error)) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := do()
		if err == nil || !notThere(err) {
			return err
		}
		if wait != nil && pause == firstPause {
			wait(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notThere reports whether it was no answer of a server's that let a connection fail, or the
// one that it does not take any now.
func notThere(err error) bool {
	var said *pgconn.PgError
	return !errors.As(err, &said) || said.Code == cannotConnectNow
}
