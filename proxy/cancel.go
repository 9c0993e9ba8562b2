package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// A CancelRequest comes on a connection of its own, and gets no answer: the server closes the connection when it has
// done what it wanted to do. The proxy hands out the server's own keys, so it forwards requests without knowing the
// session; any proxy in front of a server can forward the requests of every other's clients.

// cancelTimeout bounds a cancel request from dial to close.
const cancelTimeout = 10 * time.Second

// forwardCancel sends a client's request to the server, and returns when the server has closed the
// connection, so that the client's connection can be closed then. Of several hosts each gets it, and each
// address of a host: the key does not say whose it is, and a server that does not know it ignores it. An
// error is that of every server that could not be told.
func (u *Upstream) forwardCancel(ctx context.Context, c wire.CancelRequest) error {
	var (
		servers sync.WaitGroup
		mu      sync.Mutex
		errs    []error
	)
	for _, host := range u.hosts() {
		for _, address := range u.addresses(ctx, host[0]) {
			servers.Go(func() {
				if err := u.through(atAddress(host, address)).cancel(ctx, c); err != nil {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, err)
				}
			})
		}
	}
	servers.Wait()
	return errors.Join(errs...)
}

// addresses returns where a host is: a name may stand for several servers. One that cannot be looked up stays as it is.
func (u *Upstream) addresses(ctx context.Context, e upstreamEntry) []string {
	if e.network == "unix" {
		return []string{e.address}
	}
	ctx, stop := context.WithTimeout(ctx, u.timeout)
	defer stop()
	ips, err := net.DefaultResolver.LookupHost(ctx, e.host)
	if err != nil {
		return []string{e.address}
	}
	for i, ip := range ips {
		ips[i] = net.JoinHostPort(ip, strconv.Itoa(int(e.port)))
	}
	return ips
}

// atAddress returns the ways to a host by one of its addresses.
func atAddress(host []upstreamEntry, address string) []upstreamEntry {
	host = slices.Clone(host)
	for i := range host {
		host[i].address = address
	}
	return host
}

// cancelQuery cancels what a session's server is doing, for a client that is not there any more.
func (l *serverLink) cancelQuery(ctx context.Context, c wire.CancelRequest) error {
	way := l.upstream.entries[l.entry : l.entry+1]
	if way[0].network != "unix" {
		way = atAddress(way, l.address)
	}
	return l.upstream.through(way).cancel(ctx, c)
}

// cancel sends a request to the first entry that can be reached.
func (u *Upstream) cancel(ctx context.Context, c wire.CancelRequest) (err error) {
	ctx, stop := context.WithTimeout(ctx, cancelTimeout)
	defer stop()
	link, err := u.dial(ctx)
	if err != nil {
		return fmt.Errorf("cancel request: %w", err)
	}
	defer func() { err = errors.Join(err, link.Close()) }()
	defer interruptWith(ctx, link)()

	if _, err := link.Write(wire.AppendCancel(nil, c)); err != nil {
		return fmt.Errorf("cancel request: %w", err)
	}
	// The server writes nothing. That it closes without TLS's close_notify, or resets, says as much as an orderly end.
	_, err = io.Copy(io.Discard, link)
	if ctx.Err() == nil {
		return nil
	}
	return fmt.Errorf("cancel request: server did not close the connection: %w", err)
}

// forwardCancel brings a client's cancel request to the server.
func (s *session) forwardCancel(ctx context.Context, c wire.CancelRequest) {
	s.server.readers.cancel(c)
	result := cancelForwarded
	var err error
	offLoop(ctx, func(ctx context.Context) { err = s.server.o.Upstream.forwardCancel(ctx, c) })
	if err != nil {
		result = cancelFailed
		s.log().Warn("cancel request was not delivered", zap.Error(err))
	}
	s.server.metrics.cancels.WithLabelValues(result).Inc()
}
