package main

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/trace"
)

// openTracer returns nil where no traces are wanted.
func openTracer(ctx context.Context, c config.Trace, log *zap.Logger) (*trace.Tracer, error) {
	if c.Endpoint == "" {
		return nil, nil
	}
	t, err := trace.New(ctx, trace.Options{
		Endpoint: c.Endpoint, Ratio: c.Ratio, Service: c.Service, Version: versionName(),
		Failed: func(err error) { log.Warn("spans were not delivered", zap.Error(err)) },
	})
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	return t, nil
}

// traceGrace is how long the last spans may take.
const traceGrace = 3 * time.Second

func closeTracer(t *trace.Tracer, log *zap.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), traceGrace)
	defer cancel()
	if err := t.Close(ctx); err != nil { // no reason to end otherwise than well
		log.Warn("the last spans were not delivered", zap.Error(err))
	}
}
