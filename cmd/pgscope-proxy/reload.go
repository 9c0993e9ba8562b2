package main

import (
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/config"
)

// reloader puts a changed configuration in force while the proxy runs.
type reloader struct {
	started *config.Config // what the process began with
	load    func() (*config.Config, error)
	put     func(*config.Config) error // in force, or nothing of it
	log     *zap.Logger

	reloads *prometheus.CounterVec // by result
	last    prometheus.Gauge
}

// The results of a reload.
const (
	reloadDone   = "done"
	reloadFailed = "failed"
)

func newReloader(
	c *config.Config, load func() (*config.Config, error), put func(*config.Config) error, log *zap.Logger, metrics prometheus.Registerer,
) *reloader {
	r := &reloader{
		started: c, load: load, put: put, log: log,
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgscope_reloads_total", Help: "Reloads of the configuration, by result.",
		}, []string{"result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pgscope_last_reload_success", Help: "Whether the configuration that is in force is the one in the files, as far as is known: 1 or 0.",
		}),
	}
	r.reloads.WithLabelValues(reloadDone)
	r.reloads.WithLabelValues(reloadFailed)
	r.last.Set(1)
	metrics.MustRegister(r.reloads, r.last)
	return r
}

// reload reads the configuration, and the files that it names, again. Everything is put in force or, where something is
// wrong, nothing. Sessions go on.
func (r *reloader) reload() (done bool) {
	c, err := r.load()
	if err == nil {
		err = r.put(c)
	}
	if err != nil {
		r.reloads.WithLabelValues(reloadFailed).Inc()
		r.last.Set(0)
		r.log.Error("not reloaded: everything stays as it was", zap.Error(err))
		return false
	}
	r.reloads.WithLabelValues(reloadDone).Inc()
	r.last.Set(1)
	if keys := config.NeedRestart(r.started, c); len(keys) > 0 {
		r.log.Warn("some settings have changed that need a restart", zap.Strings("settings", keys))
	}
	tellUseless(c, r.log)
	r.log.Info("reloaded")
	return true
}

// tellUseless warns of settings that have no effect: clients without TLS, for one, where somebody has given a certificate.
func tellUseless(c *config.Config, log *zap.Logger) {
	for _, u := range c.Useless() {
		log.Warn("a setting has no effect", zap.String("setting", u.Setting), zap.String("because", u.Because))
	}
}
