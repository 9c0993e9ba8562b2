package reconcile

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// lendOption returns what a dangling loss needs: what the grantor has of the column from the owner, it has again in
// the end.
func (b *batch) lendOption(t target, l loss) loanToGrantor {
	if !l.dangling {
		return loanToGrantor{}
	}
	if !b.p.reaches(t.owner, uses) {
		b.refuse(t, l.grantee, "role %q may not revoke what %q has granted, and may no longer", b.p.state.Executor.Name, l.grantor)
	}
	var kept access.Privileges
	for _, e := range t.object.Columns[t.column].Entries {
		if e.Grantee == l.grantor && e.Grantor == t.owner {
			kept |= e.Privileges & l.privileges
		}
	}
	on, who := t.object.on(), l.grantor.Ident()
	loan := loanToGrantor{give: "GRANT " + privilegesSQL(l.privileges, t.column) + on + " TO " + who + " WITH GRANT OPTION; "}
	if kept != 0 {
		loan.end += "; REVOKE GRANT OPTION FOR " + privilegesSQL(kept, t.column) + on + " FROM " + who + " CASCADE"
	}
	if rest := l.privileges &^ kept; rest != 0 {
		loan.end += "; REVOKE " + privilegesSQL(rest, t.column) + on + " FROM " + who + " CASCADE"
	}
	return loan
}

// way returns what the grantor needs to get at the object again, and who must be lent to the executor for that, or for
// itself to get at it.
func (b *batch) way(t target, l loss, as, lent scope.Cluster) (way loanToGrantor, door scope.Cluster) {
	switch {
	case as == "":
		return way, b.door(t, l.grantee, b.p.state.Executor.Name, lent)
	case b.p.enters(l.grantor, t.object.Schema):
		return way, ""
	default:
		usage, who := "USAGE ON SCHEMA "+scope.QuoteIdent(t.object.Schema), l.grantor.Ident()
		return loanToGrantor{give: "GRANT " + usage + " TO " + who + "; ", end: "; REVOKE " + usage + " FROM " + who}, b.door(t, l.grantee)
	}
}

// door returns who must be lent to the executor so that it gets at what is in the object's schema; nobody, where one of
// those does who are named.
func (b *batch) door(t target, grantee scope.Cluster, who ...scope.Cluster) (lent scope.Cluster) {
	name := t.object.Schema
	if b.p.state.Executor.Superuser || slices.ContainsFunc(who, func(c scope.Cluster) bool { return c != "" && b.p.enters(c, name) }) {
		return ""
	}
	schema := b.p.state.object(access.Schema, "", name)
	if schema == nil {
		return ""
	}
	_, owner := b.p.owned(schema)
	lent, ok := b.p.mayReach(owner, uses)
	if !ok {
		b.refuse(t, grantee, "role %q has no USAGE on schema %s, nor may it use what is %q's", b.p.state.Executor.Name, name, owner)
	}
	return lent
}

// entry is a role at a schema.
type entry struct {
	role   scope.Cluster
	schema string
}

// enters reports whether a role gets at what is in a schema when the plan gives and takes there: schemas have their
// owners then, and nothing that is in one is taken after USAGE of it.
func (p *planner) enters(c scope.Cluster, name string) bool {
	at := entry{c, name}
	may, known := p.entries[at]
	if !known {
		schema := p.state.object(access.Schema, "", name)
		may = schema == nil || p.mayUse(c, schema)
		p.entries[at] = may
	}
	return may
}

func (p *planner) mayUse(c scope.Cluster, schema *Object) bool {
	for _, g := range p.desired.Grants {
		if on := g.On; on.Kind == access.Schema && on.Name == schema.Name && !g.Absent && g.Privileges.Has(access.Usage) && p.state.Names[g.Grantee].Cluster == c {
			return true
		}
	}
	acl, owner := p.owned(schema)
	has := map[scope.Cluster]bool{owner: true}
	for _, e := range acl.Entries {
		has[e.Grantee] = has[e.Grantee] || e.Privileges.Has(access.Usage)
	}
	r := p.state.role(c)
	may := has[""] || r != nil && r.Superuser
	for role := range access.Reach(p.inherited(), c) {
		may = may || has[role]
	}
	return may
}

// inherited returns the memberships whose members have what the role has, when the plan gives and takes.
func (p *planner) inherited() kinship {
	if p.groups == nil {
		p.groups = make(kinship)
		for _, e := range p.state.Members {
			if e.Inherit && p.inherits(e.Member) {
				p.groups.add(e.Role, e.Member)
			}
		}
	}
	return p.groups
}

// inherits reports whether a role still inherits from others when the plan gives and takes. Up to PostgreSQL 15 that is an
// attribute of its own, which the plan sets before.
func (p *planner) inherits(c scope.Cluster) bool {
	r := p.managed[c]
	return p.state.Version >= 16 || r == nil || r.External || r.Inherit
}
