package proxy

import (
	"runtime"
	"testing"
)

// TestTidy: memory of a burst goes back to the system when it is over, once.
func TestTidy(t *testing.T) {
	released := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapReleased
	}
	const size = 64 << 20
	burst := make([]byte, size)
	for i := range burst {
		burst[i] = 1
	}
	before := released()
	runtime.KeepAlive(burst)
	runtime.GC()

	var d tidy
	d.look()
	for range quietLooks {
		d.look()
	}
	if after := released(); after < before+size/2 {
		t.Errorf("%d MiB were given back", (int64(after)-int64(before))>>20)
	}
	n := collections()
	for range 2 * quietLooks {
		d.look()
	}
	if collections() != n {
		t.Error("it does so again and again")
	}
}
