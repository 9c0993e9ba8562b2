package scope

import (
	"fmt"
	"iter"
	"slices"
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
	// Plain is whether no schema of the database has roles of its own, so that a name means the same under every search_path.
	// Only a Whole view tells.
	Plain bool

	User       Cluster // the session's current role, if the inquiry asked for it; empty where it is not known any more
	Session    Cluster // the session's user, in the same way
	SearchPath string  // the session's search_path as it is set
	// Path is the search_path by which names are resolved: the session's, and what statements of a text make of it.
	Path Path
	// Resets are the values that RESET brings back, by setting, if the inquiry asked for them.
	Resets map[string]string
	// InBlock is whether the session is in a transaction: what that goes back to is not known. ModeSet is whether the session has
	// spoken of its mode. No inquiry asks about them.
	InBlock, ModeSet bool
	// DefaultPath is the one that SET search_path TO DEFAULT brings, where "$user" stands in it for the short name of a
	// role; else empty. No inquiry asks about it.
	DefaultPath string

	Actor *Actor // the session, where the inquiry asked for it

	// Census is what the last list of all roles told of others; nil where there was none.
	Census *Census

	// Columns are the columns of the catalogs' relations with role names, in their order, by schema.relation, as far as they
	// are known. No inquiry asks about them.
	Columns map[string][]string

	roles        map[Cluster]role
	administered map[Cluster]bool // by the session's current role
	usable       map[string]bool  // the schemas that the session's current role may use
}

// View returns what is known of the database without an inquiry: no role.
func (d Database) View() *View { return &View{DB: d, roles: make(map[Cluster]role)} }

// candidates returns the cluster names that the name may stand for in this database: what an [Inquiry] must ask about
// before the name can be resolved.
func (d Database) candidates(name Name) (list []Cluster) {
	add := func(c Cluster, err *Error) {
		if err == nil && len(c) <= MaxName {
			list = append(list, c)
		}
	}
	alike := func(n Name) { // those that texts show as they show a role of a schema
		add(d.Qualify(n.Short()))
		add(Cluster(n.Short()), nil)
	}
	if name.Schema != "" {
		s := d.Schema(name.Schema)
		add(s.Qualify(name.Role))
		add(d.NewSchema(0, name.Schema).Marker, nil) // which another schema may have
		alike(name)
		return list
	}
	for _, s := range d.Schemas {
		if s.Searched {
			add(s.Qualify(name.Role))
			alike(Name{s.Name, name.Role}) // to be renamed
		}
	}
	add(d.Qualify(name.Role))
	add(Cluster(name.Role), nil)
	for n := range name.qualified() {
		add(d.Schema(n.Schema).Qualify(n.Role))
	}
	return list
}

