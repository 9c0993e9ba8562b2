package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// ended closes both connections of a session whose relay has ended, after telling both sides, and logs the end.
func (s *session) ended(ctx context.Context) {
	r := s.relay
	end, e := r.end, r.engine
	if r.parked || r.keep() {
		r.abandon()
		s.close(r.client)
	} else {
		s.farewell(ctx, r)
		r.abandon()
		s.close(r.client)
		s.close(r.server)
	}
	s.server.count(s, r)
	level, reason := zap.InfoLevel, zap.NamedError("reason", end.err)
	if !orderly(end.err) && !e.Goodbye() && !e.Fatal() && end.side != byTimeout && end.side != byPolicy {
		level, reason = zap.WarnLevel, zap.Error(end.err)
	}
	if !s.server.o.Log.Core().Enabled(level) {
		return
	}
	s.log().Log(level, "session ended",
		zap.String("role", string(s.place.user)), zap.String("tls", s.encryption()), zap.String("auth", string(s.method)),
		zap.Duration("duration", time.Since(s.accepted)), zap.Uint64("from_client_bytes", r.moved.fromClient), zap.Uint64("from_server_bytes", r.moved.fromServer),
		zap.String("ended_by", string(r.endedBy())), reason)
}

// orderly reports whether an end needs no attention.
func orderly(err error) bool { return err == nil || errors.Is(err, io.EOF) }

// farewell gives the client the rest of what it was sent, tells both sides that the session is over, where they can still
// be told, and cancels the query of a client that is gone.
func (s *session) farewell(ctx context.Context, r *relay) {
	e := r.engine
	until := time.Now().Add(lastWords)
	_ = r.client.SetDeadline(until) // fails where nothing can be told
	_ = r.server.SetDeadline(until)
	if len(r.unsent) > 0 && !r.torn {
		_, err := socket(r.client).Write(r.unsent)
		r.torn = err != nil
	}
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
			if err := s.link.cancelQuery(context.WithoutCancel(ctx), c); err != nil {
				s.log().Warn("the query of a client that is gone was not cancelled", zap.Error(err))
			}
		}
	}
	if e.ServerAtBoundary() && (!e.Goodbye() || e.Kept()) { // else it has got the client's Terminate
		_, _ = r.server.Write(wire.AppendHeader(nil, wire.Terminate, 0)) // the server may be gone as well
	}
}

// linger lets the client read its last message. Closing a connection with unread data on it resets the connection, and
// the client may lose what it has not read yet.
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
	case r.end.side == byServer && errors.Is(r.end.err, os.ErrDeadlineExceeded):
		f.Code, f.Message, f.Hint = notInTime().Code, notInTime().Message, notInTime().Hint
	case r.end.side == byServer:
		f.Code, f.Message = scope.CodeConnectionFailure, "server closed the connection unexpectedly"
		f.Hint = "The server or its host may have stopped. Connect again."
	default:
		return nil
	}
	return &f
}
