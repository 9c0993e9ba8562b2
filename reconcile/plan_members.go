package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// A membership is compared as an ACL is: these stand for what a member has from it, and the right to grant them for
// the admin option.
const (
	memberBit  = access.Insert
	inheritBit = access.Select
	setBit     = access.Update
)

// membership is what the manifest says of a role's members.
type membership struct {
	members   wishes
	unfit     map[scope.Cluster]bool // who would get more than it shall, and so gets nothing
	exclusive bool                   // whether nobody else shall be one
	place     access.Place
}

// memberships makes the members of roles those that they shall have.
func (p *planner) memberships() {
	p.bequests()
	edges := p.members()
	roles := slices.Sorted(maps.Keys(p.wanted))
	found := make(map[scope.Cluster]difference, len(roles))
	for _, role := range roles {
		w := p.wanted[role]
		d := compare(edges[role], w.members, rules{
			strict: func(member scope.Cluster) bool {
				return w.members[member] != nil || p.leaving[member] || w.exclusive && !reserved(member) && !p.spared(role, member)
			},
			take: p.takes(),
		})
		d.gifts = slices.DeleteFunc(d.gifts, func(g gift) bool { return w.unfit[g.grantee] })
		d.losses = slices.DeleteFunc(d.losses, func(l loss) bool { // what goes with them
			return p.leaving[l.grantor] || p.leaving[l.grantee] && !w.exclusive
		})
		found[role] = d
	}
	every, stay := p.kinships(found)
	for _, role := range roles {
		w, d := p.wanted[role], found[role]
		above, staying := access.Reach(every, role), access.Reach(stay, role)
		step := RevokeMembership
		if slices.ContainsFunc(d.losses, func(l loss) bool { return l.whole() && above[l.grantee] }) {
			step = TurnMembership
		}
		for _, l := range d.losses {
			p.removeMember(step, role, l, edges[role], w)
		}
		for _, g := range d.gifts {
			if staying[g.grantee] {
				p.problem(firstPlace(w.members[g.grantee]), "remove one of the memberships",
					"role %q cannot be a member of role %q: that is a member of it", p.name(g.grantee), p.name(role))
			}
		}
		p.addMembers(role, w.members, d.gifts, edges[role])
	}
}

// bequests takes in the roles that the manifest does not speak of, whose members have it from one who goes.
func (p *planner) bequests() {
	for _, e := range p.state.Members {
		if p.wanted[e.Role] == nil && p.leaving[p.grantorOf(e)] && !p.leaving[e.Member] && !p.leaving[e.Role] {
			p.wanted[e.Role] = &membership{members: make(wishes)}
		}
	}
}

// spared reports whether a member stays that the manifest does not name: in a role of the cluster those that belong to a
// database, as they are its manifest's business; in mode adopt, which changes nobody's access, those in a role of the
// database's own that belong to another one, as no manifest can name them.
func (p *planner) spared(role, member scope.Cluster) bool {
	if p.desired.Cluster {
		return p.state.Scoped[member]
	}
	r := p.managed[role]
	return p.mode == Adopt && r != nil && r.Kind == access.Own && p.state.foreign[member]
}

// kinships returns the memberships that there are and come, and those of them that do not go.
func (p *planner) kinships(found map[scope.Cluster]difference) (every, stay kinship) {
	every, stay = make(kinship), make(kinship)
	gone := make(map[Edge]bool)
	for role, d := range found {
		for _, l := range d.losses {
			if l.whole() {
				gone[Edge{Role: role, Member: l.grantee, Grantor: l.grantor}] = true
			}
		}
		for _, g := range d.gifts {
			every.add(role, g.grantee)
			stay.add(role, g.grantee)
		}
	}
	for _, e := range p.edges() {
		every.add(e.Role, e.Member)
		if !gone[Edge{Role: e.Role, Member: e.Member, Grantor: p.grantorOf(e)}] {
			stay.add(e.Role, e.Member)
		}
	}
	return every, stay
}

// whole reports whether a membership ends by the loss.
func (l loss) whole() bool { return l.privileges.Has(memberBit) && !l.optionOnly }

// kinship tells which roles each is a member of.
type kinship map[scope.Cluster][]scope.Cluster

func (k kinship) add(role, member scope.Cluster) { k[member] = append(k[member], role) }

