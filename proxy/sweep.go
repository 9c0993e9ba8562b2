package proxy

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/provision"
)

// sweep repairs what was left behind while no proxy looked: databases that were dropped or renamed by direct
// connections, and whatever a crash has interrupted. The proxy works without it, so what goes wrong is only told.
func (s *Server) sweep(ctx context.Context) {
	log := s.o.Log.With(zap.String("task", "sweep"))
	config := s.o.Admin.Copy()
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.SeverityUnlocalized == "WARNING" {
			log.Warn(n.Message, zap.String("detail", n.Detail))
		} else {
			log.Info(n.Message, zap.String("detail", n.Detail))
		}
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		log.Warn("the admin connection cannot be made", zap.Error(err))
		return
	}
	warnings, err := provision.Sweep(ctx, conn, false)
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
