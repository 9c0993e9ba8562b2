package access

import (
	"fmt"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Place is where a file says something. The zero Place is nowhere: what nobody wrote.
type Place struct {
	File         string
	Line, Column int // from 1
}

func (p Place) String() string {
	if p.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// RefKind says whose name a [Ref] is.
type RefKind uint8

// Whose name it is.
const (
	Own    RefKind = iota + 1 // of the database: the server has it under a longer name
	Global                    // of the cluster, as written: declared global, external, or predefined (pg_*)
	Public                    // everyone; Name is empty
)

// Ref names a role. Refs can be compared and are map keys.
type Ref struct {
	Kind RefKind
	Name scope.Name
}

func (r Ref) String() string {
	if r.Kind == Public {
		return "PUBLIC"
	}
	return string(r.Name.Short())
}

// Desired is the access that one database shall have: every profile expanded, every default filled in, every name
// resolved. Lists are in the order of their files; what they say of one thing is said once.
type Desired struct {
	Database    string // empty: the one that the connection is in
	Cluster     bool   // it is about what belongs to no database, and says nothing of the one that the connection is in
	Estate      bool   // another is about what belongs to no database, and says what PUBLIC and roles of the cluster have of it
	Prefix      string // of its own roles' names on the server, until it is enrolled; empty: the database's name
	Roles       []Role
	Schemas     []SchemaSpec
	Grants      []Grant
	Defaults    []DefaultPrivilege
	Memberships []Membership
	Retirements []Retirement
	// Surface bounds what a bundle may touch; nil where the manifest may touch all that it names.
	Surface *Surface
}

// MayBecome reports whether the sessions of a role may SET ROLE to another. Who is a member of a role that d does not
// create, others may know better: those are taken for members.
func (d *Desired) MayBecome(role, other Ref) bool {
	created := make(map[Ref]bool, len(d.Roles))
	for _, r := range d.Roles {
		if created[r.Ref] = !r.External; r.Ref == role && r.Superuser {
			return true
		}
	}
	members := make(map[Ref][]Ref)
	for _, m := range d.Memberships {
		for _, member := range m.Members {
			if member.Set {
				members[m.Role] = append(members[m.Role], member.Ref)
			}
		}
	}
	for may := range Reach(members, other) {
		if may == role || !created[may] {
			return true
		}
	}
	return false
}

// Surface is what the fragments of a bundle have claimed: a change to anything else is an error.
type Surface struct {
	Roles        map[Ref]bool
	SchemaOwners map[string]bool // schemas whose existence and owner it decides
	Schemas      map[string]bool // schemas in which it decides privileges
}

// Role is a role that shall exist with these attributes, and no others.
type Role struct {
	Ref
	External       bool // never created, altered or dropped; it may be granted to and be a member
	PreserveGrants bool // undeclared grants to it on objects stay

	Login, Superuser, CreateDB, CreateRole, Replication, BypassRLS bool

	Inherit         bool
	ConnectionLimit int    // -1: none
	Comment         string // empty: none
	Password        *Password
	ValidUntil      string    // as SQL has it; empty: infinity
	Settings        []Setting // ALTER ROLE … SET, by name
	Place           Place
}

// Setting is a configuration parameter that a role's sessions start with.
type Setting struct {
	Name  string
	Value string // as written; lists with their commas; that of role is the name of one, as the manifest says it
	// InDatabase is for sessions in this database only, ALTER ROLE … IN DATABASE … SET.
	InDatabase bool
	Place      Place
}

// Password says where a password comes from. The password itself is read when it is applied.
type Password struct {
	FromEnv  string // name of an environment variable
	FromFile string // path; a newline at the end is not part of it
	Place    Place
}

// SchemaSpec is a schema that shall exist.
type SchemaSpec struct {
	Name  string
	Owner Ref // zero: any
	Place Place
}

// Selector says which objects a grant is about.
type Selector struct {
	Kind    Kind
	Schema  string // where the kind is in a schema
	Name    string // of a routine with its argument types; of a large object its OID
	Pattern string // instead of Name: every object whose name is LIKE it; "%" for all there are
	Column  string // empty: the whole object
}

// Grant is privileges that a role shall have, or with Absent shall not.
type Grant struct {
	Grantee     Ref
	On          Selector
	Privileges  Privileges // all that there are for the kind: those that the server's version has
	GrantOption bool       // WITH GRANT OPTION
	Absent      bool
	Place       Place
}

// DefaultPrivilege is privileges that a role shall get, or with Absent shall not, on objects that Owner makes later.
type DefaultPrivilege struct {
	Owner       Ref
	Schema      string // empty: in every schema
	Kind        Kind   // one with a Default in its [KindInfo]
	Grantee     Ref
	Privileges  Privileges
	GrantOption bool
	Absent      bool
	Place       Place
}

// Membership lists the members that a role shall have.
type Membership struct {
	Role    Ref
	Members []Member
	// Exclusive: members that are not listed are removed. So it is with every role that the manifest owns; with an
	// external or predefined one only where the manifest says so.
	Exclusive bool
	Place     Place
}

// Member is one member of a role.
type Member struct {
	Ref
	Admin   bool
	Inherit bool // PostgreSQL 16 keeps it with the membership; before, it is the member's attribute
	Set     bool // PostgreSQL 16; true before
	Place   Place
}

// Retirement is a role that shall go, and how.
type Retirement struct {
	Ref
	ReassignTo        Ref // zero: nothing is reassigned
	DropOwned         bool
	TerminateSessions bool
	Place             Place
}
