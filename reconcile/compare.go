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
	above  ACL                              // of columns: that of their table, whose options hold for them too
	fallen []loss                           // what of it is taken
	column bool                             // there may be entries whose grantors lost the option long ago: see loss.dangling
}

// gift is privileges to give.
type gift struct {
	grantee    scope.Cluster
	privileges access.Privileges
	option     bool
	held       bool // the privileges are there: only the option is given
	kept       bool // it makes up for a loss: whoever gave them before can no more
}

// loss is privileges, or only the right to grant them on, to take from what one grantor gave.
type loss struct {
	grantee, grantor scope.Cluster
	privileges       access.Privileges
	options          access.Privileges // those that could be granted on
	optionOnly       bool
	level            int // the greater, the earlier: what was granted by virtue of an option goes before the option
	// dangling: the grantor has not had the option since before the comparison. The server takes from a table's
	// columns what it takes from the table, but not what was granted on the columns by virtue of it. All that the
	// grantor gave goes then.
	dangling bool
}

// difference is what a comparison has found.
type difference struct {
	gifts  []gift
	losses []loss
}

// mark is what an entry loses.
type mark struct {
	privileges, options access.Privileges
	level               int // as that of a loss
	dangling            bool
}

// comparison is the work of compare.
type comparison struct {
	rules
	entries []Entry
	want    wishes
	lost    []mark // of the entry with the same index
	kept    wishes // what orphans have that nobody wants taken: the owner gives it instead
}

// compare returns what must be given and taken so that the entries become what is wished. It is the same for
// ACLs, default privileges and memberships.
//
// An entry is good as long as its grantor may grant. Where that ends, whoever has the entry keeps what it shall have,
// or what it had if the manifest does not care, as a gift of the owner.
func compare(entries []Entry, want wishes, r rules) difference {
	c := comparison{rules: r, entries: entries, want: want, lost: make([]mark, len(entries)), kept: make(wishes)}
	if r.take && (c.take() || len(r.fallen) > 0) {
		for c.orphans() {
		}
	}
	return difference{c.gifts(), c.losses()}
}

// wished is what is wished of a role; nothing, where nothing is said of it.
func (c *comparison) wished(grantee scope.Cluster) wish {
	if w := c.want[grantee]; w != nil {
		return *w
	}
	return wish{}
}

// take marks what shall not be, and says whether there is any.
func (c *comparison) take() (any bool) {
	for i, e := range c.entries {
		if e.Grantee == c.owner {
			continue
		}
		w := c.wished(e.Grantee)
		gone, options := e.Privileges&w.absent, e.Options&w.absent
		if c.strict(e.Grantee) {
			gone |= e.Privileges &^ w.privileges
			options |= e.Options &^ w.options
		}
		c.lost[i] = mark{privileges: gone, options: options | e.Options&gone}
		any = any || c.lost[i] != mark{}
	}
	return any
}

// orphans marks the entries whose grantors lose the option that they were granted by, and says whether there were
// more: their grantees may have granted on.
func (c *comparison) orphans() (more bool) {
	for i, e := range c.entries {
		if e.Grantor == c.owner {
			continue
		}
		gone, level := c.optionsLost(e.Grantor)
		lost := &c.lost[i]
		if never := e.Privileges &^ c.optionsOf(e.Grantor); c.column && never != 0 {
			lost.dangling = true
			gone |= never
		}
		privileges, options := e.Privileges&gone&^lost.privileges, e.Options&gone&^lost.options
		later := *lost != mark{} && lost.level < level && level <= len(c.entries)+len(c.above.Entries) // a cycle has no end
		if privileges|options == 0 && !later {
			continue
		}
		more = true
		lost.privileges |= privileges
		lost.options |= options
		lost.level = max(lost.level, level)
		keep := c.kept.of(e.Grantee)
		keep.privileges |= privileges
		keep.options |= options
	}
	return more
}

