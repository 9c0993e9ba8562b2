package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/keeper"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
)

func newServeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: "serve accepts PostgreSQL clients and relays them to a server, giving each database roles of its own.\n" +
			"SIGHUP reads the configuration again, with the policy, the certificates and the manifest; sessions go on. SIGTERM\n" +
			"stops: open transactions may end within the grace period.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*config.Config, error) { return config.Load(cmd.Flags()) }
			c, err := load()
			if err != nil {
				return err
			}
			level := zap.NewAtomicLevelAt(c.LogLevel)
			return serve(cmd.Context(), c, load, newLogger(cmd.ErrOrStderr(), c.LogFormat, level), level)
		},
	}
	config.AddFlags(c.Flags())
	return c
}

// serve runs the proxy until ctx ends. load reads the configuration anew; level is that of the log.
func serve(
	ctx context.Context, c *config.Config, load func() (*config.Config, error), log *zap.Logger, level zap.AtomicLevel,
) (err error) {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(),
	)
	o, err := proxyOptions(c, log, metrics)
	if err != nil {
		return err
	}
	if o.Audit, err = openAudit(c.Audit, log, metrics); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAudit(o.Audit, log)) }()
	if o.Tracer, err = openTracer(ctx, c.Trace, log); err != nil {
		return err
	}
	defer closeTracer(o.Tracer, log)
	var server *proxy.Server
	k, err := newKeeper(c, o.Admin, func(d *policy.Declared) { server.SetDeclared(d) }, log, metrics, o.Tracer)
	if err != nil {
		return err
	}
	if k != nil {
		o.AccessChanged = k.Nudge
	}
	if server, err = proxy.New(o); err != nil {
		return err
	}
	if k != nil {
		if err := k.Load(); err != nil {
			return err
		}
	}
	r := newReloader(c, load, server, log, level, metrics)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)

	var m *monitor
	if c.HTTPListen != "" {
		if m, err = newMonitor(ctx, c.HTTPListen, metrics, o.Upstream.Probe, k, c.Reconcile.Required); err != nil {
			return err
		}
	}
	if err := server.Listen(ctx); err != nil {
		if m != nil {
			err = errors.Join(err, m.listener.Close())
		}
		return err
	}

	failed := make(chan error, 1)
	ready := []zap.Field{zap.String("listen", strings.Join(server.Addresses(), ","))}
	if m != nil {
		ready = append(ready, zap.Stringer("http", m.listener.Addr()))
		go func() { failed <- m.run() }()
	}
	tellManager(log, stateReady)
	log.Info("ready", append(ready, zap.Stringer("upstream", o.Upstream), zap.String("mode", string(c.Mode)))...)

	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- runBoth(running, server, k) }()
	for {
		select {
		case <-hangups:
			tellManager(log, stateReloading())
			r.reload()
			if k != nil {
				k.Reload()
			}
			tellManager(log, stateReady)
		case err := <-failed: // the proxy is of use without its monitor, but nobody would know how it is
			stop()
			return errors.Join(err, <-done)
		case <-ctx.Done():
			tellManager(log, stateStopping)
			log.Info("stopping", zap.Duration("grace", c.ShutdownGrace))
			if m != nil {
				m.leaving.Store(true)
			}
			err := <-done
			if m != nil {
				err = errors.Join(err, m.stop(), <-failed)
			}
			log.Info("stopped")
			return err
		}
	}
}

// runBoth runs the proxy, and the reconciler if there is one, until ctx ends.
func runBoth(ctx context.Context, server *proxy.Server, k *keeper.Keeper) error {
	var keeping sync.WaitGroup
	defer keeping.Wait()
	if k != nil {
		keeping.Go(func() { k.Run(ctx) })
	}
	return server.Run(ctx)
}
