package engine

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"pgregory.net/rapid"
)

// TestLastAssignment: the last assignment of a name is the one that is found by walking back over all that are open.
func TestLastAssignment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r register
		names := []string{"", "a", "b", "c"}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 9).Draw(t, "step"); {
			case step == 0:
				r.add(&assignment{all: true})
			case step < 6:
				r.add(&assignment{name: rapid.SampledFrom(names).Draw(t, "name"), tracked: new(tracked)})
			case len(r.assignments) > 0:
				r.assignments[0].outcome = rapid.SampledFrom([]progress{done, undone}).Draw(t, "outcome")
				r.settle()
			}
			for _, name := range names {
				var want *assignment
				for _, c := range slices.Backward(r.assignments) {
					if c.all && name != "" || !c.all && c.name == name {
						want = c
						break
					}
				}
				if got := r.last(name); got != want {
					t.Fatalf("the last of %q is %v, want %v", name, got, want)
				}
			}
		}
	})
}

// TestManyAssignments: what a message costs does not grow with those before it that the server has not answered. The others
// are not looked at: here they are not there any more.
func TestManyAssignments(t *testing.T) {
	s := newTestSession(t, newBook())
	for i := range 1000 {
		s.client(&pgproto3.Parse{Name: fmt.Sprintf("s%d", i), Query: "DEALLOCATE a"})
		if open := s.e.prepared.statements.assignments; i > 0 {
			open[i-1] = nil
			open[0] = &assignment{}
		}
	}
	if open := s.e.prepared.statements.assignments; len(open) != 1000 {
		t.Errorf("%d assignments are open", len(open))
	}
}
