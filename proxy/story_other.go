//go:build !linux

package proxy

import (
	"context"
	"net"
	"time"
)

// Without event loops there are no stories: all sessions begin and end in goroutines, where everything may take its time.

func apart(ctx context.Context, f func(context.Context)) { f(ctx) }

func adopt(_ context.Context, c net.Conn) net.Conn { return c }

func disown(net.Conn) {}

func (u *Upstream) connect(ctx context.Context, e upstreamEntry, by time.Time) (net.Conn, error) {
	return u.dialer(by).DialContext(ctx, e.network, e.address)
}
