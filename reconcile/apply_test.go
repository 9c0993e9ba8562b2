package reconcile

import (
	"slices"
	"testing"

	"github.com/pgscope/pgscope-proxy/access"
)

func TestTogether(t *testing.T) {
	plain, password := Change{Rights: 1}, Change{password: new(access.Password)}
	for _, c := range []struct {
		name    string
		changes []Change
		want    []int // how many go at a time
	}{
		{"none", nil, nil},
		{"few", []Change{plain, plain}, []int{2}},
		{"many", slices.Repeat([]Change{plain}, 2*maxTogether+1), []int{maxTogether, maxTogether, 1}},
		{"none behind one that takes its time", []Change{plain, {Rights: manyRights}, plain}, []int{2, 1}},
		{"rights add up", []Change{{Rights: manyRights - 1}, plain, plain}, []int{2, 1}},
		{"passwords by themselves", []Change{plain, plain, password, password, plain}, []int{2, 1, 1, 1}},
	} {
		var got []int
		for rest := c.changes; len(rest) > 0; rest = rest[got[len(got)-1]:] {
			got = append(got, together(rest))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
