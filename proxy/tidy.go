package proxy

import (
	"runtime/debug"
	figures "runtime/metrics"
)

// tidy gives back the memory that a burst has left: many logins at once, their ends, a large result that a client was slow to
// take. Of itself Go keeps as much garbage as there is memory in use, the stacks of stories that are told, and what is free for
// minutes; a proxy that is left in peace keeps none of them. That a burst is over, it tells by what is allocated: much was, and
// nothing is now. Statements that only pass allocate nothing.
type tidy struct {
	allocated uint64 // at the last look
	tidied    uint64 // of that, when it was tidied up last
	quiet     int    // looks since much was
}

const (
	// quietLooks is after how many looks at which little was allocated a burst is over.
	quietLooks = 2
	// littleBytes is what a login takes, some times.
	littleBytes = 64 << 10
	// worthwhile is what part of the memory in use may be garbage.
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
