package manifest

import (
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// edge is a membership as fragments claim it.
type edge struct{ of, member access.Ref }

func (c *compiler) membership(d *document, e *membershipEntry) {
	role, ok := c.ref(e.role, asGranted)
	if !ok {
		return
	}
	managed := role.Kind != access.Public && c.managed(e.role.s)
	if or(e.exclusive, false) && managed {
		e.at.Errorf(`role "%s" is this manifest's own, and has no members but those that are listed; exclusive is for external and predefined roles`, e.role.s)
	}
	if or(e.exclusive, false) {
		c.claim(struct{ exclusive access.Ref }{role}, d, e.at, `the exclusive list of members of "`+e.role.s+`"`)
	}
	i, known := c.members[role]
	if !known {
		i = len(c.desired.Memberships)
		c.members[role] = i
		c.desired.Memberships = append(c.desired.Memberships, access.Membership{Role: role, Exclusive: managed, Place: place(e.at)})
	}
	m := &c.desired.Memberships[i]
	m.Exclusive = m.Exclusive || or(e.exclusive, false)
	for _, entry := range e.members {
		member, ok := c.ref(entry.name, asMember)
		if !ok {
			continue
		}
		if member == role {
			entry.at.Errorf(`role "%s" cannot be a member of itself`, e.role.s)
			continue
		}
		key := edge{role, member}
		if first, ok := c.claims[key]; ok && first.by == d.fragment {
			entry.at.Errorf(`"%s" is a member of "%s" twice%s`, entry.name.s, e.role.s, alsoAt(first.at))
			continue
		}
		c.claim(key, d, entry.at, `the membership of "`+entry.name.s+`" in "`+e.role.s+`"`)
		m.Members = append(m.Members, access.Member{
			Ref: member, Admin: or(entry.admin, false), Inherit: or(entry.inherit, true), Set: or(entry.set, true),
			Place: place(entry.at),
		})
	}
}

// disputes tells of members of the cluster's roles that parts of an estate would give and take in turns: where one part lists all
// members, and another has one more, or the same with other options. Members that belong to databases are no business of the root's.
func (l *loader) disputes() {
	type list struct {
		access.Membership
		by *compiler
	}
	lists := make(map[access.Ref][]list)
	root := l.parts[0]
	for _, r := range root.desired.Roles {
		if _, said := root.members[r.Ref]; !said && !r.External {
			lists[r.Ref] = []list{{access.Membership{Role: r.Ref, Exclusive: true, Place: r.Place}, root}}
		}
	}
	for _, c := range l.parts {
		for _, m := range c.desired.Memberships {
			if m.Role.Kind == access.Global {
				lists[m.Role] = append(lists[m.Role], list{m, c})
			}
		}
	}
	for role, all := range lists {
		for i, one := range all {
			for j, other := range all {
				if i == j {
					continue
				}
				for _, m := range other.Members {
					at := other.by.claims[edge{role, m.Ref}].at
					k := slices.IndexFunc(one.Members, func(o access.Member) bool { return o.Ref == m.Ref && m.Kind == access.Global })
					switch {
					case k < 0 && one.Exclusive && (one.by != root || m.Kind == access.Global) && !scope.Predefined(m.Name.Role):
						at.Errorf(`"%s" cannot be a member of "%s": who is, is said at %s`, m.Ref, role, one.Place)
					case k >= 0 && i < j && !sameOptions(one.Members[k], m):
						at.Errorf(`"%s" is a member of "%s" with other options%s`, m.Ref, role, alsoAt(one.by.claims[edge{role, m.Ref}].at))
					}
				}
			}
		}
	}
}

func sameOptions(a, b access.Member) bool {
	return a.Admin == b.Admin && a.Inherit == b.Inherit && a.Set == b.Set
}

// managed reports whether a role is the manifest's to create and drop.
func (c *compiler) managed(name string) bool {
	d, ok := c.roles[name]
	return ok && !d.external
}

// cycles tells of roles that would be members of themselves by way of others, which the server refuses.
func (c *compiler) cycles() {
	const (
		unseen = iota
		open
		done
	)
	state := make(map[access.Ref]int, len(c.desired.Memberships))
	var path []access.Ref
	var visit func(access.Ref)
	visit = func(r access.Ref) {
		i, ok := c.members[r]
		if !ok || state[r] == done {
			return
		}
		state[r] = open
		path = append(path, r)
		for _, m := range c.desired.Memberships[i].Members {
			switch state[m.Ref] {
			case unseen:
				visit(m.Ref)
			case open:
				c.claims[edge{r, m.Ref}].at.Errorf("memberships go round in a circle: %s", circle(path, m.Ref))
			}
		}
		path = path[:len(path)-1]
		state[r] = done
	}
	for _, m := range c.desired.Memberships {
		visit(m.Role)
	}
}

// circle writes the part of the path that begins at a role, and the role again.
func circle(path []access.Ref, from access.Ref) string {
	var names []string
	for _, r := range path {
		if r == from || len(names) > 0 {
			names = append(names, r.String())
		}
	}
	return strings.Join(append(names, from.String()), ", which has the member ")
}
