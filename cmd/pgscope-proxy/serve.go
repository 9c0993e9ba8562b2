package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
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
			"SIGHUP reads the policy, the certificate and the manifest again. SIGTERM stops: open transactions may end within the grace period.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*config.Config, error) { return config.Load(cmd.Flags()) }
			c, err := load()
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, load, newLogger(cmd.ErrOrStderr(), c.LogFormat, c.LogLevel))
		},
	}
	config.AddFlags(c.Flags())
	return c
}

// serve runs the proxy until ctx ends. load reads the configuration anew.
func serve(ctx context.Context, c *config.Config, load func() (*config.Config, error), log *zap.Logger) (err error) {
	var cert certificate
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o, err := proxyOptions(c, &cert, log, metrics)
	if err != nil {
		return err
	}
	if o.Audit, err = openAudit(c.Audit, log); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAudit(o.Audit, log)) }()
	var server *proxy.Server
	k, err := newKeeper(c, o.Admin, func(d *policy.Declared) { server.SetDeclared(d) }, log, metrics)
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
			reload(load, server, &cert, log)
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

func proxyOptions(c *config.Config, cert *certificate, log *zap.Logger, metrics prometheus.Registerer) (proxy.Options, error) {
	upstream, err := proxy.NewUpstream(c.Upstream.Reveal())
	if err != nil {
		return proxy.Options{}, err
	}
	upstream.SetDefaultTimeout(c.ConnectTimeout)
	o := proxy.Options{
		Listen: c.Listen, ReusePort: c.ReusePort, Upstream: upstream,
		Mode: c.Mode, Databases: make(map[string]proxy.DatabaseOptions),
		LoginTimeout: c.LoginTimeout, Grace: c.ShutdownGrace, MaxStatement: c.MaxStatementSize,
		Log: log, Metrics: metrics,
	}
	if o.Inherited, err = inheritedListeners(); err != nil {
		return proxy.Options{}, err
	}
	authOptions(c, &o)
	for name, d := range c.Databases {
		o.Databases[name] = proxy.DatabaseOptions{Prefix: d.Prefix, Mode: d.Mode}
	}
	if !c.AdminDSN.Empty() {
		if o.Admin, err = pgconn.ParseConfig(c.AdminDSN.Reveal()); err != nil {
			return proxy.Options{}, errors.New("admin-dsn: the connection string cannot be used") // pgconn's error shows parts of it
		}
	}
	if o.ClientTLS, o.TLS, err = clientTLS(c.ClientTLS, cert); err != nil {
		return proxy.Options{}, err
	}
	o.Policy, err = loadPolicy(c)
	return o, err
}

func loadPolicy(c *config.Config) (*policy.Policy, error) {
	if c.Policy == "" {
		return policy.Default(), nil
	}
	p, err := policy.Load(c.Policy)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return p, nil
}

// reload puts a new policy and a new certificate into use, both or, where one of them is wrong, none. Connections stay.
func reload(load func() (*config.Config, error), server *proxy.Server, cert *certificate, log *zap.Logger) {
	c, err := load()
	var p *policy.Policy
	if err == nil {
		p, err = loadPolicy(c)
	}
	if err == nil {
		err = cert.load(c.ClientTLS)
	}
	if err != nil {
		log.Error("not reloaded: everything stays as it was", zap.Error(err))
		return
	}
	server.SetPolicy(p)
	log.Info("reloaded", zap.Strings("again", []string{"policy", "certificate"}))
}
