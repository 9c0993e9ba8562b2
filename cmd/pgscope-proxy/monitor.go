package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/keeper"
	"github.com/pgscope/pgscope-proxy/proxy"
)

// monitor answers what operations ask: /livez, /readyz and /metrics.
type monitor struct {
	listener net.Listener
	server   http.Server
	// ready reports why the proxy cannot serve clients now; nil when it can.
	ready func(context.Context) error
	// keeper is asked how the server is kept at the manifest; nil where there is none. required: not well is not ready.
	keeper   *keeper.Keeper
	required atomic.Bool
	// failing is whether the server could not be reached when it was last tried: the log says so once.
	failing atomic.Bool
	log     *zap.Logger
	// connections is how many are open.
	connections atomic.Int64
	// leaving is set when the proxy stops: load balancers shall send nobody any more.
	leaving atomic.Bool
}

const (
	monitorTimeout = 5 * time.Second // for a whole request: the answers are short
	probeTimeout   = 2 * time.Second // for the server to answer a readiness probe
	lastAnswers    = time.Second     // for requests under way when the process ends

	maxMonitors = 100 // connections: sessions shall not lack the descriptors
)

func newMonitor(
	ctx context.Context, address string, reusePort bool, metrics prometheus.Gatherer, ready func(context.Context) error, k *keeper.Keeper, log *zap.Logger,
) (*monitor, error) {
	l, err := proxy.OpenListener(ctx, address, reusePort)
	if err != nil {
		return nil, fmt.Errorf("http-listen: %w", err)
	}
	m := &monitor{listener: l, ready: ready, keeper: k, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", m.livez)
	mux.HandleFunc("GET /readyz", m.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	errorLog, err := zap.NewStdLogAt(log, zap.WarnLevel)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	m.server = http.Server{
		Handler: mux, ReadTimeout: monitorTimeout, WriteTimeout: 2 * monitorTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10,
		ConnState: m.count, ErrorLog: errorLog,
	}
	return m, nil
}

// count closes a connection that is one too many.
func (m *monitor) count(c net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		m.connections.Add(-1)
	}
	if state == http.StateNew && m.connections.Add(1) > maxMonitors {
		_ = c.Close() // nobody has asked anything there
	}
}

// livez says that the process answers.
func (m *monitor) livez(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") }

// readyz says whether clients can be served: the proxy is not stopping, the server can be reached, and, where that is
// required, every database is as the manifest has it. The first line says it, the others tell of each database.
func (m *monitor) readyz(w http.ResponseWriter, r *http.Request) {
	if m.leaving.Load() {
		answer(w, http.StatusServiceUnavailable, "stopping")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	err := m.ready(ctx)
	m.tell(err)
	if err != nil {
		answer(w, http.StatusServiceUnavailable, "the PostgreSQL server cannot be reached")
		return
	}
	status, text := http.StatusOK, "ok"
	if m.keeper != nil {
		if err := m.keeper.Err(); err != nil && m.required.Load() {
			status, text = http.StatusServiceUnavailable, "not as the manifest has it"
		}
		text += "\n" + m.keeper.Summary()
	}
	answer(w, status, text)
}

// tell logs whether the server can be reached, where that has changed. Nobody may log in while
// the proxy is not ready, and say why.
func (m *monitor) tell(err error) {
	switch failed := err != nil; {
	case m.failing.Swap(failed) == failed:
	case failed:
		m.log.Warn("not ready: the server cannot be reached", zap.Error(err))
	default:
		m.log.Info("ready again: the server can be reached")
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // who asked may be gone
}

// run serves until stop is called.
func (m *monitor) run() error {
	if err := m.server.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// stop lets requests under way have their answer. Connections that ask nothing, or not to the end, are closed then.
func (m *monitor) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	err := m.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return m.server.Close()
	}
	return err
}
