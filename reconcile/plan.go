package reconcile

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Plan is what must be done so that a state becomes what is desired.
type Plan struct {
	Mode     Mode
	Changes  []Change
	Problems []Problem // why it cannot be done; nothing is, then

	sampled bool // it names an object that stands for others: what is to be done with them is not said
}

// Problem is a reason why a plan cannot be carried out as a whole.
type Problem struct {
	Place   access.Place
	Message string
	Hint    string // what to do; empty where nothing is known
}

func (p Problem) String() string {
	text := p.Message
	if where := p.Place.String(); where != "" {
		text = where + ": " + text
	}
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	return text
}

// NewPlan compares what is desired with what is. It has no side effects, and the same arguments give the same plan. The
// state must have been observed with the extent of the desired access.
func NewPlan(desired *access.Desired, state *State, mode Mode) Plan {
	p := newPlanner(desired, state, mode)
	p.names()
	p.surface()
	p.wantedMembers()
	p.enrolment()
	p.roles()
	p.schemata()
	p.privileges()
	p.defaults()
	p.retirements() // who goes, gives nobody a membership any more
	p.memberships()
	slices.SortStableFunc(p.changes, func(a, b Change) int { return cmp.Compare(a.Step, b.Step) })
	slices.SortStableFunc(p.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Place.File, b.Place.File), cmp.Compare(a.Place.Line, b.Place.Line),
			cmp.Compare(a.Place.Column, b.Place.Column), cmp.Compare(a.Message, b.Message))
	})
	return Plan{Mode: mode, Changes: p.changes, Problems: slices.Compact(p.problems), sampled: p.sampled}
}

// empty reports whether there is nothing to do, nor anything to tell.
func (p Plan) empty() bool { return len(p.Changes)+len(p.Problems) == 0 }

// without returns the plan without some of its changes.
func (p Plan) without(which func(Change) bool) Plan {
	p.Changes = slices.DeleteFunc(slices.Clone(p.Changes), which)
	return p
}

// possible returns the plan's problems as an error; nil where it has none.
func (p Plan) possible() error {
	if len(p.Problems) == 0 {
		return nil
	}
	return &ProblemsError{p.Problems}
}

func newPlanner(desired *access.Desired, state *State, mode Mode) *planner {
	p := &planner{
		desired: desired, state: state, mode: mode,
		managed: make(map[scope.Cluster]*access.Role), called: make(map[scope.Cluster]access.Ref), impossible: make(map[access.Ref]bool),
		noSchema: make(map[string]bool), schemas: make(map[string]bool), wanted: make(map[scope.Cluster]*membership), loans: make(map[scope.Cluster]*loan),
		admins: make(map[scope.Cluster][]scope.Cluster), leaving: make(map[scope.Cluster]bool), taken: make(map[handed]mark), entries: make(map[entry]bool),
	}
	for _, e := range state.Members {
		if e.Admin {
			p.admins[e.Role] = append(p.admins[e.Role], e.Member)
		}
	}
	return p
}

// planner is a plan on its way.
type planner struct {
	desired    *access.Desired
	state      *State
	mode       Mode
	managed    map[scope.Cluster]*access.Role    // whose rights are the manifest's business
	called     map[scope.Cluster]access.Ref      // what the manifest calls a role
	impossible map[access.Ref]bool               // already told of
	noSchema   map[string]bool                   // already told of
	schemas    map[string]bool                   // whose objects' privileges are the manifest's business
	kinds      map[access.Kind]bool              // outside of schemas, the same
	virtual    []*Object                         // schemas that the plan makes
	wanted     map[scope.Cluster]*membership     // who shall be a member of what
	admins     map[scope.Cluster][]scope.Cluster // who may make others members of it
	loans      map[scope.Cluster]*loan
	leaving    map[scope.Cluster]bool // roles that go
	taken      map[handed]mark        // what roles lose
	entries    map[entry]bool         // see enters
	groups     kinship                // see inherited
	changes    []Change
	problems   []Problem
	sampled    bool // see [Plan]
}

func (p *planner) change(c Change) {
	if c.fresh || c.Step.in(p.mode) {
		for _, role := range c.lent {
			c.SQL, c.Undo = p.lend(role, c.Step, c.SQL), p.lend(role, c.Step, c.Undo)
		}
		p.changes = append(p.changes, c)
	}
}

func (p *planner) problem(place access.Place, hint, format string, args ...any) {
	p.problems = append(p.problems, Problem{Place: place, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// names takes stock of the names, and of whose rights and which schemas the plan is about.
func (p *planner) names() {
	for ref, n := range p.state.Names {
		if n.Cluster != "" {
			p.called[n.Cluster] = ref
		}
	}
	surface := p.desired.Surface
	for i := range p.desired.Roles {
		r := &p.desired.Roles[i]
		if c, ok := p.cluster(r.Ref, r.Place); ok && (surface == nil || surface.Roles[r.Ref]) {
			p.managed[c] = r
		}
	}
	extent := ExtentOf(p.desired)
	p.kinds = extent.Kinds
	for _, s := range extent.Schemas {
		p.schemas[s] = surface == nil || surface.Schemas[s]
	}
}

// cluster returns what the server calls a role, and whether there is one, or will be when the plan is done. Why there is
// none is a problem of the plan, told once.
func (p *planner) cluster(ref access.Ref, place access.Place) (scope.Cluster, bool) {
	n := p.state.Names[ref]
	tell := func(hint, format string, args ...any) (scope.Cluster, bool) {
		if !p.impossible[ref] {
			p.impossible[ref] = true
			p.problem(place, hint, format, args...)
		}
		return "", false
	}
	switch {
	case n.Is == Impossible:
		return tell(n.Err.Hint, "%s", n.Err.Message)
	case n.Is == Stranger && p.mode != Adopt:
		return tell("mode adopt makes it one of them", "role %q of the cluster carries the prefix of database %q, but is not one of its roles", n.Cluster, p.state.Scope.Name)
	case n.Is == Missing && !p.creates(ref):
		return tell("create it, or correct the name", "role %q does not exist", ref)
	case n.Is == Missing && !p.schemaIs(ref.Name.Schema, place):
		return "", false
	default:
		return n.Cluster, true
	}
}

// creates reports whether the manifest declares a role that it creates if need be.
func (p *planner) creates(ref access.Ref) bool {
	return slices.ContainsFunc(p.desired.Roles, func(r access.Role) bool { return r.Ref == ref && !r.External })
}

// name returns what the manifest calls a role, or else what the server does.
func (p *planner) name(c scope.Cluster) string {
	if c == "" {
		return "PUBLIC"
	}
	if ref, ok := p.called[c]; ok {
		return ref.String()
	}
	return string(c)
}

// strict reports whether a role shall have nothing but what the manifest says.
func (p *planner) strict(c scope.Cluster) bool {
	r := p.managed[c]
	return r != nil && !r.PreserveGrants
}

// strictOn is strict for things of a kind. What roles of the cluster have of what belongs to no database, another part
// of the estate says.
func (p *planner) strictOn(kind access.Kind) func(scope.Cluster) bool {
	if !p.desired.Estate || !kind.Info().Cluster {
		return p.strict
	}
	return func(c scope.Cluster) bool { return p.called[c].Kind == access.Own && p.strict(c) }
}

// takes reports whether the mode takes anything away.
func (p *planner) takes() bool { return p.mode != Additive }

func places(list ...access.Place) []access.Place {
	return slices.DeleteFunc(list, func(p access.Place) bool { return p == access.Place{} })
}