// wantedMembers takes in what the manifest says, by role.
func (p *planner) wantedMembers() {
	roles := p.wanted
	of := func(c scope.Cluster, place access.Place) *membership {
		if roles[c] == nil {
			roles[c] = &membership{members: make(wishes), unfit: make(map[scope.Cluster]bool)}
		}
		roles[c].place = place
		return roles[c]
	}
	for c, r := range p.managed {
		if !r.External {
			of(c, r.Place).exclusive = true
		}
	}
	for _, m := range p.desired.Memberships {
		c, ok := p.cluster(m.Role, m.Place)
		if !ok {
			continue
		}
		w := of(c, m.Place)
		w.exclusive = w.exclusive || m.Exclusive
		for _, member := range m.Members {
			if name, ok := p.cluster(member.Ref, member.Place); ok {
				if p.inexpressible(member, name) {
					w.unfit[name] = true
				}
				wish := w.members.of(name)
				wish.add(p.memberBits(member.Inherit, member.Set), false, false, member.Place)
				if member.Admin {
					wish.options |= memberBit
				}
			}
		}
	}
}

// edges are the memberships that there are, and those that the server adds to the roles that the plan makes: from
// PostgreSQL 16 on, who makes a role administers it.
func (p *planner) edges() []Edge {
	executor := p.state.Executor
	if p.state.Version < 16 || executor.Superuser {
		return p.state.Members
	}
	list := slices.Clip(p.state.Members)
	for _, role := range slices.Sorted(maps.Keys(p.wanted)) {
		if p.state.role(role) != nil {
			continue
		}
		list = append(list, Edge{Role: role, Member: executor.Name, Grantor: p.state.Bootstrap, Admin: true, Creator: true})
		if executor.SelfInherit || executor.SelfSet {
			list = append(list, Edge{
				Role: role, Member: executor.Name, Grantor: executor.Name, Inherit: executor.SelfInherit, Set: executor.SelfSet,
			})
		}
	}
	return list
}

// members returns what there is, by role, of those that the manifest speaks of.
func (p *planner) members() map[scope.Cluster][]Entry {
	edges := make(map[scope.Cluster][]Entry)
	for _, e := range p.edges() {
		if w := p.wanted[e.Role]; w == nil || p.unasked(e, w.members[e.Member]) && !p.leaving[e.Member] {
			continue
		}
		entry := Entry{Grantee: e.Member, Grantor: p.grantorOf(e), Privileges: p.memberBits(e.Inherit, e.Set)}
		if e.Admin {
			entry.Options = memberBit
		}
		edges[e.Role] = append(edges[e.Role], entry)
	}
	return edges
}

// unasked reports whether a membership is none of the manifest's business: what a role has since it made the other, and
// those of the executor, are so where the manifest does not name them. The executor cannot lose what the server gave it
// as the role's creator.
func (p *planner) unasked(e Edge, named *wish) bool {
	executor := e.Member == p.state.Executor.Name
	if named == nil {
		return e.Creator || executor
	}
	return e.Creator && executor && named.options == 0
}

// grantorOf is who gave a membership; nobody before PostgreSQL 16, where that has no say.
func (p *planner) grantorOf(e Edge) scope.Cluster {
	if p.state.Version < 16 {
		return ""
	}
	return e.Grantor
}

// memberBits are those of a membership. Before PostgreSQL 16 it has no options of these names.
func (p *planner) memberBits(inherit, set bool) access.Privileges {
	bits := memberBit
	if p.state.Version >= 16 && inherit {
		bits |= inheritBit
	}
	if p.state.Version >= 16 && set {
		bits |= setBit
	}
	return bits
}

// inexpressible tells, and reports, that a membership cannot be had as it is wished before PostgreSQL 16: there it is
// the member that inherits or does not, from all roles, and every member may SET ROLE.
func (p *planner) inexpressible(m access.Member, name scope.Cluster) bool {
	if p.state.Version >= 16 {
		return false
	}
	inherits := true
	if r := p.managed[name]; r != nil && !r.External {
		inherits = r.Inherit
	} else if have := p.state.Roles[name]; have != nil {
		inherits = have.Inherit
	}
	more := inherits && !m.Inherit
	if more {
		p.problem(m.Place, "give the role inherit: false", "a membership of %q without inherit needs PostgreSQL 16; this is %d", m.Ref, p.state.Version)
	}
	if !m.Set {
		p.problem(m.Place, "", "a membership of %q without set needs PostgreSQL 16; this is %d", m.Ref, p.state.Version)
	}
	return more || !m.Set
}

