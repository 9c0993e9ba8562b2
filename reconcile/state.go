package reconcile

import (
	"cmp"
	"maps"
	"strings"
	"time"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// State is the access that a server gives in one database, as far as it was asked for: see [Extent]. Nothing changes
// it after [Observe] has returned it.
type State struct {
	Version  int    // major, of the server
	Snapshot string // which transactions it sees: where that is the same, so is the state
	Scope    scope.Database
	Rounds   int // how often the server hashes a password
	Executor Executor
	// Bootstrap is the superuser that initdb made: what any superuser gives of memberships, it gives (PostgreSQL 16).
	Bootstrap scope.Cluster
	Names     map[access.Ref]Named
	Own       map[scope.Cluster]scope.Name // the database's roles; of an extent of all, every one
	Scoped    map[scope.Cluster]bool       // roles that belong to databases; of an extent of all or of the cluster
	Roles     map[scope.Cluster]*RoleState
	Members   []Edge
	Objects   map[access.Kind][]*Object // each list by schema and name
	Defaults  []DefaultACL
	Uses      []Use  // by roles that shall be retired
	Gifts     []Gift // to and from roles that shall be retired
	Sessions  map[scope.Cluster]int
	Barred    map[string]bool // parameters that the executor may not set for roles, in small letters

	claimed map[scope.Cluster]bool // roles that belong to a database, or administer one's
	foreign map[scope.Cluster]bool // roles that belong to another database, and administer none
}

// standings finds out from the markers' members which roles are claimed, and which are foreign.
func (s *State) standings() {
	s.claimed, s.foreign = make(map[scope.Cluster]bool), make(map[scope.Cluster]bool)
	ours := map[scope.Cluster]bool{s.Scope.Marker: true}
	for _, k := range s.Scope.Marked {
		ours[k.Marker] = true
	}
	administers := make(map[scope.Cluster]bool)
	for _, m := range s.Members {
		if strings.HasPrefix(string(m.Role), scope.Reserved) {
			s.claimed[m.Member] = true
			s.foreign[m.Member] = s.foreign[m.Member] || !ours[m.Role]
			administers[m.Member] = administers[m.Member] || !ours[m.Role] && m.Admin
		}
	}
	maps.DeleteFunc(s.foreign, func(c scope.Cluster, _ bool) bool { return administers[c] })
}

// Executor is the role that observes and applies.
type Executor struct {
	Name       scope.Cluster
	Superuser  bool
	CreateRole bool
	Schemas    bool // it may create schemas in the database
	// SelfInherit, SelfSet: what it has of a role that it makes, by createrole_self_grant (PostgreSQL 16).
	SelfInherit, SelfSet bool
}

// Named is what a name of the manifest means on the server.
type Named struct {
	Cluster scope.Cluster
	Is      Standing
	Marker  scope.Cluster // of the scope that an own role belongs to, or shall
	Err     *scope.Error  // why it can be no role here; nil unless Is is Impossible
}

// Standing is how a role stands to the name that a manifest gives it.
type Standing uint8

// How roles stand to names.
const (
	Missing    Standing = iota // there is none, and it may be made
	Present                    // there is one
	Stranger                   // there is one with the name that an own role of the database would have, but it belongs to no database
	Promised                   // there is none yet: it is made before the plan is carried out
	Impossible                 // it can be no role here
)

// RoleState is a role of the cluster.
type RoleState struct {
	Name scope.Cluster

	Login, Superuser, CreateDB, CreateRole, Replication, BypassRLS, Inherit bool

	ConnectionLimit int
	ValidUntil      time.Time // zero: infinity
	Comment         string
	Settings        []access.Setting // by name, those of this database last
	Password        PasswordState
	// What the executor may do by being a member of it.
	Acts bool // use its privileges, without further ado
	Set  bool // SET ROLE to it
}

// PasswordState is what is known of a role's password, against the one that the manifest wants.
type PasswordState uint8

// What is known of a password.
const (
	PasswordUnknown PasswordState = iota // it was not asked about, or may not be read
	PasswordDiffers
	PasswordMatches
)

// compareSettings puts those of a database last.
func compareSettings(a, b access.Setting) int {
	switch {
	case a.InDatabase == b.InDatabase:
		return cmp.Compare(a.Name, b.Name)
	case b.InDatabase:
		return -1
	default:
		return 1
	}
}

// Edge is a membership as pg_auth_members has it. Before PostgreSQL 16 there is one for a role and a member, Inherit
// is the member's own attribute, and Set is true.
type Edge struct {
	Role, Member, Grantor scope.Cluster

	Admin, Inherit, Set bool
	// Creator: the server itself gave it to who created the role, or somebody did the same by hand (PostgreSQL 16).
	Creator bool
}

// Object is something that privileges are granted on.
type Object struct {
	Kind    access.Kind
	Schema  string // where the kind is in a schema
	Name    string // a large object's is its OID
	Args    string // of a routine: types of the input arguments, qualified unless they are the server's own
	Shared  bool   // of a routine: others have its name
	Owner   scope.Cluster
	ACL     ACL
	Columns map[string]ACL // those that have privileges of their own, or were asked about; of relations alone
	Others  int            // how many more it stands for, that are alike
}

// DefaultACL is a row of pg_default_acl.
type DefaultACL struct {
	Owner  scope.Cluster
	Schema string // empty: every schema
	Kind   access.Kind
	ACL    ACL
}

// Use is what makes that a role cannot be dropped yet: what it owns, or may do, in a database. Database is empty
// for what belongs to the whole cluster.
type Use struct {
	Role     scope.Cluster
	Database string
	Owned    int  // objects of its own
	Personal int  // those of them that nobody else can be given: default privileges, user mappings
	Granted  int  // objects of others that it has privileges on
	Shut     bool // the executor cannot connect to the database
}

// Gift is what a role has on an object, or a column of it, from one who is not the object's owner, or an owner that the
// executor has no part in.
type Gift struct {
	Database                string // empty: the one that was observed, or the cluster
	Object                  *Object
	Column                  string
	Owner, Grantee, Grantor scope.Cluster
	Privileges              access.Privileges
	Option                  bool // they may be granted on
	Out                     bool // of the grantor's reach: it has no USAGE on the schema
	Dangling                bool // the grantor lost the right to grant it, and with it the right to take it back
}

// role returns the role, or nil where there is none.
func (s *State) role(name scope.Cluster) *RoleState { return s.Roles[name] }

// newSchema returns what is stored with a schema as soon as the owner has made it (get_user_default_acl,
// src/backend/catalog/aclchk.c).
func (s *State) newSchema(owner scope.Cluster) ACL {
	for _, d := range s.Defaults {
		if d.Owner == owner && d.Schema == "" && d.Kind == access.Schema {
			return d.ACL
		}
	}
	return ACL{}
}

// object returns the object of that kind and name, or nil.
func (s *State) object(kind access.Kind, schema, name string) *Object {
	for _, o := range s.Objects[kind] {
		if o.Schema == schema && o.Name == name {
			return o
		}
	}
	return nil
}
