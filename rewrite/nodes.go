package rewrite

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// node is the table of what there is to know of each kind of node. A role that the grammar gives a place of its own
// (RoleSpec) is found wherever it stands, also in nodes that have no row; a row says what the statement wants with its
// roles, and where the names stand that the grammar keeps as bare strings.
func (r *reader) node(m proto.Message) {
	switch n := m.(type) {
	case *pg.Node:
		return // an envelope
	case *pg.RoleSpec:
		r.role(n)

	case *pg.CreateRoleStmt:
		r.createRole(n)
	case *pg.AlterRoleStmt:
		r.alterRole(n)
	case *pg.AlterRoleSetStmt:
		r.alterRoleSet(n)
	case *pg.AlterDatabaseSetStmt:
		r.database = n.Dbname
	case *pg.DropRoleStmt:
		r.dropRole(n)
	case *pg.RenameStmt:
		if n.RenameType == pg.ObjectType_OBJECT_ROLE && r.bare() {
			r.renameRole(n)
		}
		r.renameScope(n)
	case *pg.DropStmt:
		r.dropSchemas(n)
	case *pg.DropdbStmt:
		r.change(DropDatabase, n.Dbname, "")

	case *pg.GrantStmt:
		r.grant(n)
	case *pg.GrantRoleStmt:
		if r.bare() {
			r.grantRole(n)
		}
	case *pg.AlterDefaultPrivilegesStmt:
		r.enclosing = policy.DefaultPrivileges
		r.owners = r.optionRoles(n.Options, "roles")

	case *pg.AlterTableStmt:
		for _, c := range n.Cmds {
			r.owner(c.GetAlterTableCmd().GetNewowner(), objectName(n.Objtype))
		}
	case *pg.AlterOwnerStmt:
		r.owner(n.Newowner, objectName(n.ObjectType))
	case *pg.CreateTableSpaceStmt:
		r.owner(n.Owner, "tablespace")
	case *pg.CreateSchemaStmt:
		r.createSchema(n)
	case *pg.CreatedbStmt:
		if r.bare() {
			r.createDatabase(n)
			r.copyDatabase(n)
		}
	case *pg.ReassignOwnedStmt:
		r.each(n.Roles, want{kind: policy.ChangeOwner, object: "owned"})
		r.owner(n.Newrole, "owned")
	case *pg.DropOwnedStmt:
		r.each(n.Roles, want{kind: policy.DropOwned})

	case *pg.CreatePolicyStmt:
		r.each(n.Roles, want{kind: policy.NameRole, object: "policy"})
	case *pg.AlterPolicyStmt:
		r.each(n.Roles, want{kind: policy.NameRole, object: "policy"})
	case *pg.CreateUserMappingStmt:
		r.want(want{kind: policy.NameRole, role: r.role(n.User), object: "user mapping"})
	case *pg.AlterUserMappingStmt:
		r.want(want{kind: policy.NameRole, role: r.role(n.User), object: "user mapping"})
	case *pg.DropUserMappingStmt:
		r.want(want{kind: policy.NameRole, role: r.role(n.User), object: "user mapping"})
	case *pg.CommentStmt:
		if n.Objtype == pg.ObjectType_OBJECT_ROLE && r.bare() {
			r.describe(n.Object)
		}
	case *pg.SecLabelStmt:
		if n.Objtype == pg.ObjectType_OBJECT_ROLE && r.bare() {
			r.describe(n.Object)
		}

	case *pg.VariableSetStmt:
		r.set(n)

	case *pg.DoStmt:
		if r.top {
			r.doBlock(n)
		}
	case *pg.CreateFunctionStmt:
		if r.top {
			r.routine(n)
		}
	}
	r.top = false
}

// bare guards the rows that look for names among the statement's tokens: inside of another statement (the grammar
// takes any in a BEGIN ATOMIC body, the server none of these) its tokens are not known.
func (r *reader) bare() bool {
	if !r.top {
		r.refuse(r.start, scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: "a statement about roles cannot stand inside of another one",
		})
	}
	return r.top
}

