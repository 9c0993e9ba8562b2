package proxy

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
)

// meter counts sessions, and the bytes that they have moved, when it is asked: a message costs nothing for it.
type meter struct{ server *Server }

// The states of sessions, for people.
const (
	stateLogin = "login" // not logged in yet
	stateCount = 4
)

// The states of long texts.
const (
	textWaiting = "waiting"
	textRead    = "read"
)

var stateNames = map[engine.State]string{
	engine.Active: "active", engine.Idle: "idle", engine.InTransaction: "idle_in_transaction",
}

var (
	sessionsDesc = prometheus.NewDesc("pgscope_sessions", "Client connections now, those that log in included.", nil, nil)
	statesDesc   = prometheus.NewDesc("pgscope_sessions_by_state", "Client connections now, by what they do.", []string{"state"}, nil)
	textsDesc    = prometheus.NewDesc("pgscope_long_texts", "Long texts now, by whether they are read or wait to be.", []string{"state"}, nil)
	bytesDesc    = prometheus.NewDesc("pgscope_received_bytes_total", "Bytes of sessions after their login, by the side that sent them.",
		[]string{"side"}, nil)
)

// Describe implements [prometheus.Collector].
func (m *meter) Describe(c chan<- *prometheus.Desc) {
	c <- sessionsDesc
	c <- statesDesc
	c <- textsDesc
	c <- bytesDesc
}

// Collect implements [prometheus.Collector].
func (m *meter) Collect(c chan<- prometheus.Metric) {
	states := make(map[string]int, stateCount)
	sessions, moved := m.server.look(states)
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(sessionsDesc, sessions)
	gauge(statesDesc, states[stateLogin], stateLogin)
	for _, name := range stateNames {
		gauge(statesDesc, states[name], name)
	}
	waiting, read := m.server.readers.look()
	gauge(textsDesc, waiting, textWaiting)
	gauge(textsDesc, read, textRead)
	received := func(from side, n uint64) {
		c <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(n), string(from))
	}
	received(byClient, moved.fromClient)
	received(byServer, moved.fromServer)
}

// traffic is how many bytes were received of clients and of servers.
type traffic struct{ fromClient, fromServer uint64 }

func (t *traffic) add(more traffic) {
	t.fromClient += more.fromClient
	t.fromServer += more.fromServer
}

// look counts the sessions by state, and what all have moved that there ever were.
func (s *Server) look(states map[string]int) (sessions int, moved traffic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved = s.moved
	for sess := range s.sessions {
		state, more := sess.look()
		states[state]++
		if !sess.counted {
			moved.add(more)
		}
	}
	return len(s.sessions), moved
}

// look tells what the session does, and what it has moved.
func (s *session) look() (state string, moved traffic) {
	s.mu.Lock()
	r := s.relay
	s.mu.Unlock()
	if r == nil {
		return stateLogin, traffic{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return stateNames[r.engine.State()], r.moved
}

// count takes what a session has moved that has ended. From then on it is no longer asked.
func (s *Server) count(sess *session, r *relay) {
	s.metrics.ended.WithLabelValues(string(r.endedBy())).Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	sess.counted = true
	s.moved.add(r.moved)
}
