package reconcile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// enrolment makes the markers that own roles need, and, in mode adopt, the roles' memberships in them.
func (p *planner) enrolment() {
	db := p.state.Scope
	needed := false
	var schemas []scope.Schema
	for _, r := range p.desired.Roles {
		n := p.state.Names[r.Ref]
		if r.Kind != access.Own || n.Is == Impossible || !p.schemaIs(r.Name.Schema, r.Place) {
			continue
		}
		needed = true
		if name := r.Name.Schema; name != "" {
			s := db.Schema(name)
			if !s.Enrolled && !slices.ContainsFunc(schemas, func(o scope.Schema) bool { return o.Name == name }) {
				schemas = append(schemas, s)
				p.administer(db.Marker, r.Place)
			}
		}
		if n.Is == Stranger && p.mode == Adopt {
			p.administer(n.Marker, r.Place)
			p.change(Change{
				Step: EnrolRole, Subject: r.String(), Places: places(r.Place),
				Reason: fmt.Sprintf("role %s of the cluster becomes a role of database %s", n.Cluster, db.Name),
				SQL:    "GRANT " + n.Marker.Ident() + " TO " + n.Cluster.Ident() + p.grantedBy(n.Marker),
				Undo:   "REVOKE " + n.Marker.Ident() + " FROM " + n.Cluster.Ident() + p.by(p.giver(n.Marker)),
			})
		}
	}
	if needed && !db.Enrolled {
		p.change(Change{
			Step: Enrol, Subject: db.Name, Reason: "the database has no marker yet, which its roles are members of",
			SQL: db.EnrolSQL(), Undo: "DROP ROLE " + db.Marker.Ident(),
		})
		db.Enrolled = true
	}
	for _, s := range schemas {
		p.change(Change{
			Step: EnrolSchema, Subject: s.Name, Reason: "the schema has no marker yet, which its roles are members of",
			SQL: db.EnrolSQL(s), Undo: "DROP ROLE " + s.Marker.Ident(),
		})
	}
}

// attribute is one that ALTER ROLE sets by a word, or the word with NO before it.
type attribute struct {
	word string
	of   func(*RoleState) bool
	// super: before PostgreSQL 16 only a superuser may change it. own: from 16 on, only who has it (user.c).
	super, own bool
}

var attributes = []attribute{
	{"LOGIN", func(r *RoleState) bool { return r.Login }, false, false},
	{superAttribute, func(r *RoleState) bool { return r.Superuser }, true, true},
	{"CREATEDB", func(r *RoleState) bool { return r.CreateDB }, false, true},
	{"CREATEROLE", func(r *RoleState) bool { return r.CreateRole }, false, false},
	{"REPLICATION", func(r *RoleState) bool { return r.Replication }, true, true},
	{"BYPASSRLS", func(r *RoleState) bool { return r.BypassRLS }, true, true},
	{"INHERIT", func(r *RoleState) bool { return r.Inherit }, false, false},
}

const superAttribute = "SUPERUSER"

// fresh is a role as CREATE ROLE makes it.
var fresh = RoleState{Inherit: true, ConnectionLimit: -1}

func (p *planner) roles() {
	for i := range p.desired.Roles {
		r := &p.desired.Roles[i]
		c, ok := p.cluster(r.Ref, r.Place)
		if !ok || r.External {
			continue
		}
		have := p.state.role(c)
		if have == nil {
			p.createRole(r, c)
			continue
		}
		before := len(p.changes)
		p.alterRole(r, have)
		p.comment(r, have)
		p.parameters(r, have, false)
		if r.Password != nil && have.Password != PasswordMatches {
			reason := "the password is another"
			if have.Password == PasswordUnknown {
				reason = "the stored password may not be read"
			}
			p.password(r, c, false, have.Password == PasswordUnknown, reason)
		}
		if len(p.changes) > before && c != p.state.Executor.Name {
			p.administer(c, r.Place)
		}
	}
}

// administer tells beforehand that the executor may not alter a role, nor give it to others.
func (p *planner) administer(c scope.Cluster, place access.Place) {
	if !p.administers(c) {
		p.problem(place, "give it CREATEROLE and the admin option", "role %q may not administer role %q", p.state.Executor.Name, p.name(c))
	}
}

