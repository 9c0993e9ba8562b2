//go:build !linux

package proxy

import (
	"context"
	"net"
	"time"
)

// Without event loops there are no coroutines: all sessions run in goroutines, which may block.

func offLoop(ctx context.Context, f func(context.Context)) { f(ctx) }

func adopt(_ context.Context, c net.Conn) net.Conn { return c }

func disown(net.Conn) {}

func (u *Upstream) connect(ctx context.Context, e upstreamEntry, by time.Time) (net.Conn, error) {
	return u.dialer(by).DialContext(ctx, e.network, e.address)
}
