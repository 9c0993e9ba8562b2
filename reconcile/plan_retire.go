package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// retirements plans the end of roles: first nobody can log in as one, then its sessions end, then what it owns and
// what it may do goes, in each database by itself, and the role last of all. Whatever the server would refuse is a
// problem of the plan.
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

// retirement is the end of one role on its way.
type retirement struct {
	*planner
	access.Retirement
	have *RoleState
	heir scope.Cluster // of what it owns; empty for none
	list []Change
}

// retire takes no step of a retirement that anything is in the way of, not even one that could be taken: the role
// stays as it is.
func (p *planner) retire(of access.Retirement, have *RoleState) {
	r := retirement{planner: p, Retirement: of, have: have}
	told := len(p.problems)
	if r.ReassignTo != (access.Ref{}) {
		var ok bool
		if r.heir, ok = p.cluster(r.ReassignTo, r.Place); !ok {
			return
		}
	}
	if have.Name == p.state.Executor.Name {
		p.problem(r.Place, "have another role apply this", "role %q cannot be retired: it is the one that applies this", r.Ref)
	}
	p.administer(have.Name, r.Place)
	if have.Login {
		r.add(DisableRole, "", "it is retired: nobody shall log in any more", alterRole(have.Name, "NOLOGIN"), alterRole(have.Name, "LOGIN"))
	}
	r.sessions()
	r.gifts()
	r.uses()
	r.add(DropRole, "", "it is retired", "DROP ROLE "+have.Name.Ident(), p.again(have))
	if len(p.problems) > told {
		return
	}
	p.leaving[have.Name] = true
	for _, c := range r.list {
		p.change(c)
	}
}

// add adds a change in a database; empty: in the manifest's.
func (r *retirement) add(step Step, database, reason, sql, undo string, lent ...scope.Cluster) {
	r.list = append(r.list, Change{
		Step: step, Database: database, Subject: r.String(), Reason: reason, Places: places(r.Place), SQL: sql, Undo: undo, lent: lent, retires: r.have.Name,
	})
}

func (r *retirement) sessions() {
	n := r.state.Sessions[r.have.Name]
	if n == 0 {
		return
	}
	if !r.TerminateSessions {
		r.problem(r.Place, "end them, or set terminate_sessions", "role %q cannot be retired: it has %d sessions", r.Ref, n)
		return
	}
	var lent scope.Cluster
	if signal := r.state.role("pg_signal_backend"); signal == nil || !signal.Acts {
		lent = r.borrow(r.have.Name, uses, r.Place, "end sessions of")
	}
	r.add(EndSessions, "", fmt.Sprintf("it has %d sessions", n), "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity "+
		"WHERE usename OPERATOR(pg_catalog.=) "+r.have.Name.Literal()+"::pg_catalog.name AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()", "", lent)
}

// gifts takes what DROP OWNED leaves, as they who gave it, and with it what was given by virtue of it: so there is
// nothing to take of what other retired roles have given. What the role itself has given goes with it: whoever has it
// keeps it, as a gift of the owner.
func (r *retirement) gifts() {
	for _, g := range r.state.Gifts {
		switch {
		case !r.DropOwned:
		case g.Grantee == r.have.Name && !r.retires(g.Grantor):
			r.takeBack(g)
		case g.Grantor == r.have.Name && !r.retires(g.Grantee):
			r.keep(g)
			if g.Column != "" { // by virtue of the whole table, it may be: then it is left
				r.takeBack(g)
			}
		}
	}
}

func (g Gift) what() string {
	if g.Column != "" {
		return "column " + g.Column + " of " + g.Object.String()
	}
	return g.Object.String()
}

func (r *retirement) takeBack(g Gift) {
	told := func(hint, why string) {
		r.problem(r.Place, hint, "role %q cannot be retired: role %q, which gave %s %v on %s, %s",
			r.Ref, r.name(g.Grantor), r.it(g.Grantee), g.Privileges, g.what(), why)
	}
	switch {
	case g.Out:
		told("grant it USAGE on the schema", "does not get at that to take it back")
	case g.Dangling:
		told("give it the grant option again", "may not take it back any more")
	default:
		r.add(RevokeGift, g.Database, fmt.Sprintf("%s has %v on %s from %s", r.it(g.Grantee), g.Privileges, g.what(), r.name(g.Grantor)),
			acting(g.Grantor, "REVOKE "+privilegesSQL(g.Privileges, g.Column)+g.Object.on()+" FROM "+idents([]scope.Cluster{g.Grantee})+" CASCADE"), "",
			r.borrow(g.Grantor, sets, r.Place, "take back what was given by"))
	}
}

// it is what people call the role, or another.
func (r *retirement) it(c scope.Cluster) string {
	if c == r.have.Name {
		return "it"
	}
	return r.name(c)
}

// handed is what a role has on a thing from another.
type handed struct {
	on, column       string
	grantee, grantor scope.Cluster
}

// loses notes what the plan takes from a role: nobody keeps it when who gave it goes.
func (p *planner) loses(t target, l loss) {
	if len(p.desired.Retirements) == 0 {
		return
	}
	at := handed{t.object.on(), t.column, l.grantee, l.grantor}
	m := p.taken[at]
	if m.options |= l.privileges; !l.optionOnly {
		m.privileges |= l.privileges
	}
	p.taken[at] = m
}