func (p *planner) createRole(r *access.Role, c scope.Cluster) {
	if !p.state.Executor.Superuser && !p.state.Executor.CreateRole {
		p.problem(r.Place, "give it CREATEROLE", "role %q may not create roles", p.state.Executor.Name)
	}
	options := ""
	if n := p.state.Names[r.Ref]; n.Marker != "" {
		options = " IN ROLE " + n.Marker.Ident()
		if p.state.Executor.CreateRole {
			p.administer(n.Marker, r.Place)
		}
	}
	sets, _ := p.options(r, &fresh)
	step := CreateRole
	if r.Name.Schema != "" {
		step = CreateSchemaRole // its marker, and so the schema, must be there
	}
	p.change(Change{
		Step: step, Subject: r.String(), Places: places(r.Place), Reason: "it does not exist",
		SQL: "CREATE ROLE " + c.Ident() + options + sets, Undo: "DROP ROLE " + c.Ident(),
	})
	if r.Password != nil {
		p.password(r, c, true, false, "it is new")
	}
	if r.Comment != "" {
		p.change(Change{
			Step: CommentRole, fresh: true, Subject: r.String(), Places: places(r.Place), Reason: "it is new",
			SQL: commentSQL(c, r.Comment), Undo: commentSQL(c, ""),
		})
	}
	p.parameters(r, &RoleState{Name: c}, true)
}

// options returns what CREATE ROLE or ALTER ROLE say to make the role what it shall be, and what takes it back.
func (p *planner) options(r *access.Role, have *RoleState) (sets, undo string) {
	until, err := parseTime(r.ValidUntil)
	if err != nil {
		p.problem(r.Place, "write it as 2027-01-31T00:00:00Z", "role %q: valid until %q is not a time", r.Ref, r.ValidUntil)
		until = have.ValidUntil
	}
	want := &RoleState{
		Login: r.Login, Superuser: r.Superuser, CreateDB: r.CreateDB, CreateRole: r.CreateRole, Replication: r.Replication,
		BypassRLS: r.BypassRLS, Inherit: r.Inherit, ConnectionLimit: r.ConnectionLimit, ValidUntil: until,
	}
	for _, a := range attributes {
		if executor := p.state.Executor; a.of(want) != a.of(have) && !executor.Superuser {
			own := p.state.role(executor.Name)
			switch {
			case a.super && p.state.Version < 16 || a.word == superAttribute:
				p.problem(r.Place, "managed servers do not have it at all", "only a superuser may change %s of role %q", a.word, r.Ref)
			case a.own && p.state.Version >= 16 && own != nil && !a.of(own):
				p.problem(r.Place, "give it "+a.word+" too", "role %q, which has no %s, may not change that of role %q", executor.Name, a.word, r.Ref)
			}
		}
	}
	return optionsSQL(want, have), optionsSQL(have, want)
}

// optionsSQL returns what CREATE ROLE or ALTER ROLE say to make of a role another; nothing where they are the same.
func optionsSQL(to, from *RoleState) (sql string) {
	for _, a := range attributes {
		switch has := a.of(to); {
		case has == a.of(from):
		case has:
			sql += " " + a.word
		default:
			sql += " NO" + a.word
		}
	}
	if to.ConnectionLimit != from.ConnectionLimit {
		sql += " CONNECTION LIMIT " + strconv.Itoa(to.ConnectionLimit)
	}
	if !to.ValidUntil.Equal(from.ValidUntil) {
		sql += " VALID UNTIL " + timeSQL(to.ValidUntil)
	}
	return sql
}

func parseTime(s string) (time.Time, error) {
	if s == "" || strings.EqualFold(s, "infinity") {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse("2006-01-02 15:04:05Z07", s)
	}
	return t.Truncate(time.Second).UTC(), err
}

func timeSQL(t time.Time) string {
	if t.IsZero() {
		return "'infinity'"
	}
	return scope.QuoteLiteral(t.UTC().Format(time.RFC3339))
}

func (p *planner) alterRole(r *access.Role, have *RoleState) {
	if p.mode == Additive {
		return
	}
	if sets, undo := p.options(r, have); sets != "" {
		p.change(Change{
			Step: AlterRole, Subject: r.String(), Places: places(r.Place), Reason: "attributes differ",
			SQL: alterRole(have.Name, strings.TrimSpace(sets)), Undo: alterRole(have.Name, strings.TrimSpace(undo)),
		})
	}
}

func (p *planner) comment(r *access.Role, have *RoleState) {
	if r.Comment != have.Comment {
		p.change(Change{
			Step: CommentRole, Subject: r.String(), Places: places(r.Place), Reason: "the comment is another",
			SQL: commentSQL(have.Name, r.Comment), Undo: commentSQL(have.Name, have.Comment),
		})
	}
}

func (p *planner) password(r *access.Role, c scope.Cluster, fresh, blind bool, reason string) {
	p.change(Change{
		Step: SetPassword, fresh: fresh, Subject: r.String(), Places: places(r.Password.Place), Reason: reason,
		SQL: alterRole(c, "PASSWORD "+hidden), role: c, password: r.Password, rounds: p.state.Rounds, blind: blind,
	})
}
