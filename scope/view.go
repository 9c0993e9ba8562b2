package scope

import (
	"fmt"
	"iter"
	"strings"
)

// Home says where a role of the cluster belongs, seen from one database.
type Home int

const (
	Missing Home = iota // there is no such role
	Own                 // a role of this database
	Global              // a role of no database: people, administrators, pg_*
	Foreign             // a role of another database
	Marker              // one of this project's own roles
)

type role struct {
	home  Home
	owner string  // Foreign: the database that it belongs to
	name  Name    // Own: what it is called here
	in    Cluster // Own: the marker that it is a member of
	login bool
	// administers are Global's: the markers that it is a member of.
	administers []markerComment
	// membership is Own's in the marker, where all roles were listed.
	membership Membership
}

// ownRole returns a role of the scope that has the prefix and the marker; false where the name lacks the prefix.
func ownRole(c Cluster, prefix string, marker Cluster, schema string) (role, bool) {
	short, ok := strings.CutPrefix(string(c), prefix+Separator)
	return role{home: Own, name: Name{Schema: schema, Role: Short(short)}, in: marker}, ok && short != ""
}

// View is what one database sees of the roles that an [Inquiry] asked about. It is the answer to that one inquiry and
// not safe for concurrent use: [View.Created] and its like keep it true while the statements of one text are mapped.
type View struct {
	DB    Database
	Mode  Mode // the session's pgscope.mode as the server has it; empty where it was never set
	Whole bool // whether it knows all roles of the database
	// Plain is whether no schema of the database has roles of its own, so that a name means the same under every
	// search_path. Only a Whole view tells.
	Plain bool

	User       Cluster // the session's current role, if the inquiry asked for it; empty where it is not known any more
	Session    Cluster // the session's user, in the same way
	SearchPath string  // the session's search_path as it is set
	// Path is the search_path by which names are resolved: the session's, and what statements of a text make of it.
	Path Path
	// Resets are the values that RESET brings back, by setting, if the inquiry asked for them.
	Resets map[string]string
	// InBlock is whether the session is in a transaction, whose ROLLBACK restores settings that are not known. ModeSet is
	// whether the session has spoken of its mode. No inquiry asks about them.
	InBlock, ModeSet bool
	// DefaultPath is the one that SET search_path TO DEFAULT brings, where "$user" stands in it for the short name of a
	// role; else empty. No inquiry asks about it.
	DefaultPath string

	Actor *Actor // the session, where the inquiry asked for it

	// Census is what the last list of all roles told of others; nil where there was none.
	Census *Census

	// Columns are the columns of the catalogs' relations with role names, in their order, by schema.relation, as far as
	// they are known. No inquiry asks about them.
	Columns map[string][]string

	missing      map[string]bool // the databases that the inquiry asked about and that do not exist
	roles        map[Cluster]role
	administered map[Cluster]bool // by the session's current role
	usable       map[string]bool  // the schemas that the session's current role may use
}

// View returns what is known of the database without an inquiry: no role.
func (d Database) View() *View { return &View{DB: d, roles: make(map[Cluster]role)} }

// home looks up a role. A name that was not asked about is an internal error, not a missing role: to take it for one
// would let a role of another database be named.
func (v *View) home(c Cluster) role {
	r, ok := v.roles[c]
	if !ok {
		panic(fmt.Sprintf("scope: role %q was not asked about", c))
	}
	return r
}

// NoDatabase reports whether a database does not exist that the inquiry asked about.
func (v *View) NoDatabase(name string) bool { return v.missing[name] }

// Localize returns what a role of this database is called here, with the schema if it is one of a schema; false for every
// other role.
func (v *View) Localize(c Cluster) (Short, bool) {
	n, ok := v.Name(c)
	return n.Short(), ok
}

// Name is Localize for those who must tell a role of a schema from one with a dot in its name.
func (v *View) Name(c Cluster) (Name, bool) {
	r := v.roles[c]
	return r.name, r.home == Own
}

// Within returns what a role of this database would be called under another cluster name; false where it would not stay
// in its scope then.
func (v *View) Within(c, other Cluster) (Name, bool) {
	r := v.roles[c]
	prefix := strings.TrimSuffix(string(c), string(r.name.Role))
	short, ok := strings.CutPrefix(string(other), prefix)
	return Name{r.name.Schema, Short(short)}, ok && short != "" && r.home == Own
}

// Roles returns the roles of this database that the view knows.
func (v *View) Roles() iter.Seq2[Cluster, Role] {
	return func(yield func(Cluster, Role) bool) {
		for c, r := range v.roles {
			if r.home == Own && !yield(c, Role{r.name.Short(), r.login && r.name.Schema == "", r.membership}) {
				return
			}
		}
	}
}

// Missed returns the names that were asked about and are those of no role of this database.
func (v *View) Missed() iter.Seq[Cluster] {
	return func(yield func(Cluster) bool) {
		for c, r := range v.roles {
			if r.home != Own && !yield(c) {
				return
			}
		}
	}
}

// Role is a role of a database.
type Role struct {
	Name  Short
	Login bool // whether it may log in, as far as the answer to the inquiry says; roles of schemas do not
	// Membership is in the marker; a view that is not Whole does not know it.
	Membership Membership
}
