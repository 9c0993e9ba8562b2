package engine

import (
	"testing"

	"github.com/pgscope/pgscope-proxy/rewrite"
)

// TestManyFields: a server may send a field of a report any number of times. In the square of these the work would not end.
func TestManyFields(t *testing.T) {
	list := make([]field, 4<<20)
	for i := range list {
		list[i] = field{'q', "SELECT"}
	}
	if restore(list, &rewrite.Result{}) || list[len(list)-1].value != "SELECT" {
		t.Error("what was not replaced was put back")
	}
}
