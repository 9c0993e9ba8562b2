package proxy

import (
	"runtime"
	"testing"
)

// TestTidy: memory of a burst goes back to the system when it is over, once, whether or not the collector has run.
func TestTidy(t *testing.T) {
	const size = 64 << 20
	for name, collect := range map[string]func(){"collected": runtime.GC, "not collected": func() {}} {
		t.Run(name, func(t *testing.T) {
			var d tidy
			d.look()
			burst := make([]byte, size)
			for i := range burst {
				burst[i] = 1
			}
			before := inHeap()
			runtime.KeepAlive(burst)
			collect()
			for range quietLooks {
				d.look()
			}
			if d.tidied > 0 {
				t.Error("it is over while it goes on")
			}
			d.look()
			if left := inHeap(); left+size/2 > before {
				t.Errorf("of %d MiB %d are left", before>>20, left>>20)
			}
			tidied := d.tidied
			for range 2 * quietLooks {
				d.look()
			}
			if d.tidied != tidied {
				t.Error("it does so again and again")
			}
		})
	}
}

// inHeap is how many bytes the heap has of the system.
func inHeap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys - m.HeapReleased
}