// addMembers gives memberships and their options. What is to be turned off is taken from each grantor.
func (p *planner) addMembers(role scope.Cluster, want wishes, gifts []gift, edges []Entry) {
	all := make(wishes)
	for _, g := range gifts {
		all.of(g.grantee).add(g.privileges, g.option, false, access.Place{})
	}
	for _, member := range slices.Sorted(maps.Keys(all)) {
		give, w := all[member], want[member]
		if !p.administers(role) {
			p.problem(firstPlace(w), "give it the admin option, or have a superuser apply this",
				"role %q may not add members to role %q", p.state.Executor.Name, p.name(role))
		}
		reason := "it is not a member"
		if slices.ContainsFunc(edges, func(e Entry) bool { return e.Grantee == member }) {
			reason = "the options of its membership differ"
		}
		bits, from := give.privileges, []access.Place(nil)
		if w != nil {
			bits, from = w.privileges, w.places
		} else { // nobody asked for it: it stays as it is
			reason = "kept: who gave it no longer may"
			for _, e := range edges {
				if e.Grantee == member {
					bits |= e.Privileges
				}
			}
		}
		by := p.by(p.giver(role))
		undo := []string{"REVOKE " + role.Ident() + " FROM " + member.Ident() + by}
		if mine := p.given(role, member, edges); mine != nil {
			if !p.takes() {
				bits |= mine.Privileges
			}
			if undo = nil; p.state.Version >= 16 {
				undo = append(undo, p.membershipSQL(role, member, mine.Privileges, false)+by)
			}
			if give.options&^mine.Options != 0 {
				undo = append(undo, "REVOKE ADMIN OPTION FOR "+role.Ident()+" FROM "+member.Ident()+by)
			}
		}
		p.change(Change{
			Step: GrantMembership, Subject: p.name(role), Places: places(from...), Rights: 1,
			Reason: fmt.Sprintf("%s: %s", p.name(member), reason),
			SQL:    p.membershipSQL(role, member, bits, give.options != 0) + p.grantedBy(role),
			Undo:   strings.Join(undo, "; "),
		})
	}
}

// given returns the membership that the executor's GRANT would change; nil where it would add one.
func (p *planner) given(role, member scope.Cluster, edges []Entry) *Entry {
	giver := p.giver(role)
	i := slices.IndexFunc(edges, func(e Entry) bool { return e.Grantee == member && (p.state.Version < 16 || e.Grantor == giver) })
	if i < 0 {
		return nil
	}
	return &edges[i]
}

// membershipSQL gives a membership. The options are all named: what the server takes for one that is not depends on the
// member, and on what there was.
func (p *planner) membershipSQL(role, member scope.Cluster, bits access.Privileges, admin bool) string {
	sql := "GRANT " + role.Ident() + " TO " + member.Ident()
	switch {
	case p.state.Version >= 16:
		options := fmt.Sprintf("INHERIT %t, SET %t", bits.Has(inheritBit), bits.Has(setBit))
		if admin {
			options = "ADMIN TRUE, " + options
		}
		return sql + " WITH " + strings.ToUpper(options)
	case admin:
		return sql + " WITH ADMIN OPTION"
	default:
		return sql
	}
}

func (p *planner) removeMember(step Step, role scope.Cluster, l loss, edges []Entry, w *membership) {
	by := p.by(l.grantor)
	if !p.mayUngrant(role, l.grantor) {
		p.problem(w.place, "have a superuser apply this", "role %q may not take what %q gave from the members of role %q",
			p.state.Executor.Name, p.name(l.grantor), p.name(role))
	}
	take := func(option, reason, undo string) {
		p.change(Change{
			Step: step, Subject: p.name(role), Places: places(w.place), Rights: 1,
			Reason: fmt.Sprintf("%s: %s", p.name(l.grantee), reason),
			SQL:    "REVOKE " + option + role.Ident() + " FROM " + l.grantee.Ident() + by,
			Undo:   undo + by,
		})
	}
	bare := "GRANT " + role.Ident() + " TO " + l.grantee.Ident()
	switch {
	case l.optionOnly:
		take("ADMIN OPTION FOR ", "it shall not have the admin option", bare+" WITH ADMIN OPTION")
	case l.whole():
		reason := "nothing says that it is a member"
		if w.members[l.grantee] != nil {
			reason = "who made it a member no longer may"
		}
		i := slices.IndexFunc(edges, func(e Entry) bool { return e.Grantee == l.grantee && e.Grantor == l.grantor })
		take("", reason, p.membershipSQL(role, l.grantee, edges[i].Privileges, edges[i].Options != 0))
	default:
		if l.privileges.Has(inheritBit) {
			take("INHERIT OPTION FOR ", "it shall not inherit", bare+" WITH INHERIT TRUE")
		}
		if l.privileges.Has(setBit) {
			take("SET OPTION FOR ", "it shall not be able to SET ROLE", bare+" WITH SET TRUE")
		}
	}
}
