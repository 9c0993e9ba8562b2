package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// ended tells both sides and the log that the relay has ended.
func (x *session) ended(ctx context.Context) {
	r := x.relay
	end, e := r.end, r.engine
	if r.left || r.keep() {
		r.abandon()
		x.close(r.client)
	} else {
		x.farewell(ctx, r)
		r.abandon()
		x.close(r.client)
		x.close(r.server)
	}
	x.server.count(x, r)
	level, reason := zap.InfoLevel, zap.NamedError("reason", end.err)
	if !orderly(end.err) && !e.Goodbye() && !e.Fatal() && end.side != byTimeout && end.side != byPolicy {
		level, reason = zap.WarnLevel, zap.Error(end.err)
	}
	if !x.server.o.Log.Core().Enabled(level) {
		return
	}
	x.log().Log(level, "session ended",
		zap.String("role", string(x.place.user)), zap.String("tls", x.encryption()), zap.String("auth", string(x.method)),
		zap.Duration("duration", time.Since(x.came)), zap.Uint64("from_client_bytes", r.moved.heard), zap.Uint64("from_server_bytes", r.moved.said),
		zap.String("ended_by", string(r.endedBy())), reason)
}

// orderly reports whether an end is one that needs no attention.
func orderly(err error) bool { return err == nil || errors.Is(err, io.EOF) }

// farewell tells both sides that the session is over, as far as they can still be told, and cancels what the server does
// for a client that is gone.
func (x *session) farewell(ctx context.Context, r *relay) {
	e := r.engine
	until := time.Now().Add(lastWords)
	_ = r.client.SetDeadline(until) // fails where nothing can be told
	_ = r.server.SetDeadline(until)
	if !r.torn && e.ClientAtBoundary() && !e.Fatal() && !e.Goodbye() {
		if last := lastError(r); last != nil {
			_, _ = r.client.Write(wire.AppendError(nil, *last)) // the client may be gone as well
			linger(r.client)
		}
	}
	if r.end.side == byServer {
		return
	}
	if key := e.CancelKey(); key != "" && e.Waiting() && !e.Goodbye() {
		if c, err := wire.DecodeCancel([]byte(key)); err == nil {
			if err := x.link.cancelQuery(context.WithoutCancel(ctx), c); err != nil {
				x.log().Warn("the query of a client that is gone was not cancelled", zap.Error(err))
			}
		}
	}
	if e.ServerAtBoundary() && (!e.Goodbye() || e.Kept()) { // else it knows
		_, _ = r.server.Write(wire.AppendHeader(nil, wire.Terminate, 0)) // the server may be gone as well
	}
}

// linger lets the client read what it was told. To close a connection on which the client's next words have arrived resets
// it, and with it may go what the client has not read yet.
func linger(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime)) // a connection without is at its end
	_, _ = io.Copy(io.Discard, c)                     // until the client has closed, or the time is up
}

// lingerTime is how long a client has to close after its last message.
const lingerTime = 500 * time.Millisecond

const codeInternalError = "XX000" // internal_error

// lastError is what the client is told about the end of its session; nil where it knows, or is gone.
func lastError(r *relay) *wire.Fields {
	f := wire.Fields{Severity: wire.SeverityFatal}
	var violation *engine.Error
	var fault *panicked
	switch {
	case errors.As(r.end.err, &fault):
		f.Code, f.Message = codeInternalError, "the proxy failed"
		f.Hint = "The proxy's log says more."
	case errors.As(r.end.err, &violation):
		f.Code, f.Message, f.Detail, f.Hint = violation.Report.Code, violation.Report.Message, violation.Report.Detail, violation.Report.Hint
	case r.end.side == byShutdown:
		f.Code, f.Message = stopping().Code, stopping().Message
	case r.end.side == byServer:
		f.Code, f.Message = scope.CodeConnectionFailure, "server closed the connection unexpectedly"
		f.Hint = "The server or its host may have stopped. Connect again."
	default:
		return nil
	}
	return &f
}
