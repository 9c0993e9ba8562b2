package manifest

import (
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
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

// memberList is what one part of an estate says of the members of one role.
type memberList struct {
	access.Membership
	by *compiler
}

// disputes tells of members of the cluster's roles that parts of an estate would give and take in turns: where one
// part lists all members, and another has one more, or the same with other options. Members that belong to
// databases are no business of the root's.
func (l *loader) disputes() {
	for _, lists := range l.memberLists() {
		for i, one := range lists {
			for j, other := range lists {
				if i != j {
					one.excludes(other, one.by == l.parts[0])
				}
				if i < j {
					one.contradicts(other)
				}
			}
		}
	}
}

// memberLists returns what the parts of an estate say of the members of the cluster's roles. A role that the root
// declares without members has an empty list.
func (l *loader) memberLists() map[access.Ref][]memberList {
	lists := make(map[access.Ref][]memberList)
	root := l.parts[0]
	for _, r := range root.desired.Roles {
		if _, said := root.members[r.Ref]; !said && !r.External {
			lists[r.Ref] = []memberList{{access.Membership{Role: r.Ref, Exclusive: true, Place: r.Place}, root}}
		}
	}
	for _, c := range l.parts {
		for _, m := range c.desired.Memberships {
			if m.Role.Kind == access.Global {
				lists[m.Role] = append(lists[m.Role], memberList{m, c})
			}
		}
	}
	return lists
}

// excludes tells of members in another list that this one, which is exclusive, does not have. That of the
// root says nothing of roles of databases.
func (m memberList) excludes(other memberList, ofRoot bool) {
	if !m.Exclusive {
		return
	}
	for _, o := range other.Members {
		_, listed := m.member(o.Ref)
		if !listed && (!ofRoot || o.Kind == access.Global) && !scope.Predefined(o.Name.Role) {
			other.placeOf(o.Ref).Errorf(`"%s" cannot be a member of "%s": who is, is said at %s`, o.Ref, m.Role, m.Place)
		}
	}
}

// contradicts tells of members that another list has with other options.
func (m memberList) contradicts(other memberList) {
	for _, o := range other.Members {
		if mine, listed := m.member(o.Ref); listed && !sameOptions(mine, o) {
			other.placeOf(o.Ref).Errorf(`"%s" is a member of "%s" with other options%s`, o.Ref, m.Role, alsoAt(m.placeOf(o.Ref)))
		}
	}
}

// member returns the member of that name, if it is a role of the cluster.
func (m memberList) member(r access.Ref) (access.Member, bool) {
	i := slices.IndexFunc(m.Members, func(o access.Member) bool { return o.Ref == r && r.Kind == access.Global })
	if i < 0 {
		return access.Member{}, false
	}
	return m.Members[i], true
}

// placeOf returns where the list has a member.
func (m memberList) placeOf(r access.Ref) yamlfile.Value { return m.by.claims[edge{m.Role, r}].at }

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