// role takes in a RoleSpec: a name, or a special word. Only once, as rows and the walk both come by.
func (r *reader) role(n *pg.RoleSpec) party {
	switch n.GetRoletype() {
	case pg.RoleSpecType_ROLESPEC_CSTRING:
	case pg.RoleSpecType_ROLESPEC_PUBLIC:
		return party{word: "public"}
	case pg.RoleSpecType_ROLESPEC_CURRENT_USER:
		return party{word: "current_user"}
	case pg.RoleSpecType_ROLESPEC_CURRENT_ROLE:
		return party{word: "current_role"}
	case pg.RoleSpecType_ROLESPEC_SESSION_USER:
		return party{word: "session_user"}
	default:
		return party{}
	}
	if p, ok := r.byOffset[n.Location]; ok {
		return p
	}
	if n.Location < 0 { // made up by the grammar; it makes up none but PUBLIC
		return r.add(spot{}, errNoName, n.Rolename, refers)
	}
	s, _, err := r.tokens.name(r.tokens.index(r.base + int(n.Location)))
	p := r.add(s, err, n.Rolename, refers)
	if r.byOffset == nil {
		r.byOffset = make(map[int32]party)
	}
	r.byOffset[n.Location] = p
	return p
}

func (r *reader) roles(list []*pg.Node) []party {
	parties := make([]party, 0, len(list))
	for _, n := range list {
		if s := n.GetRoleSpec(); s != nil {
			parties = append(parties, r.role(s))
		}
	}
	return parties
}

// each wants the same of each role of the list.
func (r *reader) each(list []*pg.Node, w want) {
	for _, p := range r.roles(list) {
		w.role = p
		r.want(w)
	}
}

func (r *reader) owner(n *pg.RoleSpec, object string) {
	if n != nil {
		r.want(want{kind: policy.ChangeOwner, role: r.role(n), object: object})
	}
}

// options returns the arguments of the options of a name.
func options(list []*pg.Node, name string) (found []*pg.DefElem) {
	for _, n := range list {
		if d := n.GetDefElem(); d.GetDefname() == name {
			found = append(found, d)
		}
	}
	return found
}

func (r *reader) optionRoles(list []*pg.Node, name string) (parties []party) {
	for _, d := range options(list, name) {
		parties = append(parties, r.roles(d.Arg.GetList().GetItems())...)
	}
	return parties
}

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
	if role.name > 0 && newName.name > 0 && r.names[newName.name-1].schema == "" { // it stays in its schema
		r.names[newName.name-1].schema = r.names[role.name-1].schema
	}
	r.want(want{kind: policy.RenameRole, role: role, grantee: newName})
}

// GRANT privilege ON object TO role, REVOKE … FROM role; also inside ALTER DEFAULT PRIVILEGES and CREATE SCHEMA.
func (r *reader) grant(n *pg.GrantStmt) {
	w := want{kind: policy.RevokePrivilege, object: r.object(n.Objtype)}
	if n.IsGrant {
		w.kind = policy.GrantPrivilege
	}
	owners := []party{{}}
	if r.enclosing != "" {
		w.kind = r.enclosing
		if len(r.owners) > 0 {
			owners = r.owners
		}
	}
	grantees := r.roles(n.Grantees)
	for _, w.role = range owners {
		for _, w.grantee = range grantees {
			r.want(w)
		}
	}
}

