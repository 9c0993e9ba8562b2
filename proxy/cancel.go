package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// A CancelRequest comes on a connection of its own, and gets no answer: the server closes the connection when it has
// done what it wanted to do. The proxy hands out the server's own keys, so it forwards requests without knowing the
// session; any proxy in front of a server can forward the requests of every other's clients.

// cancelTimeout bounds a cancel request from dial to close.
const cancelTimeout = 10 * time.Second

// forwardCancel sends a client's request to the server, and returns when the server has closed the connection, so that
// the client's connection can be closed then. Of several hosts each gets it: the key does not say whose it is, and a
// host that does not know it ignores it.
func (u *Upstream) forwardCancel(ctx context.Context, c wire.CancelRequest) error {
	var (
		hosts sync.WaitGroup
		mu    sync.Mutex
		errs  []error
	)
	for from := 0; from < len(u.entries); from = u.hostEnd(from) {
		to := u.hostEnd(from)
		hosts.Go(func() {
			if err := u.cancelAt(ctx, from, to, c); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	hosts.Wait()
	return errors.Join(errs...)
}

// cancelQuery cancels what a session's server is doing, for a client that is not there any more.
func (u *Upstream) cancelQuery(ctx context.Context, session *serverLink, c wire.CancelRequest) error {
	return u.cancelAt(ctx, session.entry, session.entry+1, c)
}

func (u *Upstream) cancelAt(ctx context.Context, from, to int, c wire.CancelRequest) (err error) {
	ctx, stop := context.WithTimeout(ctx, cancelTimeout)
	defer stop()
	link, err := u.dialAny(ctx, from, to)
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