// Knows reports whether the view can tell what the names mean. It cannot where the inquiry took the database, or a schema, for
// another than it is: then [Database.Inquire] of the view's own database says what to ask.
func (v *View) Knows(names ...Name) bool {
	for _, n := range names {
		for _, c := range v.DB.candidates(n) {
			if _, ok := v.roles[c]; !ok {
				return false
			}
		}
	}
	return true
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

// Resolve returns the role that a reference to name means: a predefined role, a role of a schema along the search_path,
// a role of this database, a global role. For a role that does not exist it returns the name that it would have here,
// with Missing, so that the server itself says what it says of missing roles, in its own order of checks; an error only
// where that name is not free, and the server would find a role that does not exist for this database.
func (v *View) Resolve(name Short) (Cluster, Home, *Error) {
	if Predefined(name) {
		return Cluster(name), Global, nil
	}
	c, home, err := v.ResolveOwn(name)
	if err == nil && home == Own || err != nil && err.Code == CodeFeatureNotSupported {
		return c, home, err
	}
	if len(name) <= MaxName && v.home(Cluster(name)).home == Global {
		return Cluster(name), Global, nil
	}
	return c, home, err
}

// ResolveOwn is Resolve for a name that says DBONLY: only roles of this database and its schemas count.
func (v *View) ResolveOwn(name Short) (Cluster, Home, *Error) {
	if c, found, err := v.along(name); found {
		return c, Own, err
	}
	c, home, err := v.resolveIn(v.DB.Qualify, v.DB.Marker, name)
	if err == nil && home == Own {
		return c, Own, nil
	}
	if ofSchema, ok := v.shown(name); ok {
		return ofSchema, Own, nil
	}
	return c, home, err
}

// along finds the role that has the name in a schema of the search_path. Where there may be one, but that is not known, it fails.
func (v *View) along(name Short) (c Cluster, found bool, err *Error) {
	in := func(s Schema) bool {
		var home Home
		var missing *Error
		c, home, missing = v.resolveIn(s.Qualify, s.Marker, name)
		return missing == nil && home == Own
	}
	if v.Path.Unknown {
		i := slices.IndexFunc(v.DB.Schemas, func(s Schema) bool { return s.Searched && in(s) })
		if i < 0 {
			return "", false, nil
		}
		return "", true, notFound(Name{v.DB.Schemas[i].Name, name})
	}
	for _, schema := range v.Path.Schemas {
		s := v.DB.Schema(schema)
		switch {
		case !s.Searched, !v.Path.Told && !v.Path.Unsure && !v.usable[schema], !in(s):
		case v.Path.Unsure:
			return "", true, notFound(Name{schema, name})
		default:
			return c, true, nil
		}
	}
	return "", false, nil
}

// notFound refuses a name that may mean a role of a schema.
func notFound(n Name) *Error {
	return &Error{
		Code:    CodeFeatureNotSupported,
		Message: fmt.Sprintf(`whether role "%s" is the one of schema "%s" is not known`, n.Role, n.Schema),
		Detail:  "It depends on the search_path that other statements of the same string leave.",
		Hint:    "Send the statement by itself, or write the schema before the name.",
	}
}

// shown finds the role of a schema that texts show as name. Dumps, and whoever reads catalogs, write it as one identifier.
func (v *View) shown(name Short) (Cluster, bool) {
	for n := range (Name{Role: name}).qualified() {
		s := v.DB.Schema(n.Schema)
		if c, home, err := v.resolveIn(s.Qualify, s.Marker, n.Role); err == nil && home == Own {
			return c, true
		}
	}
	return "", false
}

// ResolveIn is Resolve for a name that is qualified with a schema. The roles of a schema outlive it. Where neither is
// there, the name that the role would have comes with the error, if that is free: for IF EXISTS.
func (v *View) ResolveIn(schema string, name Short) (Cluster, Home, *Error) {
	s := v.DB.Schema(schema)
	c, home, err := v.resolveIn(s.Qualify, s.Marker, name)
	switch {
	case s.OID == 0 && !s.Enrolled:
		err = noSchema(schema)
	case err != nil:
		err = doesNotExist(Name{schema, name}.Short())
	}
	return c, home, err
}

// resolveIn looks for a role in one scope alone.
func (v *View) resolveIn(qualify func(Short) (Cluster, *Error), marker Cluster, name Short) (Cluster, Home, *Error) {
	c, err := qualify(name)
	if err != nil {
		return "", Missing, doesNotExist(name)
	}
	switch r := v.home(c); {
	case r.home == Missing, r.home == Own && r.in == marker:
		return c, r.home, nil
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
	if len(name) <= MaxName && v.home(Cluster(name)).home == Global {
		exists := alreadyExists(name)
		exists.Detail = "A role of that name belongs to the whole cluster, and is seen in every database."
		exists.Hint = "Use that role, or another name."
		return "", exists
	}
	if _, ok := v.shown(name); ok {
		return "", alreadyExists(name)
	}
	return v.createIn(v.DB.Qualify, v.DB.Marker, Name{Role: name})
}

// CreateIn is Create for a role of a schema.
func (v *View) CreateIn(schema string, name Short) (Cluster, *Error) {
	s := v.DB.Schema(schema)
	if s.OID == 0 {
		err := noSchema(schema)
		err.Hint = "A schema must exist before the text is sent that creates a role in it."
		return "", err
	}
	if err := reserved(name); err != nil {
		return "", err
	}
	if as := (Name{schema, name}).Short(); v.looksLike(as) {
		err := alreadyExists(as)
		err.Detail = "That is the name of another role, which is of no schema. Nobody could tell the two from each other."
		err.Hint = "Rename that role, or use another name."
		return "", err
	}
	return v.createIn(s.Qualify, s.Marker, Name{schema, name})
}

// looksLike reports whether a role of the database itself, or of the cluster, is called as texts would show one of a schema.
func (v *View) looksLike(as Short) bool {
	if len(as) <= MaxName && v.home(Cluster(as)).home == Global {
		return true
	}
	c, err := v.DB.Qualify(as)
	if err != nil {
		return false
	}
	r := v.home(c)
	return r.home == Own && r.in == v.DB.Marker
}

// createIn checks that the name is free for a new role of one scope.
func (v *View) createIn(qualify func(Short) (Cluster, *Error), marker Cluster, name Name) (Cluster, *Error) {
	c, err := qualify(name.Role)
	if err != nil {
		return "", err
	}
	exists := alreadyExists(name.Short())
	switch r := v.home(c); {
	case r.home == Missing, r.home == Own && r.in == marker: // the server says that it exists
		return c, nil
	case r.home == Own:
		exists.Hint = fmt.Sprintf(`On the server it would be "%s", which is role "%s" of this database.`, c, r.name.Short())
	case r.home == Foreign:
		exists.Hint = fmt.Sprintf(`On the server it would be "%s", which is a role of database "%s".`, c, r.owner)
	default:
		exists.Hint = fmt.Sprintf(`On the server it would be "%s", which exists and belongs to no database.`, c)
	}
	return "", exists
}

// CreatePlain is Create for explicit mode without DBONLY: a role of the whole cluster.
func (v *View) CreatePlain(name Short) (Cluster, *Error) {
	if markerRole(Cluster(name)) {
		return "", reserved(name)
	}
	if len(name) <= MaxName && v.home(Cluster(name)).home == Foreign {
		exists := alreadyExists(name)
		exists.Hint = fmt.Sprintf(`It is a role of database "%s".`, v.home(Cluster(name)).owner)
		return "", exists
	}
	return Cluster(name), nil
}

// RenamePlain is CreatePlain for a role that gets another name, which must not be taken for a role of those that it administers.
func (v *View) RenamePlain(from Cluster, to Short) (Cluster, *Error) {
	c, err := v.CreatePlain(to)
	if err != nil {
		return "", err
	}
	for _, m := range v.roles[from].administers {
		if err := m.administrable(c); err != nil {
			return "", err
		}
	}
	return c, nil
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

// Created makes later statements of the same text see a role of this database, or a global one, as the server will.
func (v *View) Created(c Cluster, home Home) {
	r := role{home: home}
	if home == Own {
		r, _ = ownRole(c, v.DB.Prefix, v.DB.Marker, "")
	}
	v.roles[c] = r
	if home == Global && v.administered != nil {
		v.administered[c] = true
	}
}

// CreatedIn is Created for a role of a schema.
func (v *View) CreatedIn(schema string, c Cluster) {
	s := v.DB.Schema(schema)
	v.roles[c], _ = ownRole(c, s.Prefix, s.Marker, s.Name)
}

// Dropped makes later statements of the same text miss the role.
func (v *View) Dropped(c Cluster) { v.roles[c] = role{home: Missing} }

// Renamed makes later statements of the same text see the role under its new name only. It stays in its scope.
func (v *View) Renamed(from, to Cluster) {
	r := v.roles[from]
	if name, ok := v.Within(from, to); ok {
		r.name = name
	}
	v.Dropped(from)
	v.roles[to] = r
}

// Localize returns what a role of this database is called here: one of a schema, with the schema; false for every other role.
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

// Login returns the role that logs in to this database as name: a LOGIN role of the database first, then what the
// server has under the name itself, unless that does not exist for this database. Where there is no other, it is a role of
// the database that may not log in, and the server says so. No session has a search_path before it begins: nobody logs
// in as a role of a schema.
func (v *View) Login(name Short) (Cluster, *Error) {
	own, found := v.ownLogin(name)
	if found && v.roles[own].login {
		return own, nil
	}
	c, home, err := v.ResolvePlain(name)
	if err == nil && home == Own { // its cluster name is not a name here
		err = doesNotExist(name)
	}
	if found && (err != nil || home == Missing) {
		return own, nil
	}
	return c, err
}

// ownLogin returns the role of this database, but of none of its schemas, that has the name.
func (v *View) ownLogin(name Short) (Cluster, bool) {
	c, err := v.DB.Qualify(name)
	if err != nil {
		return "", false
	}
	r := v.home(c)
	return c, r.home == Own && r.in == v.DB.Marker
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
