package proxy

import "testing"

// TestBuffer: a leg has much room while it says much, and little when it rests.
func TestBuffer(t *testing.T) {
	var b buffer
	for i, step := range []struct{ read, want int }{
		{0, smallBuffer},
		{10, smallBuffer},
		{smallBuffer, readBuffer},
		{readBuffer, readBuffer},
		{smallBuffer, readBuffer},
		{smallBuffer - 1, smallBuffer},
		{smallBuffer, readBuffer},
		{1, smallBuffer},
	} {
		if got := len(b.next(step.read)); got != step.want {
			t.Errorf("step %d: %d bytes after a read of %d, want %d", i, got, step.read, step.want)
		}
	}
}
