package scope

import "fmt"

// Which names a new role may have, or a renamed one; and how a view follows the statements of one text.

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

// looksLike reports whether a role of the database itself, or a global one, already has the name that a
// role of a schema would be shown under.
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

// RenamePlain is CreatePlain for a role that gets another name. An administrator's new name must not
// look like a role that it administers.
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
