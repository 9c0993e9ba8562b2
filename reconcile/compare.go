package reconcile

import (
	"cmp"
	"maps"
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// wish is what the manifest wants of one role on one thing.
type wish struct {
	privileges, options, absent access.Privileges
	places                      []access.Place
}

func (w *wish) add(g access.Privileges, option, absent bool, place access.Place) {
	switch {
	case absent:
		w.absent |= g
	default:
		w.privileges |= g
		if option {
			w.options |= g
		}
	}
	if place != (access.Place{}) && !slices.Contains(w.places, place) {
		w.places = append(w.places, place)
	}
}

// wishes are by grantee.
type wishes map[scope.Cluster]*wish

func (ws wishes) of(grantee scope.Cluster) *wish {
	w := ws[grantee]
	if w == nil {
		w = new(wish)
		ws[grantee] = w
	}
	return w
}

func (ws wishes) clone() wishes {
	c := make(wishes, len(ws))
	for g, w := range ws {
		copied := *w
		copied.places = slices.Clip(w.places)
		c[g] = &copied
	}
	return c
}

// rules say how far a comparison goes.
type rules struct {
	owner  scope.Cluster
	holds  access.Privileges                // what the owner has
	strict func(grantee scope.Cluster) bool // whether a role shall have nothing but what is wished
	take   bool                             // whether anything may be taken away at all
}

// gift is privileges to give.
type gift struct {
	grantee    scope.Cluster
	privileges access.Privileges
	option     bool
	kept       bool // it makes up for a loss: whoever gave them before can no more
}

// loss is privileges, or only the right to grant them on, to take from what one grantor gave.
type loss struct {
	grantee, grantor scope.Cluster
	privileges       access.Privileges
	optionOnly       bool
	level            int // the greater, the earlier: what was granted by virtue of an option goes before the option
}

// compare returns what must be given and taken so that the entries become what is wished. It is the same for
// ACLs, default privileges and memberships.
//
// An entry is good as long as its grantor may grant. Where that ends, whoever has the entry keeps what it shall have, or
// what it had if the manifest does not care, as a gift of the owner.
func compare(entries []Entry, want wishes, r rules) (gifts []gift, losses []loss) {
	type mark struct {
		privileges, options access.Privileges
		level               int
	}
	lost := make([]mark, len(entries))
	any := false
	if r.take {
		for i, e := range entries {
			if e.Grantee == r.owner {
				continue
			}
			w := want[e.Grantee]
			if w == nil {
				w = &wish{}
			}
			gone, options := e.Privileges&w.absent, e.Options&w.absent
			if r.strict(e.Grantee) {
				gone |= e.Privileges &^ w.privileges
				options |= e.Options &^ w.options
			}
			lost[i] = mark{privileges: gone, options: options | e.Options&gone}
			any = any || lost[i] != mark{}
		}
	}
	kept := make(wishes)
	for again := any; again; {
		again = false
		for i, e := range entries {
			if e.Grantor == r.owner || e.Grantee == r.owner {
				continue
			}
			var before, after access.Privileges
			level := 0
			for j, by := range entries {
				if by.Grantee == e.Grantor {
					before |= by.Options
					after |= by.Options &^ lost[j].options
					if lost[j].options != 0 {
						level = max(level, lost[j].level+1)
					}
				}
			}
			orphan := e.Privileges & before &^ after &^ lost[i].privileges
			options := e.Options & before &^ after &^ lost[i].options
			if orphan|options == 0 && (lost[i] == mark{} || lost[i].level >= level || level > len(entries)) {
				continue
			}
			again = true
			lost[i].privileges |= orphan
			lost[i].options |= options
			lost[i].level = max(lost[i].level, level)
			keep := kept.of(e.Grantee)
			keep.privileges |= orphan
			keep.options |= options
		}
	}

	have, options := make(map[scope.Cluster]access.Privileges, len(entries)), make(map[scope.Cluster]access.Privileges)
	owners := false
	for i, e := range entries {
		have[e.Grantee] |= e.Privileges &^ lost[i].privileges
		if left := e.Options &^ lost[i].options; left != 0 {
			options[e.Grantee] |= left
		}
		owners = owners || e.Grantee == r.owner
		gone, onlyOptions := lost[i].privileges, lost[i].options&^lost[i].privileges
		if gone != 0 {
			losses = append(losses, loss{e.Grantee, e.Grantor, gone, false, lost[i].level})
		}
		if onlyOptions != 0 {
			losses = append(losses, loss{e.Grantee, e.Grantor, onlyOptions, true, lost[i].level})
		}
	}
	if have[r.owner] |= r.holds; r.owner != "" {
		options[r.owner] = have[r.owner]
	}
	give := func(grantee scope.Cluster, need, needOptions access.Privileges, kept bool) {
		without := needOptions &^ options[grantee]
		if missing := need &^ have[grantee] &^ without; missing != 0 {
			gifts = append(gifts, gift{grantee, missing, false, kept})
		}
		if without != 0 {
			gifts = append(gifts, gift{grantee, without, true, kept})
		}
	}
	for _, g := range slices.Sorted(maps.Keys(want)) {
		w := want[g]
		needOptions := w.options
		if g == r.owner {
			needOptions = 0
		}
		give(g, w.privileges, needOptions, false)
	}
	for _, g := range slices.Sorted(maps.Keys(kept)) {
		k, w := kept[g], want[g]
		if w == nil {
			w = &wish{}
		}
		if r.strict(g) { // it has its wishes
			continue
		}
		give(g, k.privileges&^w.absent&^w.privileges, k.options&^w.absent&^w.options, true)
	}
	slices.SortStableFunc(losses, func(a, b loss) int { return cmp.Compare(b.level, a.level) })
	return gifts, losses
}
