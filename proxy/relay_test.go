package proxy

import (
	"errors"
	"net"
	"testing"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// faulty is a directory with a fault.
type faulty struct{ unscoped }

func (faulty) Stale() bool { panic("a fault") }

// TestFaultEndsItsSession: a panic in the engine is the end of one session, and its client is told.
func TestFaultEndsItsSession(t *testing.T) {
	client, far := net.Pipe()
	defer func() { _ = errors.Join(client.Close(), far.Close()) }()
	r := newBlocking(nil, client, client, engine.New(engine.Config{Directory: faulty{}, MaxMessage: 1 << 10}, engine.StartRole{}))
	var out engine.Out
	err := r.feedServer(append(wire.AppendHeader(nil, wire.ReadyForQuery, 1), wire.TxIdle), &out)
	var fault *panicked
	if !errors.As(err, &fault) || len(fault.stack) == 0 {
		t.Fatalf("error %v", err)
	}
	r.finish(ending{byServer, err})
	if told := lastError(r.relay); told == nil || told.Code != codeInternalError || told.Severity != wire.SeverityFatal {
		t.Errorf("the client is told %+v", told)
	}
}
