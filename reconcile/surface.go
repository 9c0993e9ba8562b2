package reconcile

import (
	"github.com/pgscope/pgscope-proxy/access"
)

// surface tells what is desired outside of what the bundle's fragments have claimed. What they have not claimed, and
// nothing is said of, is left as it is: see names.
func (p *planner) surface() {
	claimed := p.desired.Surface
	if claimed == nil {
		return
	}
	outside := func(place access.Place, format string, args ...any) {
		p.problem(place, "claim it in the scope of a fragment", format+" is outside of what the bundle decides", args...)
	}
	for i := range p.desired.Roles {
		if r := &p.desired.Roles[i]; !r.External && !claimed.Roles[r.Ref] {
			outside(r.Place, "role %q", r.Ref)
		}
	}
	for _, r := range p.desired.Retirements {
		if !claimed.Roles[r.Ref] {
			outside(r.Place, "role %q", r.Ref)
		}
	}
	for _, m := range p.desired.Memberships {
		if m.Role.Kind == access.Own && !claimed.Roles[m.Role] {
			outside(m.Place, "who is a member of role %q", m.Role)
		}
	}
	for _, s := range p.desired.Schemas {
		if s.Owner != (access.Ref{}) && !claimed.SchemaOwners[s.Name] {
			outside(s.Place, "the owner of schema %q", s.Name)
		}
	}
	for _, g := range p.desired.Grants {
		schema := g.On.Schema
		if g.On.Kind == access.Schema {
			schema = g.On.Name
		}
		if schema != "" && !claimed.Schemas[schema] {
			outside(g.Place, "access to schema %q", schema)
		}
	}
	for _, d := range p.desired.Defaults {
		if d.Schema != "" && !claimed.Schemas[d.Schema] {
			outside(d.Place, "access to schema %q", d.Schema)
		}
	}
}
