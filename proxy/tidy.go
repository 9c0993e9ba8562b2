package proxy

import (
	"runtime/debug"
	figures "runtime/metrics"
)

// tidy gives back the memory that a burst has left: many logins at once, their ends, a large result that a client was slow to
// take. Of itself Go keeps as much garbage as there is memory in use, and what is free for minutes; a proxy that is left in
// peace keeps neither. That a burst is over, it tells by the garbage collector: it ran, and runs no more.
type tidy struct {
	collections uint64
	quiet       int // looks since they were fewer
}

// quietLooks is after how many looks without a collection a burst is over.
const quietLooks = 2

// look is called again and again, with some time in between.
func (t *tidy) look() {
	if n := collections(); n != t.collections {
		t.collections, t.quiet = n, 0
		return
	}
	if t.quiet++; t.quiet == quietLooks {
		debug.FreeOSMemory()
		t.collections = collections() // its own is none
	}
}

// collections is how often the garbage collector ran.
func collections() uint64 {
	sample := []figures.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	figures.Read(sample)
	return sample[0].Value.Uint64()
}
