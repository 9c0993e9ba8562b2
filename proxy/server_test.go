package proxy

import (
	"net"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// exhausted is a listener that fails so many times, and is closed then.
type exhausted struct {
	net.Listener
	times int
}

func (e *exhausted) Accept() (net.Conn, error) {
	if e.times--; e.times < 0 {
		return nil, net.ErrClosed
	}
	return nil, syscall.EMFILE
}

// TestAcceptFails: the log says it once, however often it is tried again meanwhile.
func TestAcceptFails(t *testing.T) {
	core, told := observer.New(zap.WarnLevel)
	s := &Server{o: Options{Log: zap.New(core)}}
	s.accept(t.Context(), &exhausted{times: 5})
	if n := told.FilterMessage("accept failed").Len(); n != 1 {
		t.Errorf("told %d times", n)
	}
}
