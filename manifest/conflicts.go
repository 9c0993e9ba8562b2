package manifest

import (
	"cmp"
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
)

// conflicts tells of grants that undo each other though they are about different things: one is about some of the
// objects, or columns, that the other is about.
func (c *compiler) conflicts() {
	type group struct {
		grantee access.Ref
		kind    access.Kind
		schema  string
	}
	groups := make(map[group][]*ensured)
	for _, e := range c.ensured {
		on := e.target.on
		g := group{e.target.grantee, on.Kind, on.Schema}
		groups[g] = append(groups[g], e)
	}
	for _, list := range groups {
		// Those that are about more than one thing are few; each is compared with all.
		for _, wide := range list {
			on := wide.target.on
			if on.Pattern == "" && on.Column != "" {
				continue
			}
			if on.Pattern == "" && !slices.ContainsFunc(list, func(e *ensured) bool { return e.target.on.Column != "" }) {
				continue
			}
			for _, narrow := range list {
				if wide != narrow && covers(on, narrow.target.on) {
					collide(wide, narrow)
				}
			}
		}
	}
}

// covers reports whether a is about all that b is about.
func covers(a, b access.Selector) bool {
	switch {
	case a.Column != "" && a.Column != b.Column:
		return false
	case a.Pattern == "":
		return b.Pattern == "" && a.Name == b.Name
	case a.Pattern == everyPattern:
		return true
	default:
		return a.Pattern == b.Pattern || b.Pattern == "" && access.Like(a.Pattern, b.Name)
	}
}

// collide tells of privileges that are present in the one and absent in the other, at the later place.
func collide(wide, narrow *ensured) {
	tell := func(a, b saying) {
		both := a.privileges & b.privileges
		if both == 0 {
			return
		}
		if p, q := place(a.at), place(b.at); p.File == q.File && cmp.Or(cmp.Compare(p.Line, q.Line), cmp.Compare(p.Column, q.Column)) < 0 {
			a, b = b, a
		}
		a.at.Errorf("%s shall be present and absent on some of the same%s", both, alsoAt(b.at))
	}
	for _, present := range []manner{given, withOption} {
		tell(wide.said[present], narrow.said[gone])
		if wide.target.on.Column == narrow.target.on.Column { // of a column alone more may be present than of the table
			tell(wide.said[gone], narrow.said[present])
		}
	}
}
