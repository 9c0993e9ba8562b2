package main

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// proxyOptions makes the proxy's options of the configuration.
func proxyOptions(c *config.Config, log *zap.Logger, metrics prometheus.Registerer) (proxy.Options, error) {
	upstream, err := proxy.NewUpstream(c.Upstream.Reveal())
	if err != nil {
		return proxy.Options{}, &settingError{"upstream", err}
	}
	upstream.SetDefaultTimeout(c.ConnectTimeout)
	o := proxy.Options{
		Listen: c.Listen, ReusePort: c.ReusePort, Upstream: upstream, Prefixes: make(map[string]string), Log: log, Metrics: metrics,
	}
	if o.Inherited, err = inheritedListeners(); err != nil {
		return proxy.Options{}, err
	}
	if c.Pool == config.PoolSession {
		o.Pool = proxy.PoolOptions{Idle: c.PoolIdle, Size: c.PoolSize, Lifetime: c.PoolLifetime, Check: c.PoolCheck}
	}
	for name, d := range c.Databases {
		o.Prefixes[name] = d.Prefix
	}
	if !c.AdminDSN.Empty() {
		if o.Admin, err = proxy.ParseConfig(c.AdminDSN.Reveal()); err != nil {
			return proxy.Options{}, &settingError{"admin-dsn", fmt.Errorf("admin-dsn: %w", err)}
		}
	}
	o.Settings, err = proxySettings(c)
	return o, err
}

// proxySettings are what of them can change while the proxy runs. The files that the configuration names are read.
func proxySettings(c *config.Config) (proxy.Settings, error) {
	s := proxy.Settings{
		Mode: c.Mode, Modes: make(map[string]scope.Mode),
		Limits: proxy.Limits(c.Limits),
		Timeouts: proxy.Timeouts{
			Login: c.LoginTimeout, Idle: c.IdleTimeout, IdleInTransaction: c.IdleInTransactionTimeout,
		},
		Grace: c.ShutdownGrace, MaxStatement: c.MaxStatementSize,
	}
	for name, d := range c.Databases {
		s.Modes[name] = d.Mode
	}
	authSettings(c, &s)
	var err error
	if s.ClientTLS, s.TLS, err = clientTLS(c.ClientTLS); err != nil {
		return proxy.Settings{}, err
	}
	s.Policy, err = loadPolicy(c)
	return s, err
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
