package reconcile

import (
	"fmt"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// retirements plans the end of roles: first nobody can log in as one, then its sessions end, then what it owns and what
// it may do goes, in each database by itself, and the role last of all. Whatever the server would refuse is a problem of
// the plan.
func (p *planner) retirements() {
	if !DropRole.in(p.mode) {
		return
	}
	for _, r := range p.desired.Retirements {
		n := p.state.Names[r.Ref]
		switch n.Is {
		case Missing: // it is gone
		case Present:
			p.retire(r, p.state.role(n.Cluster))
		default:
			p.cluster(r.Ref, r.Place)
		}
	}
}

// retire takes no step of a retirement that anything is in the way of, not even one that could be taken: the role stays as it is.
func (p *planner) retire(r access.Retirement, have *RoleState) {
	var heir scope.Cluster
	if r.ReassignTo != (access.Ref{}) {
		var ok bool
		if heir, ok = p.cluster(r.ReassignTo, r.Place); !ok {
			return
		}
	}
	told := len(p.problems)
	var list []Change
	add := func(step Step, database, reason, sql, undo string, lent ...scope.Cluster) {
		list = append(list, Change{
			Step: step, Database: database, Subject: r.String(), Reason: reason, Places: places(r.Place), SQL: sql, Undo: undo, lent: lent,
		})
	}
	if have.Name == p.state.Executor.Name {
		p.problem(r.Place, "have another role apply this", "role %q cannot be retired: it is the one that applies this", r.Ref)
	}
	p.administer(have.Name, r.Place)
	if have.Login {
		add(DisableRole, "", "it is retired: nobody shall log in any more", alterRole(have.Name, "NOLOGIN"), alterRole(have.Name, "LOGIN"))
	}
	if n := p.state.Sessions[have.Name]; n > 0 {
		if !r.TerminateSessions {
			p.problem(r.Place, "end them, or set terminate_sessions", "role %q cannot be retired: it has %d sessions", r.Ref, n)
		}
		add(EndSessions, "", fmt.Sprintf("it has %d sessions", n), "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity "+
			"WHERE usename OPERATOR(pg_catalog.=) "+have.Name.Literal()+"::pg_catalog.name AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()", "")
	}
	here := false
	for _, u := range p.state.Uses {
		if u.Role != have.Name {
			continue
		}
		database := u.Database
		if database == "" || database == p.state.Scope.Name {
			if database = ""; here && r.DropOwned {
				continue // both are one statement's work
			}
			here = true
		}
		where := "database " + u.Database
		if u.Database == "" {
			where = "the cluster"
		}
		switch {
		case u.Owned > 0 && heir == "" && !r.DropOwned:
			p.problem(r.Place, "set reassign_owned_to or drop_owned", "role %q cannot be retired: it owns %d objects in %s", r.Ref, u.Owned, where)
			continue
		case u.Granted > 0 && !r.DropOwned:
			p.problem(r.Place, "set drop_owned", "role %q cannot be retired: it has privileges on %d objects in %s", r.Ref, u.Granted, where)
			continue
		}
		if heir != "" {
			add(ReassignOwned, database, fmt.Sprintf("it owns %d objects in %s", u.Owned, where),
				"REASSIGN OWNED BY "+have.Name.Ident()+" TO "+heir.Ident(), "",
				p.borrow(have.Name, uses, r.Place, "give away what is owned by"), p.borrow(heir, uses, r.Place, "give what others own to"))
		}
		if r.DropOwned {
			add(DropOwned, database, fmt.Sprintf("it has privileges on %d objects in %s", u.Granted, where),
				"DROP OWNED BY "+have.Name.Ident(), "", p.borrow(have.Name, uses, r.Place, "drop what is owned by"))
		}
	}
	add(DropRole, "", "it is retired", "DROP ROLE "+have.Name.Ident(), "")
	if len(p.problems) > told {
		return
	}
	for _, c := range list {
		p.change(c)
	}
}
