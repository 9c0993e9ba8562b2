package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
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
	var check bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: "serve accepts PostgreSQL clients and relays them to a server, giving each database roles of its own.\n" +
			"SIGHUP reads the configuration again, with the policy, the certificates and the manifest; sessions go on. SIGTERM\n" +
			"stops: open transactions may end within the grace period.\n" +
			"With --check it only tells the mistakes for which it would not start.",
		Example: "  pgscope-proxy serve --upstream 'host=db.internal sslmode=verify-full' --listen 127.0.0.1:6432\n" +
			"  pgscope-proxy serve --config /etc/pgscope/pgscope.yaml\n" +
			"  pgscope-proxy serve --config /etc/pgscope/pgscope.yaml --check",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*config.Config, error) { return config.Load(cmd.Flags()) }
			c, err := load()
			if err != nil {
				return ofFlags(cmd.Flags(), err)
			}
			log := newLogger(cmd.ErrOrStderr(), c.LogFormat, c.LogLevel)
			defer log.lines.Close()
			if check {
				return ofFlags(cmd.Flags(), checkSettings(c, log.Logger))
			}
			return ofFlags(cmd.Flags(), serve(cmd.Context(), c, load, log))
		},
	}
	config.AddFlags(c.Flags())
	c.Flags().BoolVar(&check, "check", false, "read the settings and the files that they name, tell what is wrong with them, and end")
	return c
}

// checkSettings tells the mistakes for which serve would not start, but for those that only show when it writes, listens
// or connects somewhere.
func checkSettings(c *config.Config, log *zap.Logger) error {
	metrics := prometheus.NewRegistry()
	o, err := proxyOptions(c, log, metrics)
	if err != nil {
		return err
	}
	tellUseless(c, log)
	_, err = newService(c, o, zap.NewAtomicLevel(), metrics)
	return err
}

// gcPercent is GOGC, where that is not set.
const gcPercent = 200

// serve runs the proxy until ctx ends. load reads the configuration anew.
func serve(ctx context.Context, c *config.Config, load func() (*config.Config, error), said *logger) (err error) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	signal.Ignore(syscall.SIGPIPE) // else the process ends with whoever reads its log
	log := said.Logger
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(), said.lines.metric(),
	)
	o, err := proxyOptions(c, log, metrics)
	if err != nil {
		return err
	}
	// The event loops keep a processor of Go's each while there is traffic. Half as many are for the rest of the program.
	o.Processors = runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.Processors + o.Processors/2))
	if os.Getenv("GOGC") == "" {
		// Garbage is mostly of logins, of which a loop that collects it has less time for the next; what
		// they leave, the proxy tidies up.
		debug.SetGCPercent(gcPercent)
	}
	if o.Audit, err = openAudit(c.Audit, log, metrics); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAudit(o.Audit, log)) }()
	if o.Tracer, err = openTracer(ctx, c.Trace, log); err != nil {
		return err
	}
	defer closeTracer(o.Tracer, log)
	s, err := newService(c, o, said.level, metrics)
	if err != nil {
		return err
	}
	tellUseless(c, log)
	reloads := newReloader(c, load, s.put, log, metrics)
	if err := s.listen(ctx, metrics); err != nil {
		return err
	}
	// What the start has left is collected. The collector takes 1.6 MiB for itself when it first runs, which it better does
	// now than among the first clients.
	runtime.GC()
	return s.run(ctx, hangups, reloads)
}

// service is what serve runs: the proxy, and beside it the reconciler and the monitor where they are wanted.
type service struct {
	config  *config.Config // in force
	options proxy.Options
	log     *zap.Logger
	level   zap.AtomicLevel
	proxy   *proxy.Server
	keeping *keeping       // nil without a manifest
	keeper  *keeper.Keeper // likewise
	monitor *monitor       // nil without an address for it
}

