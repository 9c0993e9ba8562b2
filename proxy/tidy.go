package proxy

import (
	"runtime/debug"
	figures "runtime/metrics"
)

// tidy gives memory back after a burst: many logins at once, their ends, a large result that a client was slow to take.
// Go by itself keeps as much garbage as there is memory in use, the stacks of coroutines that have ended, and free memory
// for minutes. A burst is over when much was allocated and little is now; statements that only pass allocate nothing.
type tidy struct {
	allocated uint64 // at the last look
	tidied    uint64 // of that, when it was tidied up last
	quiet     int    // looks since much was allocated
}

const (
	// quietLooks is how many looks in a row must find little allocated until a burst is taken to be over.
	quietLooks = 2
	// littleBytes is what a few logins allocate.
	littleBytes = 64 << 10
	// worthwhile: garbage is collected from a quarter of the memory in use on.
	worthwhile = 4
)

// look is called again and again, with some time in between.
func (t *tidy) look() {
	allocated, inUse := heap()
	quiet := allocated-t.allocated <= littleBytes
	t.allocated = allocated
	if !quiet {
		t.quiet = 0
		return
	}
	if t.quiet++; t.quiet >= quietLooks && allocated-t.tidied > inUse/worthwhile {
		debug.FreeOSMemory()
		t.tidied = allocated
	}
}

// heap is how many bytes were allocated, and how many of them are not collected.
func heap() (allocated, inUse uint64) {
	samples := []figures.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	figures.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}