// keep gives what the role has given, but for what is taken anyway.
func (r *retirement) keep(g Gift) {
	var taken mark
	if g.Database == "" {
		taken = r.taken[handed{g.Object.on(), g.Column, g.Grantee, g.Grantor}]
	}
	left := loss{grantee: g.Grantee, privileges: g.Privileges &^ taken.privileges}
	if g.Option {
		left.options = left.privileges &^ taken.options
	}
	if left.privileges == 0 {
		return
	}
	again := againOf(&Object{}, g.Column, left, 0).grants(g.Object.on(), idents([]scope.Cluster{g.Grantee}))
	r.add(KeepGift, g.Database, fmt.Sprintf("%s has %v on %s from it", r.name(g.Grantee), left.privileges, g.what()),
		strings.Join(again, "; "), "", r.borrow(g.Owner, uses, r.Place, "grant what belongs to"))
}

// retires reports whether the role is another that goes, with all that was granted to it.
func (r *retirement) retires(c scope.Cluster) bool {
	return slices.ContainsFunc(r.desired.Retirements, func(o access.Retirement) bool { return o.DropOwned && r.state.Names[o.Ref].Cluster == c })
}

// uses gives away and drops what the role has, database by database.
func (r *retirement) uses() {
	have, here := r.have.Name, false
	for _, u := range r.state.Uses {
		if u.Role != have {
			continue
		}
		database := u.Database
		if database == "" || database == r.state.Scope.Name {
			if database = ""; here && r.DropOwned {
				continue // both are one statement's work
			}
			here = true
		}
		where := "database " + u.Database
		if u.Database == "" {
			where = "the cluster"
		}
		if hint, why := obstacle(r.Retirement, u); why != "" {
			r.problem(r.Place, hint, "role %q cannot be retired: %s %s", r.Ref, why, where)
			continue
		}
		if r.heir != "" {
			r.add(ReassignOwned, database, fmt.Sprintf("it owns %d objects in %s", u.Owned, where), "REASSIGN OWNED BY "+have.Ident()+" TO "+r.heir.Ident(), "",
				r.borrow(have, uses, r.Place, "give away what is owned by"), r.borrow(r.heir, uses, r.Place, "give what others own to"))
		}
		if r.DropOwned {
			r.add(DropOwned, database, fmt.Sprintf("it has privileges on %d objects in %s", u.Granted, where),
				"DROP OWNED BY "+have.Ident(), "", r.borrow(have, uses, r.Place, "drop what is owned by"))
		}
	}
}

// obstacle tells what of a use neither REASSIGN OWNED nor DROP OWNED takes from the role, as far as they are to be
// run, and what would.
func obstacle(r access.Retirement, u Use) (hint, why string) {
	stays := r.ReassignTo == (access.Ref{})
	switch {
	case u.Owned > 0 && stays && !r.DropOwned:
		return "set reassign_owned_to or drop_owned", fmt.Sprintf("it owns %d objects in", u.Owned)
	case u.Owned > 0 && stays && u.Database == "": // databases, tablespaces, subscriptions
		return "set reassign_owned_to", fmt.Sprintf("drop_owned does not drop the %d objects that it owns in", u.Owned)
	case u.Granted > 0 && !r.DropOwned:
		return "set drop_owned", fmt.Sprintf("it has privileges on %d objects in", u.Granted)
	case u.Personal > 0 && !r.DropOwned:
		return "set drop_owned", fmt.Sprintf("it has %d default privileges or user mappings in", u.Personal)
	case u.Shut:
		return "let who applies this connect to it", "nobody can clear up what it has in"
	default:
		return "", ""
	}
}

// again makes a role that was dropped: what it was, what it was a member of, and its members. Its password is lost,
// and so is what it owned and was granted on objects.
func (p *planner) again(have *RoleState) string {
	list := []string{"CREATE ROLE " + have.Name.Ident() + optionsSQL(have, &fresh)}
	if have.Comment != "" {
		list = append(list, commentSQL(have.Name, have.Comment))
	}
	type pair struct{ role, member scope.Cluster }
	strongest := make(map[pair]Edge) // several may have given it
	for _, e := range p.state.Members {
		other := e.Role
		if other == have.Name {
			other = e.Member
		} else if e.Member != have.Name || !p.administers(e.Role) {
			continue
		}
		if e.Creator || p.leaving[other] { // who goes before it comes after it again
			continue
		}
		x := strongest[pair{e.Role, e.Member}]
		e.Admin, e.Inherit, e.Set = e.Admin || x.Admin, e.Inherit || x.Inherit, e.Set || x.Set
		strongest[pair{e.Role, e.Member}] = e
	}
	for _, at := range slices.SortedFunc(maps.Keys(strongest), func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.role, b.role), cmp.Compare(a.member, b.member))
	}) {
		e := strongest[at]
		list = append(list, p.membershipSQL(e.Role, e.Member, p.memberBits(e.Inherit, e.Set), e.Admin))
	}
	for _, s := range have.Settings {
		list = append(list, p.parameter(have.Name, s, true))
	}
	return strings.Join(list, "; ")
}
