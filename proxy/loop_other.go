//go:build !linux

package proxy

import (
	"context"
	"net"
)

// loops are event loops; there are some on Linux only. Elsewhere goroutines relay all sessions.
type loops struct{}

func newLoops(int) (*loops, error) { return &loops{}, nil }

func (*loops) acceptFrom(net.Listener, func(error), func(net.Conn) (*session, context.Context)) bool {
	return false
}

func (*loops) stopAccepting() {}

func handOver(*relay) bool { return false }

func (*loops) close() {}