// optionsLost returns the options that a grantor has no more, from nobody, and the level of what was granted by them.
func (c *comparison) optionsLost(grantor scope.Cluster) (gone access.Privileges, level int) {
	var after access.Privileges
	for i, e := range c.entries {
		if e.Grantee != grantor {
			continue
		}
		after |= e.Options &^ c.lost[i].options
		if c.lost[i].options != 0 {
			level = max(level, c.lost[i].level+1)
		}
	}
	for _, e := range c.above.after(c.fallen).Entries {
		if e.Grantee == grantor {
			after |= e.Options
		}
	}
	for _, l := range c.fallen {
		if l.grantee == grantor && l.options != 0 {
			level = max(level, l.level+1)
		}
	}
	return c.optionsOf(grantor) &^ after, level
}

// optionsOf returns what a grantor could grant before anything is taken.
func (c *comparison) optionsOf(grantor scope.Cluster) (options access.Privileges) {
	for _, list := range [][]Entry{c.entries, c.above.Entries} {
		for _, e := range list {
			if e.Grantee == grantor {
				options |= e.Options
			}
		}
	}
	return options
}

// losses returns what is marked, in the order in which it can be taken.
func (c *comparison) losses() []loss {
	var losses []loss
	for i, e := range c.entries {
		lost := c.lost[i]
		if lost.dangling { // before what the grantor itself has, which it is given again then
			lost.level += len(c.entries) + len(c.above.Entries) + 1
		}
		if lost.privileges != 0 {
			losses = append(losses, loss{e.Grantee, e.Grantor, lost.privileges, lost.privileges & lost.options, false, lost.level, lost.dangling})
		}
		if only := lost.options &^ lost.privileges; only != 0 {
			losses = append(losses, loss{e.Grantee, e.Grantor, only, only, true, lost.level, lost.dangling})
		}
	}
	slices.SortStableFunc(losses, func(a, b loss) int { return cmp.Compare(b.level, a.level) })
	return losses
}

// gifts returns what is wished and not there, and what orphans keep.
func (c *comparison) gifts() (gifts []gift) {
	have, options := make(map[scope.Cluster]access.Privileges, len(c.entries)), make(map[scope.Cluster]access.Privileges)
	for i, e := range c.entries {
		have[e.Grantee] |= e.Privileges &^ c.lost[i].privileges
		if left := e.Options &^ c.lost[i].options; left != 0 {
			options[e.Grantee] |= left
		}
	}
	if have[c.owner] |= c.holds; c.owner != "" {
		options[c.owner] = have[c.owner]
	}
	give := func(grantee scope.Cluster, need, needOptions access.Privileges, kept bool) {
		without := needOptions &^ options[grantee]
		if missing := need &^ have[grantee] &^ without; missing != 0 {
			gifts = append(gifts, gift{grantee: grantee, privileges: missing, kept: kept})
		}
		if fresh := without &^ have[grantee]; fresh != 0 {
			gifts = append(gifts, gift{grantee: grantee, privileges: fresh, option: true, kept: kept})
		}
		if held := without & have[grantee]; held != 0 {
			gifts = append(gifts, gift{grantee: grantee, privileges: held, option: true, held: true, kept: kept})
		}
	}
	for _, g := range slices.Sorted(maps.Keys(c.want)) {
		w := c.want[g]
		needOptions := w.options
		if g == c.owner {
			needOptions = 0
		}
		give(g, w.privileges, needOptions, false)
	}
	for _, g := range slices.Sorted(maps.Keys(c.kept)) {
		if c.strict(g) && g != c.owner { // it has its wishes
			continue
		}
		k, w := c.kept[g], c.wished(g)
		give(g, k.privileges&^w.absent&^w.privileges, k.options&^w.absent&^w.options, true)
	}
	return gifts
}

func firstPlace(w *wish) access.Place {
	if w == nil || len(w.places) == 0 {
		return access.Place{}
	}
	return w.places[0]
}
