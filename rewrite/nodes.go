package rewrite

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// node takes in one node of the tree. A role that the grammar gives a place of its own (RoleSpec) is found wherever it
// stands, also in statements that are not named here. The statements that are, say in three tables what they want with
// their roles, and where the names stand that the grammar keeps as bare strings: statements about roles, about access,
// and about owners and the things that carry a scope's name.
func (r *reader) node(m proto.Message) {
	switch n := m.(type) {
	case *pg.Node:
		return // an envelope
	case *pg.RoleSpec:
		r.role(n)
	default:
		if !r.roleStatement(m) && !r.accessStatement(m) {
			r.ownerStatement(m)
		}
	}
	r.top = false
}

// roleStatement takes in a statement that is about roles themselves, or may have statements about them in it.
func (r *reader) roleStatement(m proto.Message) bool {
	switch n := m.(type) {
	case *pg.CreateRoleStmt:
		r.createRole(n)
	case *pg.AlterRoleStmt:
		r.alterRole(n)
	case *pg.AlterRoleSetStmt:
		r.alterRoleSet(n)
	case *pg.DropRoleStmt:
		r.dropRole(n)
	case *pg.RenameStmt:
		if n.RenameType == pg.ObjectType_OBJECT_ROLE && r.bare() {
			r.renameRole(n)
		}
		r.renameScope(n)
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
	default:
		return false
	}
	return true
}

// accessStatement takes in a statement that grants something to roles, or names them in a rule.
func (r *reader) accessStatement(m proto.Message) bool {
	switch n := m.(type) {
	case *pg.GrantStmt:
		r.grant(n)
	case *pg.GrantRoleStmt:
		if r.bare() {
			r.grantRole(n)
		}
	case *pg.AlterDefaultPrivilegesStmt:
		r.enclosing = policy.DefaultPrivileges
		r.owners = r.optionRoles(n.Options, "roles")
	case *pg.CreatePolicyStmt:
		r.each(n.Roles, want{kind: policy.NameRole, object: "policy"})
	case *pg.AlterPolicyStmt:
		r.each(n.Roles, want{kind: policy.NameRole, object: "policy"})
	case *pg.CreateUserMappingStmt:
		r.userMapping(n.User)
	case *pg.AlterUserMappingStmt:
		r.userMapping(n.User)
	case *pg.DropUserMappingStmt:
		r.userMapping(n.User)
	default:
		return false
	}
	return true
}

// ownerStatement takes in a statement that gives something an owner, or changes a database or a schema as a whole.
func (r *reader) ownerStatement(m proto.Message) {
	switch n := m.(type) {
	case *pg.AlterTableStmt:
		for _, c := range n.Cmds {
			r.owner(c.GetAlterTableCmd().GetNewowner(), objectName(n.Objtype))
		}
	case *pg.AlterOwnerStmt:
		r.owner(n.Newowner, objectName(n.ObjectType))
	case *pg.ReassignOwnedStmt:
		r.each(n.Roles, want{kind: policy.ChangeOwner, object: "owned"})
		r.owner(n.Newrole, "owned")
	case *pg.DropOwnedStmt:
		r.each(n.Roles, want{kind: policy.DropOwned})
	case *pg.CreateTableSpaceStmt:
		r.owner(n.Owner, "tablespace")
	case *pg.CreateSchemaStmt:
		r.createSchema(n)
	case *pg.DropStmt:
		r.dropSchemas(n)
	case *pg.CreatedbStmt:
		if r.bare() {
			r.createDatabase(n)
			r.copyDatabase(n)
		}
	case *pg.AlterDatabaseSetStmt:
		r.database = n.Dbname
	case *pg.DropdbStmt:
		r.change(DropDatabase, n.Dbname, "")
	}
}

// bare guards the statements whose names are looked for among their tokens: inside of another statement (the grammar
// takes any in a BEGIN ATOMIC body, the server none of these) the tokens are not known. It refuses those.
func (r *reader) bare() bool {
	if !r.top {
		r.refuse(r.start, scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: "a statement about roles cannot stand inside of another one",
		})
	}
	return r.top
}

// role takes in a RoleSpec: a name, or a special word. It adds a name once, though the tables and the walk both come by.
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

func (r *reader) userMapping(user *pg.RoleSpec) {
	r.want(want{kind: policy.NameRole, role: r.role(user), object: "user mapping"})
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
	case role.word == "session_user":
		short.what = extraSession
		fallthrough
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
