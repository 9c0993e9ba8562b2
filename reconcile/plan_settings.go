package reconcile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// parameters makes the configuration parameters of a role what they shall be.
func (p *planner) parameters(r *access.Role, have *RoleState, fresh bool) {
	find := func(list []access.Setting, s access.Setting) (access.Setting, bool) {
		i := slices.IndexFunc(list, func(o access.Setting) bool {
			return o.InDatabase == s.InDatabase && strings.EqualFold(o.Name, s.Name)
		})
		if i < 0 {
			return access.Setting{}, false
		}
		return list[i], true
	}
	sql := func(s access.Setting, set bool) string { return p.parameter(have.Name, s, set) }
	change := func(s access.Setting, c Change) {
		if p.state.Barred[strings.ToLower(s.Name)] && (fresh || c.Step.in(p.mode)) {
			p.problem(r.Place, "grant it SET on the parameter, as PostgreSQL 15 can, or have a superuser apply this",
				"role %q may not set parameter %s of role %q", p.state.Executor.Name, s.Name, r.Ref)
		}
		p.change(c)
	}
	wanted := slices.SortedFunc(slices.Values(r.Settings), compareSettings)
	for _, s := range wanted {
		if strings.EqualFold(s.Name, "role") {
			s.Value = p.roleSetting(s.Value)
		}
		old, ok := find(have.Settings, s)
		if ok && sameSetting(old, s) {
			continue
		}
		change(s, Change{
			Step: SetParameter, fresh: fresh, Subject: r.String(), Places: places(s.Place), Reason: "parameter " + s.Name + " shall be another",
			SQL: sql(s, true), Undo: sql(cmp.Or(old, s), ok),
		})
	}
	for _, s := range have.Settings {
		if _, ok := find(wanted, s); !ok {
			change(s, Change{
				Step: SetParameter, Subject: r.String(), Places: places(r.Place), Reason: "parameter " + s.Name + " shall not be set",
				SQL: sql(s, false), Undo: sql(s, true),
			})
		}
	}
}

// parameter sets a parameter of a role, or resets it.
func (p *planner) parameter(role scope.Cluster, s access.Setting, set bool) string {
	in, verb := "", "RESET "+scope.SettingIdent(s.Name)
	if s.InDatabase {
		in = "IN DATABASE " + scope.QuoteIdent(p.state.Scope.Name) + " "
	}
	if set {
		verb = "SET " + scope.SettingIdent(s.Name) + " TO " + scope.SettingConstants(s.Name, s.Value)
	}
	return alterRole(role, in+verb)
}

// roleSetting returns what the server calls the role that a setting of parameter role names.
func (p *planner) roleSetting(value string) string {
	for _, r := range p.desired.Roles {
		if r.String() == value {
			if n := p.state.Names[r.Ref]; n.Cluster != "" {
				return string(n.Cluster)
			}
		}
	}
	return value
}

// sameSetting reports whether values come to the same: of search_path it does not matter how names are quoted.
func sameSetting(a, b access.Setting) bool {
	return scope.SettingConstants(a.Name, a.Value) == scope.SettingConstants(b.Name, b.Value)
}
