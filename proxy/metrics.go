package proxy

import "github.com/prometheus/client_golang/prometheus"

// metrics are the proxy's own figures. No label holds a name of a role, a database or an address.
type metrics struct {
	sessions   prometheus.Gauge
	ended      *prometheus.CounterVec // by side
	logins     *prometheus.CounterVec // by result
	cancels    prometheus.Counter
	statements *prometheus.CounterVec // by result
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pgscope_sessions", Help: "Client connections now, those that log in included.",
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgscope_sessions_ended_total", Help: "Sessions that have ended, by the side that ended them.",
		}, []string{"side"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgscope_logins_total", Help: "Logins, by result.",
		}, []string{"result"}),
		cancels: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pgscope_cancel_requests_total", Help: "Cancel requests of clients.",
		}),
		statements: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pgscope_role_statements_total", Help: "Texts that name roles, by what became of them.",
		}, []string{"result"}),
	}
	r.MustRegister(m.sessions, m.ended, m.logins, m.cancels, m.statements)
	return m
}
