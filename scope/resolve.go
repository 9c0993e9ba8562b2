package scope

import (
	"fmt"
	"slices"
)

// What a name means in a database, by the rules of the package's doc, applied to the answer of an inquiry.

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
		add(d.newSchema(0, name.Schema).Marker, nil) // which another schema may have
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

// Knows reports whether the view can tell what the names mean. It cannot if the inquiry was wrong about the database or a
// schema, for instance its prefix: then [Database.Inquire] of the view's own database says what to ask.
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

// Resolve returns the role that a reference to name means: a predefined role, a role of a schema along the search_path,
// a role of this database, a global role. For a role that does not exist it returns the name that it would have here,
// with Missing, so that the server itself says what it says of missing roles, in its own order of checks; an error only
// where that name is not free, and the server would find a role that does not exist for this database.
func (v *View) Resolve(name Short) (Cluster, Home, *Error) {
	switch {
	case name == "": // as a string may be, and no role
		return "", Missing, nil
	case Predefined(name):
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

// along finds the role that has the name in a schema of the search_path. It fails where it is
// not known whether there is one.
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