// object is the kind of objects that a statement says, also where another stood in for it.
func (r *reader) object(t pg.ObjectType) string {
	if on := r.tokens.find(pg.Token_ON); t == pg.ObjectType_OBJECT_TABLE && r.tokens.says(on+1, []string{"large", "objects"}) {
		t = pg.ObjectType_OBJECT_LARGEOBJECT
	}
	return objectName(t)
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

// CREATE SCHEMA [IF NOT EXISTS] [name] AUTHORIZATION role
func (r *reader) createSchema(n *pg.CreateSchemaStmt) {
	r.owner(n.Authrole, "schema")
	if n.Schemaname != "" || n.Authrole == nil {
		return
	}
	// The schema takes the role's name, and that is the short one.
	short := extra{what: extraShort, after: " "}
	switch role := r.role(n.Authrole); {
	case role.name > 0:
		authorization := r.tokens.index(r.names[role.name-1].start) - 1
		short.at = r.tokens.list[authorization].start
		r.names[role.name-1].extra = short
	case role.word == "current_user", role.word == "current_role":
		short.at = r.tokens.list[r.tokens.index(r.base+int(n.Authrole.Location))-1].start
		r.schemaOf = short
	}
}

// CREATE DATABASE name [WITH] OWNER [=] role: the name may be a string.
func (r *reader) createDatabase(n *pg.CreatedbStmt) {
	for _, d := range options(n.Options, "owner") {
		if d.Arg == nil { // DEFAULT
			continue
		}
		inTree, _ := constant(d.Arg)
		_, i, err := r.tokens.name(r.tokens.index(r.base + int(d.Location)))
		if r.tokens.kind(i) == tokenEquals {
			i++
		}
		var s spot
		if err == nil {
			s, _, err = r.tokens.value(i, inTree)
		}
		r.want(want{kind: policy.ChangeOwner, role: r.add(s, err, inTree, refers), object: "database"})
	}
}

// COMMENT ON ROLE name IS …, SECURITY LABEL [FOR provider] ON ROLE name IS …: the name is the second after ON.
func (r *reader) describe(object *pg.Node) {
	s, _, err := r.tokens.name(r.tokens.find(pg.Token_ON) + len([]string{"ON", "ROLE"}))
	r.want(want{kind: policy.CommentRole, role: r.add(s, err, object.GetString_().GetSval(), refers)})
}

// The settings whose values are role names, and the one that may name one.
const (
	settingRole    = "role"
	settingSession = "session_authorization"
	settingPath    = "search_path"
)

// SET name = value, by itself or inside ALTER ROLE|DATABASE|SYSTEM|FUNCTION … SET and CREATE FUNCTION … SET. The server
// compares a setting's name without regard to case, however it is quoted (guc_name_compare, guc.c).
func (r *reader) set(n *pg.VariableSetStmt) {
	setting := []byte(n.Name)
	reset := n.Kind == pg.VariableSetKind_VAR_RESET
	switch {
	case is(setting, settingRole) && n.Kind == pg.VariableSetKind_VAR_SET_VALUE:
		r.setRole(n, policy.SetRole, "none")
	case is(setting, settingSession) && n.Kind == pg.VariableSetKind_VAR_SET_VALUE:
		r.setRole(n, policy.SetSessionAuth, "")
	case is(setting, settingPath) && n.Kind == pg.VariableSetKind_VAR_SET_VALUE && r.top:
		r.setPath(n)
	case is(setting, settingPath) && n.Kind == pg.VariableSetKind_VAR_SET_DEFAULT && r.top:
		last := r.tokens.list[len(r.tokens.list)-1]
		r.standard = append(r.standard, spot{start: last.start, end: last.end})
	case is(setting, scope.ModeSetting) && n.Kind == pg.VariableSetKind_VAR_SET_VALUE:
		r.setMode(n)
	case is(setting, scope.DatabaseSetting) && !reset:
		r.refuse(r.start, scope.Error{
			Code:    codeCantChangeParam,
			Message: fmt.Sprintf(`parameter "%s" cannot be changed`, scope.DatabaseSetting),
		})
	}
}

// setRole takes in the role that a setting is set to. nobody is the value that means no role.
func (r *reader) setRole(n *pg.VariableSetStmt, kind policy.Kind, nobody string) {
	if !r.top { // a setting that is stored, for later
		kind = policy.NameRole
	}
	r.local = n.IsLocal
	for _, a := range n.Args {
		inTree, offset := constant(a)
		if offset == none {
			continue // a parameter, which the parser takes here, and no server
		}
		i := r.tokens.index(r.base + int(offset))
		if inTree == nobody && nobody != "" && r.before(r.base+int(offset)) == nil {
			r.want(want{kind: kind, role: party{word: scope.Short(nobody)}})
			continue
		}
		s, _, err := r.tokens.value(i, inTree)
		r.want(want{kind: kind, role: r.add(s, err, inTree, refers)})
	}
}

// setPath takes in "$user" in the search_path of the session. In a setting that is stored it means whoever will run with it,
// and stays: see docs/adr/0006-schema-scope.md.
func (r *reader) setPath(n *pg.VariableSetStmt) {
	for _, a := range n.Args {
		value, offset := constant(a)
		if !scope.NamesUser(value) || offset == none {
			continue
		}
		if s, _, err := r.tokens.value(r.tokens.index(r.base+int(offset)), value); err == nil {
			r.users = append(r.users, s)
		}
	}
}

// setMode checks a value of pgscope.mode: the server takes any, since the setting is a placeholder to it.
func (r *reader) setMode(n *pg.VariableSetStmt) {
	var values []string
	for _, a := range n.Args {
		value, _ := constant(a)
		values = append(values, value)
	}
	value := strings.Join(values, ", ")
	mode, ok := scope.ParseMode(value)
	if !ok {
		r.refuse(r.start, scope.Error{
			Code:    scope.CodeInvalidParameter,
			Message: fmt.Sprintf(`invalid value for parameter "%s": "%s"`, scope.ModeSetting, value),
			Hint:    "Available values: " + modeList() + ".",
		})
		return
	}
	if r.depth > 0 { // how what follows it is read would depend on whether it runs
		r.refuse(r.start, scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf(`parameter "%s" cannot be set in a DO block`, scope.ModeSetting),
		})
		return
	}
	if r.top {
		r.mode = mode
	}
	r.want(want{kind: policy.SetMode, mode: mode})
}

