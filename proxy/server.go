package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Server accepts clients and runs their sessions.
type Server struct {
	o           Options
	settings    atomic.Pointer[settings]
	reloaded    chan struct{} // holds one where settings have changed, for checkVerify
	directories directories
	admin       *admin
	metrics     *metrics
	tally       *tally
	declared    atomic.Pointer[policy.Declared]
	loops       *loops                                                            // nil where sessions are relayed by goroutines
	analyze     func(string, rewrite.Options) (*rewrite.Analysis, *rewrite.Error) // for all sessions
	guesses     *lru.Cache[guess, int]                                            // the index in loginNames.candidates to try first
	failures    *failures
	pool        *pool // nil where no server connections are kept
	readers     *readers

	listeners  []net.Listener
	sockets    []string                  // the files of those that are Unix sockets of its own
	acceptTold atomic.Pointer[time.Time] // when acceptFailed last told something

	mu       sync.Mutex
	sessions map[*session]struct{}
	moved    traffic // by sessions that have ended
	running  sync.WaitGroup
}

// guess is a login for which the proxy does not know whose role is meant.
type guess struct {
	database string
	user     scope.Short
}

// maxGuesses bounds what clients can make the proxy remember.
const maxGuesses = 1 << 12

// New returns a server that does not listen yet.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	if o.Upstream == nil {
		return nil, errors.New("proxy: no upstream")
	}
	guesses, err := lru.New[guess, int](maxGuesses)
	if err != nil {
		return nil, err
	}
	analyses, err := newAnalyses()
	if err != nil {
		return nil, err
	}
	s := &Server{
		o: o, analyze: analyses.analyze, guesses: guesses, tally: newTally(), sessions: make(map[*session]struct{}), reloaded: make(chan struct{}, 1),
		readers: newReaders(o.Processors),
	}
	s.directories.prefixes = o.Prefixes
	if o.Admin != nil {
		s.o.Admin = o.Admin.Copy()
		if err := leaveOut(s.o.Admin.RuntimeParams); err != nil {
			return nil, fmt.Errorf("admin connection: %w", err)
		}
		s.o.Admin.ConnectTimeout = cmp.Or(s.o.Admin.ConnectTimeout, o.Upstream.timeout)
		s.admin = newAdmin(s.o.Admin)
	}
	if s.failures, err = newFailures(); err != nil {
		return nil, err
	}
	if o.Pool.Idle > 0 {
		s.pool = newPool(o.Pool, o.Metrics, o.Log)
	}
	if err := s.Reload(o.Settings); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(s, o.Metrics)
	return s, nil
}

// SetDeclared tells what the access manifest owns from now on; nil for nothing.
func (s *Server) SetDeclared(d *policy.Declared) { s.declared.Store(d) }

// Run accepts clients, after [Server.Listen], until ctx ends, then lets open transactions end within the grace period,
// ends the rest, and returns when every session has ended and every listener is closed.
func (s *Server) Run(ctx context.Context) error {
	if s.admin != nil {
		defer s.admin.close()
	}
	// Sessions end by drain and kill, not with ctx.
	sessions, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	if s.loops != nil {
		defer s.loops.close()
	}
	var accepting sync.WaitGroup
	if s.pool != nil {
		defer s.pool.close()
		accepting.Go(func() { s.pool.run(ctx) })
	}
	if s.o.Admin != nil {
		accepting.Go(func() { s.sweep(ctx) })
		accepting.Go(func() { s.checkVerify(ctx) })
	}
	watching, stopWatching := context.WithCancel(sessions)
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(watching) })
	defer watch.Wait()
	defer stopWatching()
	enter := func(c net.Conn) (*session, context.Context) { return s.enter(sessions, c) }
	for _, l := range s.listeners {
		if !s.loops.acceptFrom(l, s.acceptFailed, enter) {
			accepting.Go(func() { s.accept(sessions, l) })
		}
	}
	<-ctx.Done()
	s.closeListeners()
	accepting.Wait()
	s.loops.stopAccepting()
	s.drain(stop)
	return nil
}

const (
	acceptPause   = 50 * time.Millisecond // how long a listener rests after a failure
	acceptSilence = 10 * time.Second      // how long nothing is said of further ones
)

// acceptFailed tells of a failure: as long as no descriptors are left there is one after each pause.
func (s *Server) acceptFailed(err error) {
	now := time.Now()
	if last := s.acceptTold.Load(); (last == nil || now.Sub(*last) >= acceptSilence) && s.acceptTold.CompareAndSwap(last, &now) {
		s.o.Log.Warn("accept failed", zap.Error(err))
	}
}

// accept starts a session for each client, in a goroutine.
func (s *Server) accept(ctx context.Context, l net.Listener) {
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors, or the client is gone already: the others need not be
			s.acceptFailed(err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		if sess, login := s.enter(ctx, conn); sess != nil {
			go sess.serve(login)
		}
	}
}

// enter returns the session of a client that has just come, which is to be served, with the context of
// its login; nil where there are too many.
func (s *Server) enter(ctx context.Context, conn net.Conn) (sess *session, login context.Context) {
	sess, login = newSession(ctx, s, conn)
	if sess.settings.Limits.overrun(s.remember(sess)) {
		s.metrics.rejections.WithLabelValues(overrun).Inc()
		sess.release()
		return nil, nil
	}
	return sess, login
}

// remember returns how many sessions there are with this one.
func (s *Server) remember(sess *session) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[sess] = struct{}{}
	s.running.Add(1)
	return len(s.sessions)
}

// each calls f for all sessions. It must not block.
func (s *Server) each(f func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sess := range s.sessions {
		f(sess)
	}
}

func (s *Server) forget(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, sess)
}

// drain ends all sessions: those at rest at once, those in a transaction when it ends, and all when the time is up.
func (s *Server) drain(stop func()) {
	s.each((*session).drain)
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	grace := time.NewTimer(s.settings.Load().Grace)
	defer grace.Stop()
	select {
	case <-done:
		return
	case <-grace.C:
	}
	s.each((*session).kill)
	stop() // logins, and connections to servers, under way
	<-done
}
