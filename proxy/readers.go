package proxy

import (
	"crypto/subtle"
	"maps"
	"slices"
	"sync"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

const (
	// longText is from how many bytes on a text is read apart from its session's driver, which other sessions wait for.
	longText = 8 << 10
	// longestBrief is how many bytes a text may have that need not wait behind longer ones. To read and map such a text
	// takes 0.3 s of a processor at most of all that were tried.
	longestBrief = 64 << 10
)

// readers are who read long texts: not more at a time than leave processors to all others, and memory. Who comes then
// waits for its turn, those with brief texts for that of one reader more.
type readers struct {
	turns, brief chan struct{} // one for each that reads

	mu    sync.Mutex
	texts map[*session]bool // the sessions whose texts are read, true, or will be
}

func newReaders(processors int) *readers {
	return &readers{turns: make(chan struct{}, max(1, processors/2)), brief: make(chan struct{}, 1), texts: make(map[*session]bool)}
}

// inTurn implements [owner].
func (s *session) inTurn(length int, work func()) {
	r := s.server.readers
	r.note(func() { r.texts[s] = false })
	defer r.note(func() { delete(r.texts, s) })
	defer r.turn(length)()
	r.note(func() { r.texts[s] = true })
	work()
}

// turn waits for a reader, and returns what sets it free.
func (r *readers) turn(length int) (end func()) {
	brief := r.brief
	if length > longestBrief {
		brief = nil // which is never ready
	}
	select {
	case r.turns <- struct{}{}:
		return func() { <-r.turns }
	case brief <- struct{}{}:
		return func() { <-brief }
	}
}

// look counts the texts that wait, and those that are read.
func (r *readers) look() (waiting, read int) {
	r.note(func() {
		for _, reads := range r.texts {
			if reads {
				read++
			}
		}
		waiting = len(r.texts) - read
	})
	return waiting, read
}

func (r *readers) note(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// cancel is for a request that finds nothing to cancel at the server, since it was not told yet what the client waits for.
func (r *readers) cancel(c wire.CancelRequest) {
	var list []*session
	r.note(func() { list = slices.Collect(maps.Keys(r.texts)) })
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
