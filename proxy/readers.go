package proxy

import (
	"crypto/subtle"
	"maps"
	"slices"
	"sync"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// longText is from how many bytes on a text is read apart from its session's driver, which other sessions wait for.
const longText = 8 << 10

// readers are who read long texts: not more at a time than leave processors to all others, and memory. Who comes then
// waits for its turn.
type readers struct {
	turns chan struct{} // one for each that reads

	mu      sync.Mutex
	waiting map[*session]struct{} // whose texts are read, or will be
}

func newReaders(processors int) *readers {
	return &readers{turns: make(chan struct{}, max(1, processors/2)), waiting: make(map[*session]struct{})}
}

// inTurn implements [owner].
func (s *session) inTurn(work func()) {
	r := s.server.readers
	r.note(func() { r.waiting[s] = struct{}{} })
	defer r.note(func() { delete(r.waiting, s) })
	r.turns <- struct{}{}
	defer func() { <-r.turns }()
	work()
}

func (r *readers) note(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// cancel is for a request that finds nothing to cancel at the server, since it was not told yet what the client waits for.
func (r *readers) cancel(c wire.CancelRequest) {
	var list []*session
	r.note(func() { list = slices.Collect(maps.Keys(r.waiting)) })
	for _, s := range list {
		s.relay.cancel(c)
	}
}

// cancel lets a text fail that is read apart, if the request is for this session.
func (r *relay) cancel(c wire.CancelRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own, err := wire.DecodeCancel([]byte(r.engine.CancelKey()))
	if err == nil && own.ProcessID == c.ProcessID && subtle.ConstantTimeCompare(own.Secret, c.Secret) == 1 {
		r.engine.Cancel()
	}
}
