package reconcile

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// An executor that is no superuser must be a member of a role to make a schema its own, to set its default privileges,
// or to grant on what it owns: also of one that it has just made. Who administers a role may become a member; so it
// does, within the change that needs it, and what was before is so again after the change.

// loan is a membership of the executor for as long as a change takes.
type loan struct {
	possible      bool
	give          string
	before, after string // what ends it: before the plan has given memberships, and after
}

// reach is what the executor needs of a role.
type reach uint8

const (
	uses reach = iota // its privileges
	sets              // SET ROLE
)

// reaches reports whether the executor can do so as it is.
func (p *planner) reaches(role scope.Cluster, how reach) bool {
	if p.state.Executor.Superuser || role == p.state.Executor.Name {
		return true
	}
	has, can := p.state.Executor.SelfInherit, p.state.Executor.SelfSet // of what the plan makes
	if r := p.state.role(role); r != nil {
		has, can = r.Acts, r.Set
	}
	return how == uses && has || how == sets && can
}

// mayReach is reaches, or tells which role must be lent to the executor. ok is false where it cannot be.
func (p *planner) mayReach(role scope.Cluster, how reach) (lent scope.Cluster, ok bool) {
	if p.reaches(role, how) {
		return "", true
	}
	if p.loans[role] == nil {
		p.loans[role] = p.loan(role)
	}
	if l := p.loans[role]; !l.possible || p.state.Version < 16 && how == uses && !p.state.inherits(p.state.Executor.Name) {
		return "", false
	}
	return role, true
}

// borrow is mayReach for a change that is to come; where it cannot be, that is a problem.
func (p *planner) borrow(role scope.Cluster, how reach, place access.Place, what string) scope.Cluster {
	lent, ok := p.mayReach(role, how)
	if !ok {
		p.problem(place, memberHint, "role %q may not %s %q", p.state.Executor.Name, what, p.name(role))
	}
	return lent
}

const memberHint = "make it a member of that role, or give it the admin option"

// lend wraps what the change of a step does, or takes it back, in a loan.
func (p *planner) lend(role scope.Cluster, step Step, sql string) string {
	if role == "" || sql == "" {
		return sql
	}
	l := p.loans[role]
	end := l.after
	if step < GrantMembership {
		end = l.before
	}
	if end != "" {
		end = "; " + end
	}
	return l.give + "; " + sql + end
}

// loan finds out how the executor becomes a member of a role, and how that ends.
func (p *planner) loan(role scope.Cluster) *loan {
	executor, giver := p.state.Executor.Name, p.giver(role)
	kin := make(kinship)
	edges := p.edges()
	for _, e := range edges {
		kin.add(e.Role, e.Member)
	}
	l := &loan{possible: giver != "" && !access.Reach(kin, role)[executor]}
	grant := func(bits access.Privileges) string { return p.membershipSQL(role, executor, bits, false) + p.by(giver) }
	l.give = grant(memberBit | inheritBit | setBit)
	l.before = "REVOKE " + role.Ident() + " FROM " + executor.Ident() + p.by(giver)
	i := slices.IndexFunc(edges, func(e Edge) bool {
		return e.Role == role && e.Member == executor && p.grantorOf(e) == giver
	})
	if i >= 0 {
		l.before = grant(p.memberBits(edges[i].Inherit, edges[i].Set))
	}
	l.after = l.before
	if w := p.wanted[role]; w != nil && w.members[executor] != nil {
		if l.after = ""; p.state.Version >= 16 {
			l.after = grant(w.members[executor].privileges)
		}
	}
	return l
}

// giver returns whose gift it is, to the server, if the executor makes somebody a member of the role, which may be one
// that the plan makes; empty where it may not.
func (p *planner) giver(role scope.Cluster) scope.Cluster {
	executor, r := p.state.Executor, p.state.role(role)
	switch {
	case executor.Superuser:
		return p.state.Bootstrap
	case r != nil && r.Superuser || role == "pg_database_owner": // which has the members that the server says (14)
		return ""
	case executor.CreateRole && (r == nil || p.state.Version < 16):
		return executor.Name
	}
	if slices.Contains(p.admins[role], executor.Name) {
		return executor.Name
	}
	for _, admin := range p.admins[role] {
		if r := p.state.role(admin); r != nil && r.Acts {
			return admin
		}
	}
	return ""
}

// administers reports whether the executor may alter a role and give it to others: by its admin option, or, before
// PostgreSQL 16, by CREATEROLE.
func (p *planner) administers(role scope.Cluster) bool { return p.giver(role) != "" }

// grantedBy says so in a GRANT where it is another's right that the executor uses.
func (p *planner) grantedBy(role scope.Cluster) string {
	if giver := p.giver(role); !p.state.Executor.Superuser && giver != p.state.Executor.Name {
		return p.by(giver)
	}
	return ""
}

// by says whose gift a membership is, so that the statement does the same whoever runs it. Before PostgreSQL 16 that has
// no say.
func (p *planner) by(giver scope.Cluster) string {
	if p.state.Version < 16 || giver == "" {
		return ""
	}
	return " GRANTED BY " + giver.Ident()
}

// mayUngrant reports whether the executor may take what somebody gave from the members of a role.
func (p *planner) mayUngrant(role, grantor scope.Cluster) bool {
	if p.state.Executor.Superuser || p.state.Version < 16 {
		return p.administers(role)
	}
	r := p.state.role(grantor)
	return r != nil && r.Acts
}

// inherits reports whether a role has what the roles have that it is a member of. From PostgreSQL 16 on memberships say
// that.
func (s *State) inherits(c scope.Cluster) bool {
	r := s.role(c)
	return r == nil || r.Inherit
}
