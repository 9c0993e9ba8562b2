package rewrite

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// The rows of statements that make, change and drop roles, and of memberships.

// attributeNames are the role options that a statement can turn on (AlterOptRoleElem, gram.y).
var attributeNames = map[string]string{
	"superuser": "SUPERUSER", "createdb": "CREATEDB", "createrole": "CREATEROLE", "inherit": "INHERIT",
	"canlogin": "LOGIN", "isreplication": "REPLICATION", "bypassrls": "BYPASSRLS",
}

// attributes returns the attributes that the options turn on, and sees to the password.
func (r *reader) attributes(list []*pg.Node, login bool) (on []string) {
	for _, n := range list {
		d := n.GetDefElem()
		switch {
		case d.GetDefname() == "canlogin":
			login = d.Arg.GetBoolean().GetBoolval()
		case d.GetDefname() == "password" && md5Password(d.Arg.GetString_().GetSval()):
			r.md5 = r.base + int(d.Location)
		case attributeNames[d.GetDefname()] != "" && d.Arg.GetBoolean().GetBoolval():
			on = append(on, attributeNames[d.GetDefname()])
		}
	}
	if login {
		on = append(on, "LOGIN")
	}
	return on
}

// md5Password reports whether the server takes a password for an md5 verifier (get_password_type, crypt.c). It is
// salted with the role's name: made with the short name it is good for nothing.
func md5Password(s string) bool {
	return len(s) == len("md5")+32 && strings.HasPrefix(s, "md5") && strings.Trim(s[len("md5"):], "0123456789abcdef") == ""
}

// CREATE ROLE|USER|GROUP name [WITH] option …
func (r *reader) createRole(n *pg.CreateRoleStmt) {
	if !r.bare() {
		return
	}
	s, _, err := r.tokens.name(2)
	role := r.add(s, err, n.Role, creates)
	if role.name == 0 {
		return
	}
	r.names[role.name-1].extra = r.markerPlace(n)
	r.want(want{
		kind: policy.CreateRole, role: role,
		attributes: r.attributes(n.Options, n.StmtType == pg.RoleStmtType_ROLESTMT_USER),
	})
	for _, granted := range r.optionRoles(n.Options, "addroleto") {
		r.want(want{kind: policy.GrantMembership, role: granted, grantee: role})
	}
	for _, option := range []string{"rolemembers", "adminmembers"} {
		for _, member := range r.optionRoles(n.Options, option) {
			r.want(want{kind: policy.GrantMembership, role: role, grantee: member})
		}
	}
}

// markerPlace returns where the marker joins the statement: in front of its own IN ROLE list, since the grammar takes
// the clause once, or else in a clause after the last token.
func (r *reader) markerPlace(n *pg.CreateRoleStmt) extra {
	if in := options(n.Options, "addroleto"); len(in) > 0 {
		keyword := r.tokens.index(r.base+int(in[0].Location)) + 1 // IN, then ROLE or GROUP
		return extra{what: extraMarker, at: r.tokens.list[keyword].end, before: " ", after: ","}
	}
	return extra{what: extraMarker, at: r.end, before: " IN ROLE "}
}

// ALTER ROLE|USER name option …, ALTER GROUP name ADD|DROP USER member, …
func (r *reader) alterRole(n *pg.AlterRoleStmt) {
	role := r.role(n.Role)
	r.want(want{kind: policy.AlterRole, role: role, attributes: r.attributes(n.Options, false)})
	if role.name == 0 { // CURRENT_USER: whose password it is, the server alone knows
		r.md5 = none
	}
	kind := policy.GrantMembership
	if n.Action < 0 {
		kind = policy.RevokeMembership
	}
	for _, member := range r.optionRoles(n.Options, "rolemembers") {
		r.want(want{kind: kind, role: role, grantee: member})
	}
}

// ALTER ROLE|USER name|ALL [IN DATABASE name] SET …
func (r *reader) alterRoleSet(n *pg.AlterRoleSetStmt) {
	role := party{word: "all"}
	if n.Role != nil {
		role = r.role(n.Role)
	} else if n.Database == "" {
		r.allRoles = r.start
	}
	r.database = n.Database
	r.want(want{kind: policy.AlterRole, role: role})
}

// DROP ROLE|USER|GROUP [IF EXISTS] name, …
func (r *reader) dropRole(n *pg.DropRoleStmt) {
	for _, role := range r.roles(n.Roles) {
		if role.name > 0 {
			r.names[role.name-1].use, r.names[role.name-1].lax = drops, n.MissingOk
		}
		r.want(want{kind: policy.DropRole, role: role})
	}
}

// ALTER ROLE|USER|GROUP name RENAME TO name
func (r *reader) renameRole(n *pg.RenameStmt) {
	s, next, err := r.tokens.name(2)
	role := r.add(s, err, n.Subname, renames)
	s, _, err = r.tokens.name(next + len([]string{"RENAME", "TO"}))
	newName := r.add(s, err, n.Newname, becomes)
	if role.name > 0 && newName.name > 0 {
		if old, n := &r.names[role.name-1], &r.names[newName.name-1]; old.schema != "" && n.schema == "" { // it stays in its schema
			stays := scope.InSchema(old.schema, n.name)
			n.schema, n.name = stays.Schema, stays.Role
		}
	}
	r.want(want{kind: policy.RenameRole, role: role, grantee: newName})
}

// GRANT role, … TO role, …, REVOKE [option OPTION FOR] role, … FROM role, …
//
// The granted roles are written like privileges: any key word, and a list of columns, may stand there.
func (r *reader) grantRole(n *pg.GrantRoleStmt) {
	t, i := r.tokens, 1
	if _, option, err := t.name(i); err == nil && !n.IsGrant && t.kind(option) == pg.Token_OPTION && t.kind(option+1) == pg.Token_FOR {
		i = option + 2
	}
	granted := make([]party, 0, len(n.GrantedRoles))
	for _, g := range n.GrantedRoles {
		privilege := g.GetAccessPriv()
		s, next, err := t.name(i)
		if privilege.GetPrivName() == "alter system" && t.kind(i) == pg.Token_ALTER { // two words, one name
			s.name, s.end, next = "alter system", t.list[next].end, next+1
		}
		granted = append(granted, r.add(s, err, privilege.GetPrivName(), refers))
		if t.kind(next) == tokenOpen {
			for next < len(t.list) && t.kind(next) != tokenClose {
				next++
			}
			next++
		}
		i = next + 1 // the comma
	}
	w := want{kind: policy.RevokeMembership}
	if n.IsGrant {
		w.kind = policy.GrantMembership
	}
	grantees := r.roles(n.GranteeRoles)
	for _, w.role = range granted {
		for _, w.grantee = range grantees {
			r.want(w)
		}
	}
}

// COMMENT ON ROLE name IS …, SECURITY LABEL [FOR provider] ON ROLE name IS …: the name is the second after ON.
func (r *reader) describe(object *pg.Node) {
	s, _, err := r.tokens.name(r.tokens.find(pg.Token_ON) + len([]string{"ON", "ROLE"}))
	r.want(want{kind: policy.CommentRole, role: r.add(s, err, object.GetString_().GetSval(), refers)})
}
