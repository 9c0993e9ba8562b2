package policy

import "github.com/pgscope/pgscope-proxy/scope"

// Kind is what a role statement does. The names are those of rules and audit records.
type Kind string

const (
	CreateRole        Kind = "create role"
	AlterRole         Kind = "alter role" // attributes, settings, members by ALTER GROUP
	RenameRole        Kind = "rename role"
	DropRole          Kind = "drop role"
	GrantPrivilege    Kind = "grant"
	RevokePrivilege   Kind = "revoke"
	GrantMembership   Kind = "grant role"
	RevokeMembership  Kind = "revoke role"
	DefaultPrivileges Kind = "default privileges"
	ChangeOwner       Kind = "change owner" // OWNER TO, REASSIGN OWNED, CREATE SCHEMA AUTHORIZATION, CREATE DATABASE OWNER
	DropOwned         Kind = "drop owned"
	SetRole           Kind = "set role"
	SetSessionAuth    Kind = "set session authorization"
	CommentRole       Kind = "comment role" // COMMENT and SECURITY LABEL
	NameRole          Kind = "name role"    // every other statement that names a role: policies, user mappings, settings
	SetMode           Kind = "set mode"     // SET pgscope.mode
	Connect           Kind = "connect"      // a login to a database; only rules that name it speak of it
)

// Role is a role that a statement names, as the session and as the cluster know it.
type Role struct {
	Name    scope.Short
	Cluster scope.Cluster
	Home    scope.Home
	// Administered says that the session's current role administers this one: it is a superuser, or has ADMIN on the role
	// or on the marker of its scope. It means something where [Session.Facts] are known.
	Administered bool
}

// UnknownRole is the name of a role that the statement does not tell: set_config('role', $1,
// true). No cluster name goes with it.
const UnknownRole scope.Short = "unknown"

func (r *Role) unknown() bool { return r.Cluster == "" && r.Name == UnknownRole }

// Action is one thing that one statement wants to do to roles. A statement that names several targets makes one
// action a target.
type Action struct {
	Kind       Kind
	Role       Role       // the role acted on; for memberships the role that is granted
	Grantee    Role       // memberships and privileges: who gets it; else empty. PUBLIC has the name "public"
	Attributes []string   // role attributes that the statement turns on, upper case: SUPERUSER, LOGIN …
	Object     string     // privileges and ownership: the object's kind, lower case: table, schema …
	Mode       scope.Mode // SetMode: the mode wanted
}
