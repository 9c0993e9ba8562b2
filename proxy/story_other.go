//go:build !linux

package proxy

import (
	"context"
	"net"
)

// Without event loops there are no stories: all sessions begin and end in goroutines, where everything may take its time.

func apart(ctx context.Context, f func(context.Context)) { f(ctx) }

func adopt(_ context.Context, c net.Conn) net.Conn { return c }

func disown(net.Conn) {}

func (u *Upstream) connect(ctx context.Context, e upstreamEntry) (net.Conn, error) {
	return u.dialer().DialContext(ctx, e.network, e.address)
}
