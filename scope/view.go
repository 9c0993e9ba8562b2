package scope

import (
	"fmt"
	"iter"
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
	owner string // Foreign: the database that it belongs to
	login bool
}

// View is what one database sees of the roles that an [Inquiry] asked about. It is the answer to that one inquiry and
// not safe for concurrent use: [View.Created] and its like keep it true while the statements of one text are mapped.
type View struct {
	DB    Database
	Mode  Mode // the session's pgscope.mode as the server has it; empty where it was never set
	Whole bool // whether it knows all roles of the database
	// Columns are the columns of the catalogs' relations with role names, in their order, by schema.relation, as far as they
	// are known. No inquiry asks about them.
	Columns map[string][]string
	roles   map[Cluster]role
}

// View returns what is known of the database without an inquiry: no role.
func (d Database) View() *View { return &View{DB: d, roles: make(map[Cluster]role)} }

// Candidates returns the cluster names that the short name may stand for in this database: what an [Inquiry] must ask
// about before the name can be resolved.
func (d Database) Candidates(name Short) []Cluster {
	var list []Cluster
	if c, err := d.Qualify(name); err == nil {
		list = append(list, c)
	}
	if len(name) <= MaxName {
		list = append(list, Cluster(name))
	}
	return list
}

// home looks up a role. A name that was not asked about is an internal error, not a missing role: to take it for one
// would let a role of another database be named.
func (v *View) home(c Cluster) role {
	r, ok := v.roles[c]
	if !ok {
		panic(fmt.Sprintf("scope: role %q was not asked about", c))
	}
	return r
}

// Resolve returns the role that a reference to name means: a predefined role, a role of this database, a global role.
// For a role that does not exist it returns the name that it would have here, with Missing, so that the server itself
// says what it says of missing roles, in its own order of checks; an error only where that name is not free, and the
// server would find a role that does not exist for this database.
func (v *View) Resolve(name Short) (Cluster, Home, *Error) {
	if Predefined(name) {
		return Cluster(name), Global, nil
	}
	c, home, err := v.ResolveOwn(name)
	if err == nil && home == Own {
		return c, Own, nil
	}
	if len(name) <= MaxName && v.home(Cluster(name)).home == Global {
		return Cluster(name), Global, nil
	}
	return c, home, err
}

// ResolveOwn is Resolve for a name that says DBONLY: only roles of this database count.
func (v *View) ResolveOwn(name Short) (Cluster, Home, *Error) {
	c, err := v.DB.Qualify(name)
	if err != nil {
		return "", Missing, doesNotExist(name)
	}
	switch home := v.home(c).home; home {
	case Own, Missing:
		return c, home, nil
	default:
		return "", Missing, doesNotExist(name)
	}
}

// ResolvePlain is Resolve for a name in explicit mode without DBONLY: a cluster name, as PostgreSQL reads it, but that
// roles of other databases and markers do not exist.
func (v *View) ResolvePlain(name Short) (Cluster, Home, *Error) {
	if Predefined(name) {
		return Cluster(name), Global, nil
	}
	if len(name) > MaxName {
		return "", Missing, doesNotExist(name)
	}
	switch home := v.home(Cluster(name)).home; home {
	case Foreign, Marker:
		return "", Missing, doesNotExist(name)
	default:
		return Cluster(name), home, nil
	}
}

// Create returns the cluster name of a role that is about to be made in this database, or renamed to name.
func (v *View) Create(name Short) (Cluster, *Error) {
	if err := reserved(name); err != nil {
		return "", err
	}
	c, err := v.DB.Qualify(name)
	if err != nil {
		return "", err
	}
	exists := &Error{Code: CodeDuplicateObject, Message: fmt.Sprintf(`role "%s" already exists`, name)}
	if v.home(Cluster(name)).home == Global {
		exists.Detail = "A role of that name belongs to the whole cluster, and is seen in every database."
		exists.Hint = "Use that role, or another name."
		return "", exists
	}
	switch r := v.home(c); r.home {
	case Foreign:
		exists.Hint = fmt.Sprintf(`On the server it would be "%s", which is a role of database "%s".`, c, r.owner)
		return "", exists
	case Global, Marker:
		exists.Hint = fmt.Sprintf(`On the server it would be "%s", which exists and belongs to no database.`, c)
		return "", exists
	default: // Own: the server says that it exists
		return c, nil
	}
}

// CreatePlain is Create for explicit mode without DBONLY: a role of the whole cluster.
func (v *View) CreatePlain(name Short) (Cluster, *Error) {
	if markerRole(Cluster(name)) {
		return "", reserved(name)
	}
	if len(name) <= MaxName && v.home(Cluster(name)).home == Foreign {
		return "", &Error{
			Code:    CodeDuplicateObject,
			Message: fmt.Sprintf(`role "%s" already exists`, name),
			Hint:    fmt.Sprintf(`It is a role of database "%s".`, v.home(Cluster(name)).owner),
		}
	}
	return Cluster(name), nil
}

// reserved refuses names that PostgreSQL or this project keeps for itself, in the words of CreateRole
// (src/backend/commands/user.c).
func reserved(name Short) *Error {
	for _, prefix := range []string{"pg_", Reserved} {
		if len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix {
			return &Error{
				Code:    CodeReservedName,
				Message: fmt.Sprintf(`role name "%s" is reserved`, name),
				Detail:  fmt.Sprintf(`Role names starting with "%s" are reserved.`, prefix),
			}
		}
	}
	return nil
}

// Created makes later statements of the same text see the role, as the server will.
func (v *View) Created(c Cluster, home Home) { v.roles[c] = role{home: home} }

// Dropped makes later statements of the same text miss the role.
func (v *View) Dropped(c Cluster) { v.roles[c] = role{home: Missing} }

// Renamed makes later statements of the same text see the role under its new name only.
func (v *View) Renamed(from, to Cluster) {
	v.roles[to] = v.roles[from]
	v.Dropped(from)
}

// Localize returns the short name of a role of this database; false for every other role.
func (v *View) Localize(c Cluster) (Short, bool) {
	if v.roles[c].home != Own {
		return "", false
	}
	return v.DB.Localize(c)
}

// Login returns the role that logs in to this database as name: a LOGIN role of the database first, then what the
// server has under the name itself, unless that does not exist for this database.
func (v *View) Login(name Short) (Cluster, *Error) {
	if c, err := v.DB.Qualify(name); err == nil {
		if r := v.home(c); r.home == Own && r.login {
			return c, nil
		}
	}
	c, _, err := v.ResolvePlain(name)
	if err == nil && v.roles[c].home == Own { // its cluster name is not a name here
		err = doesNotExist(name)
	}
	return c, err
}

// Roles returns the roles of this database that the view knows.
func (v *View) Roles() iter.Seq2[Cluster, Role] {
	return func(yield func(Cluster, Role) bool) {
		for c, r := range v.roles {
			if s, ok := v.DB.Localize(c); ok && r.home == Own {
				if !yield(c, Role{Name: s, Login: r.login}) {
					return
				}
			}
		}
	}
}

// Role is a role of a database.
type Role struct {
	Name  Short
	Login bool // whether it may log in, as far as the answer to the inquiry says
}