func newService(c *config.Config, o proxy.Options, level zap.AtomicLevel, metrics prometheus.Registerer) (*service, error) {
	s := &service{config: c, options: o, log: o.Log, level: level}
	s.keeping = newKeeping(c, o.Admin, func(d *policy.Declared) { s.proxy.SetDeclared(d) }, s.log)
	if s.keeping != nil {
		settings, err := s.keeping.settings(c.Reconcile)
		if err != nil {
			return nil, err
		}
		s.keeper = keeper.New(keeper.Options{Settings: settings, Log: s.log, Metrics: metrics, Tracer: o.Tracer})
		s.options.AccessChanged = s.keeper.Nudge
	}
	var err error
	if s.proxy, err = proxy.New(s.options); err != nil {
		return nil, err
	}
	if s.keeper != nil {
		if err := s.keeper.Load(); err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
	}
	return s, nil
}

// put puts all of a configuration in force that can change while the proxy runs or, where something is wrong, nothing.
// The files that it names are read, but for the manifest, which has its own ways to be wrong.
func (s *service) put(c *config.Config) error {
	settings, err := proxySettings(c)
	if err != nil {
		return err
	}
	var kept keeper.Settings
	if s.keeping != nil {
		if kept, err = s.keeping.settings(c.Reconcile); err != nil {
			return err
		}
	}
	if err := s.proxy.Reload(settings); err != nil {
		return err
	}
	if s.keeper != nil {
		s.keeper.Configure(kept)
	}
	if s.monitor != nil {
		s.monitor.required.Store(c.Reconcile.Required)
	}
	s.level.SetLevel(c.LogLevel)
	s.config = c
	return nil
}

// listen opens every address, or none.
func (s *service) listen(ctx context.Context, metrics prometheus.Gatherer) (err error) {
	if address := s.config.HTTPListen; address != "" {
		s.monitor, err = newMonitor(ctx, address, s.config.ReusePort, metrics, s.options.Upstream.Probe, s.keeper, s.log)
		if err != nil {
			return err
		}
		s.monitor.required.Store(s.config.Reconcile.Required)
	}
	if err := s.proxy.Listen(ctx); err != nil {
		if s.monitor != nil {
			err = errors.Join(err, s.monitor.listener.Close())
		}
		return err
	}
	return nil
}

// run serves until ctx ends, or the monitor fails: the proxy is of use without it, but nobody would know how it is.
func (s *service) run(ctx context.Context, hangups <-chan os.Signal, r *reloader) error {
	monitored := make(chan error, 1)
	if s.monitor != nil {
		go func() { monitored <- s.monitor.run() }()
	}
	s.tellReady()
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.relay(running) }()
	for {
		select {
		case <-hangups:
			tellManager(s.log, stateReloading())
			if !r.reload() && s.keeper != nil {
				s.keeper.Reload() // the manifest is read in any case
			}
			tellManager(s.log, stateReady)
		case err := <-monitored:
			stop()
			return errors.Join(err, <-done)
		case <-ctx.Done():
			tellManager(s.log, stateStopping)
			s.log.Info("stopping", zap.Duration("grace", s.config.ShutdownGrace))
			if s.monitor != nil {
				s.monitor.leaving.Store(true)
			}
			err := <-done
			if s.monitor != nil {
				err = errors.Join(err, s.monitor.stop(), <-monitored)
			}
			s.log.Info("stopped")
			return err
		}
	}
}

// relay runs the proxy, and the reconciler if there is one, until ctx ends.
func (s *service) relay(ctx context.Context) error {
	var keeping sync.WaitGroup
	defer keeping.Wait()
	if s.keeper != nil {
		keeping.Go(func() { s.keeper.Run(ctx) })
	}
	return s.proxy.Run(ctx)
}

func (s *service) tellReady() {
	tellManager(s.log, stateReady)
	fields := []zap.Field{zap.String("listen", strings.Join(s.proxy.Addresses(), ","))}
	if s.monitor != nil {
		fields = append(fields, zap.Stringer("http", s.monitor.listener.Addr()))
	}
	s.log.Info("ready", append(fields,
		zap.Stringer("upstream", s.options.Upstream), zap.String("mode", string(s.config.Mode)))...)
}
