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
	exclusive bool // whether nobody else shall be one
	place     access.Place
}

// memberships makes the members of roles those that they shall have.
func (p *planner) memberships() {
	roles := p.wantedMembers()
	edges := p.members(roles)
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		w := roles[role]
		gifts, losses := compare(edges[role], w.members, rules{
			strict: func(member scope.Cluster) bool { // those that belong to a database are its manifest's business
				return w.members[member] != nil || w.exclusive && !reserved(member) && (!p.desired.Cluster || !p.state.Scoped[member])
			},
			take: p.takes(),
		})
		for _, l := range losses {
			p.removeMember(role, l, w.place, w.members[l.grantee] != nil)
		}
		p.addMembers(role, w.members, gifts, edges[role])
	}
}

// wantedMembers returns what the manifest says, by role.
func (p *planner) wantedMembers() map[scope.Cluster]*membership {
	roles := make(map[scope.Cluster]*membership)
	of := func(c scope.Cluster, place access.Place) *membership {
		if roles[c] == nil {
			roles[c] = &membership{members: make(wishes)}
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
				p.inexpressible(member, name)
				wish := w.members.of(name)
				wish.add(p.memberBits(member.Inherit, member.Set), false, false, member.Place)
				if member.Admin {
					wish.options |= memberBit
				}
			}
		}
	}
	return roles
}

// members returns what there is, by role, of those that the manifest speaks of.
func (p *planner) members(wanted map[scope.Cluster]*membership) map[scope.Cluster][]Entry {
	edges := make(map[scope.Cluster][]Entry)
	for _, e := range p.state.Members {
		w := wanted[e.Role]
		if w == nil || e.Creator && w.members[e.Member] == nil {
			continue
		}
		entry := Entry{Grantee: e.Member, Grantor: e.Grantor, Privileges: p.memberBits(e.Inherit, e.Set)}
		if p.state.Version < 16 {
			entry.Grantor = "" // it has no say
		}
		if e.Admin {
			entry.Options = memberBit
		}
		edges[e.Role] = append(edges[e.Role], entry)
	}
	return edges
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

// inexpressible tells what a membership cannot have before PostgreSQL 16: there it is the member that inherits or does not,
// from all roles, and every member may SET ROLE.
func (p *planner) inexpressible(m access.Member, name scope.Cluster) {
	if p.state.Version >= 16 {
		return
	}
	inherits := true
	if r := p.managed[name]; r != nil && !r.External {
		inherits = r.Inherit
	} else if have := p.state.Roles[name]; have != nil {
		inherits = have.Inherit
	}
	if m.Inherit != inherits && !m.Inherit {
		p.problem(m.Place, "give the role inherit: false", "a membership of %q without inherit needs PostgreSQL 16; this is %d", m.Ref, p.state.Version)
	}
	if !m.Set {
		p.problem(m.Place, "", "a membership of %q without set needs PostgreSQL 16; this is %d", m.Ref, p.state.Version)
	}
}

func (p *planner) addMembers(role scope.Cluster, want wishes, gifts []gift, edges []Entry) {
	seen := make(map[scope.Cluster]bool)
	for _, g := range gifts {
		if seen[g.grantee] {
			continue
		}
		seen[g.grantee] = true
		if s := p.state.role(role); s != nil && !p.state.Executor.Superuser && !p.mayAdminister(role) {
			p.problem(firstPlace(want[g.grantee]), "give it the admin option, or have a superuser apply this",
				"role %q may not add members to role %q", p.state.Executor.Name, p.name(role))
		}
		w := want[g.grantee]
		if w == nil { // it was somebody else's gift, and stays
			w = &wish{privileges: memberBit | inheritBit | setBit}
		}
		existing := slices.ContainsFunc(edges, func(e Entry) bool { return e.Grantee == g.grantee })
		reason := "it is not a member"
		if existing {
			reason = "the options of its membership differ"
		}
		p.change(Change{
			Step: GrantMembership, Subject: p.name(role), Places: places(w.places...), Rights: 1,
			Reason: fmt.Sprintf("%s: %s", p.name(g.grantee), reason),
			SQL:    "GRANT " + role.Ident() + " TO " + g.grantee.Ident() + p.memberOptions(w, existing),
			Undo:   "REVOKE " + role.Ident() + " FROM " + g.grantee.Ident(),
		})
	}
}

// memberOptions returns the options of a GRANT. Those of a membership that exists are only turned on here: what is to be
// turned off is taken from each grantor.
func (p *planner) memberOptions(w *wish, existing bool) string {
	if p.state.Version < 16 {
		if w.options != 0 {
			return " WITH ADMIN OPTION"
		}
		return ""
	}
	var list []string
	for _, o := range []struct {
		word string
		on   bool
	}{
		{"ADMIN", w.options != 0},
		{"INHERIT", w.privileges.Has(inheritBit)},
		{"SET", w.privileges.Has(setBit)},
	} {
		if o.on || !existing {
			list = append(list, o.word+" "+strings.ToUpper(fmt.Sprint(o.on)))
		}
	}
	if len(list) == 0 {
		return ""
	}
	return " WITH " + strings.Join(list, ", ")
}

func (p *planner) removeMember(role scope.Cluster, l loss, place access.Place, declared bool) {
	by := ""
	if l.grantor != "" {
		by = " GRANTED BY " + l.grantor.Ident()
	}
	take := func(option, reason, undo string) {
		p.change(Change{
			Step: RevokeMembership, Subject: p.name(role), Places: places(place), Rights: 1,
			Reason: fmt.Sprintf("%s: %s", p.name(l.grantee), reason),
			SQL:    "REVOKE " + option + role.Ident() + " FROM " + l.grantee.Ident() + by,
			Undo:   "GRANT " + role.Ident() + " TO " + l.grantee.Ident() + undo,
		})
	}
	switch {
	case l.optionOnly:
		take("ADMIN OPTION FOR ", "it shall not have the admin option", " WITH ADMIN OPTION")
	case l.privileges.Has(memberBit):
		reason := "nothing says that it is a member"
		if declared {
			reason = "who made it a member no longer may"
		}
		take("", reason, "")
	default:
		if l.privileges.Has(inheritBit) {
			take("INHERIT OPTION FOR ", "it shall not inherit", " WITH INHERIT TRUE")
		}
		if l.privileges.Has(setBit) {
			take("SET OPTION FOR ", "it shall not be able to SET ROLE", " WITH SET TRUE")
		}
	}
}

// mayAdminister reports whether the executor, who is no superuser, may add members to a role that is there: by its admin
// option, or, before PostgreSQL 16, by CREATEROLE.
func (p *planner) mayAdminister(role scope.Cluster) bool {
	if p.state.Version < 16 && p.state.Executor.CreateRole {
		return true
	}
	return slices.ContainsFunc(p.state.Members, func(e Edge) bool {
		m := p.state.role(e.Member)
		return e.Role == role && e.Admin && m != nil && m.Acts
	})
}

func firstPlace(w *wish) access.Place {
	if w == nil || len(w.places) == 0 {
		return access.Place{}
	}
	return w.places[0]
}
