package proxy

import "github.com/prometheus/client_golang/prometheus"

// metrics are the proxy's own figures. No label holds a name of a role, a database or an address. What sessions are and
// have moved is counted when somebody asks: meter.
type metrics struct {
	ended          *prometheus.CounterVec // by side
	logins         *prometheus.CounterVec // by result
	loginSeconds   prometheus.Histogram
	rejections     *prometheus.CounterVec // by limit
	cancels        *prometheus.CounterVec // by result
	statements     *prometheus.CounterVec // by result
	inquirySeconds prometheus.Histogram
}

// The values of labels that are not said elsewhere.
const (
	loginAccepted  = "accepted"
	loginRefused   = "refused"
	loginAbandoned = "abandoned" // the client left

	overrun    = "overrun"        // closed without a word: Limits.overrun
	byFailures = "login-failures" // failures

	cancelForwarded = "forwarded"
	cancelFailed    = "failed"

	statementForwarded = "forwarded"
	statementRefused   = "refused"
)

func newMetrics(s *Server, r prometheus.Registerer) *metrics {
	// A label's value shows as 0 before the first event: rate() misses a counter that appears with 1.
	countBy := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	m := &metrics{
		ended: countBy("pgscope_sessions_ended_total", "Sessions that have ended, by the side that ended them.", "side",
			string(byClient), string(byServer), string(byShutdown), string(byTimeout), string(byPolicy)),
		logins: countBy("pgscope_logins_total", "Logins, by result.", "result", loginAccepted, loginRefused, loginAbandoned),
		loginSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pgscope_login_duration_seconds", Help: "Time from a client's connection to the end of its login, of those that were let in.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}),
		rejections: countBy("pgscope_rejections_total", "Clients turned away because a limit was reached, by limit.", "limit",
			limitAll, limitAddress, limitUser, limitDatabase, byFailures, overrun),
		cancels: countBy("pgscope_cancel_requests_total", "Cancel requests of clients, by what became of them.", "result",
			cancelForwarded, cancelFailed),
		statements: countBy("pgscope_role_statements_total", "Texts that name roles, by what became of them.", "result",
			statementForwarded, statementRefused),
		inquirySeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pgscope_inquiry_duration_seconds", Help: "Time that statements were held until the server had told what their names mean.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
	}
	r.MustRegister(m.ended, m.logins, m.loginSeconds, m.rejections, m.cancels, m.statements, m.inquirySeconds, &meter{s})
	return m
}