func modeList() string {
	names := make([]string, len(scope.Modes))
	for i, m := range scope.Modes {
		names[i] = string(m)
	}
	return strings.Join(names, ", ")
}

// constant returns the value of a setting or an option as the server makes a string of it (flatten_set_variable_args,
// defGetString), and the place of the constant, -1 if it has none.
func constant(n *pg.Node) (value string, offset int32) {
	offset = none
	var v any = n.GetNode()
	if c := n.GetAConst(); c != nil {
		v, offset = c.GetVal(), c.Location
	}
	switch v := v.(type) {
	case *pg.A_Const_Sval:
		value = v.Sval.GetSval()
	case *pg.A_Const_Fval:
		value = v.Fval.GetFval()
	case *pg.A_Const_Ival:
		value = strconv.Itoa(int(v.Ival.GetIval()))
	case *pg.Node_String_:
		value = v.String_.GetSval()
	case *pg.Node_Float:
		value = v.Float.GetFval()
	case *pg.Node_Integer:
		value = strconv.Itoa(int(v.Integer.GetIval()))
	}
	return value, offset
}

// objectNames are the kinds of objects whose name is not that of the grammar's constant.
var objectNames = map[pg.ObjectType]string{
	pg.ObjectType_OBJECT_FDW:             "foreign data wrapper",
	pg.ObjectType_OBJECT_LARGEOBJECT:     "large object",
	pg.ObjectType_OBJECT_MATVIEW:         "materialized view",
	pg.ObjectType_OBJECT_OPCLASS:         "operator class",
	pg.ObjectType_OBJECT_OPFAMILY:        "operator family",
	pg.ObjectType_OBJECT_PARAMETER_ACL:   "parameter",
	pg.ObjectType_OBJECT_STATISTIC_EXT:   "statistics",
	pg.ObjectType_OBJECT_TSCONFIGURATION: "text search configuration",
	pg.ObjectType_OBJECT_TSDICTIONARY:    "text search dictionary",
}

// objectName returns a kind of object in the words of SQL, lower case.
func objectName(t pg.ObjectType) string {
	if name, ok := objectNames[t]; ok {
		return name
	}
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(t.String(), "OBJECT_"), "_", " "))
}
