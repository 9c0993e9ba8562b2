//go:build !linux

package proxy

import (
	"context"
	"net"

	"go.uber.org/zap"
)

// loops are event loops; there are some on Linux only. Elsewhere goroutines relay all sessions.
type loops struct{}

func newLoops(int) (*loops, error) { return &loops{}, nil }

func (*loops) open(net.Listener, *zap.Logger, func(net.Conn) (*session, context.Context)) bool {
	return false
}

func (*loops) shutDoors() {}

func handOver(*relay) bool { return false }

func (*loops) close() {}
