package scope

import (
	"slices"
	"strings"
)

// Inventory is the answer to a [Survey]: the markers that were asked about, and all databases. Its methods say what is to be
// done; they change nothing, and each statement that they return may be run again without harm.
type Inventory struct {
	databases map[uint32]string
	byName    map[string]uint32
	current   uint32 // the database that the answering session is in
	markers   []*marker
	uses      []use // of the whole cluster, where that was asked about
}

// use says that a database has objects that depend on a role.
type use struct {
	database string
	role     Cluster
}

// marker is a marker as the survey found it.
type marker struct {
	name    Cluster
	note    markerComment
	members []member
	within  *marker // of a schema's: the marker of its database, where that was found
	// schema is the one of the answering session's database that it is for; zero where that is gone. Of a marker of another
	// database it says nothing.
	schema namespace
}

// namespace is a schema of the answering session's database.
type namespace struct {
	oid  uint32
	name string
}

type member struct {
	name       Cluster
	attributes string
	admin      bool // of the marker
}

// Database returns the scope of a database: false where no database of that name exists, or it has no marker.
func (inv *Inventory) Database(name string) (Database, bool) {
	oid, ok := inv.byName[name]
	if !ok {
		return Database{}, false
	}
	for _, m := range inv.of(oid) {
		if !m.ofSchema() {
			return Database{OID: oid, Name: name, Prefix: m.note.Prefix, Marker: m.name, Enrolled: true}, true
		}
	}
	return Database{}, false
}

// database returns the database that the marker is for, or false where there is none any more. The comment names
// it by its OID and by its name. In a database that was renamed the OID is right; in a cluster restored from a
// dump the databases have other OIDs, and an old one may have become another database's: there the name is.
// certain is false where it cannot be told which of the two it was. A schema's marker is where that of its
// database is: its own comment may be older, or newer.
func (inv *Inventory) database(m *marker) (oid uint32, found, certain bool) {
	m = m.outer()
	oid, found, certain = inv.called(m)
	for _, other := range inv.markers {
		if !found || !certain || m.exact(inv) || other.within != nil || other.note.OID == m.note.OID && other.note.Database == m.note.Database {
			continue
		}
		if rival, also, _ := inv.called(other); also && rival == oid {
			certain = false
		}
	}
	return oid, found, certain
}

// called is database without regard to other markers, except that a database with an exact marker is no other marker's.
func (inv *Inventory) called(m *marker) (oid uint32, found, certain bool) {
	byName, named := inv.byName[m.note.Database]
	_, live := inv.databases[m.note.OID]
	if !m.exact(inv) {
		named = named && !inv.taken(byName)
		live = live && !inv.taken(m.note.OID)
	}
	switch {
	case live && named:
		return m.note.OID, true, byName == m.note.OID
	case live:
		return m.note.OID, true, true
	default:
		return byName, named, true
	}
}

// exact reports whether the marker names its database by the OID and by the name that it has.
func (m *marker) exact(inv *Inventory) bool { return inv.databases[m.note.OID] == m.note.Database }

// taken reports whether a database has an exact marker.
func (inv *Inventory) taken(database uint32) bool {
	return slices.ContainsFunc(inv.markers, func(m *marker) bool { return m.within == nil && m.note.OID == database && m.exact(inv) })
}

// of returns the markers of a database: of its schemas first, as they are members of the database's own.
func (inv *Inventory) of(database uint32) (list []*marker) {
	for _, schemas := range []bool{true, false} {
		for _, m := range inv.markers {
			if oid, found, _ := inv.database(m); found && oid == database && m.ofSchema() == schemas {
				list = append(list, m)
			}
		}
	}
	return list
}

// Enrolled lists the databases that have a marker, by name.
func (inv *Inventory) Enrolled() (names []string) {
	for _, m := range inv.markers {
		if oid, found, _ := inv.database(m); found && !m.ofSchema() {
			names = append(names, inv.databases[oid])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Listed is a role as a list of them shows it.
type Listed struct {
	Database   string
	Name       Short // with its schema before it, where it belongs to one: sales.customer
	Cluster    Cluster
	Attributes []string // as CREATE ROLE has them; those that differ from its defaults
}

// Roles lists the roles of all databases that were asked about, in no order.
func (inv *Inventory) Roles() (list []Listed) {
	for _, m := range inv.markers {
		database := m.note.Database
		if oid, found, _ := inv.database(m); found {
			database = inv.databases[oid]
		}
		for _, r := range m.members {
			if m.note.carries(r.name) {
				list = append(list, Listed{database, m.short(r.name), r.name, strings.Fields(r.attributes)})
			}
		}
	}
	return list
}

// ofSchema reports whether it is the marker of a schema, not of a whole database.
func (m *marker) ofSchema() bool { return m.note.Schema != "" }

// outer returns the marker of the database, for that of a schema too.
func (m *marker) outer() *marker {
	if m.within != nil {
		return m.within
	}
	return m
}

// roles returns the members that are roles of the marker's scope: those that carry its prefix. The others are people
// who administer them.
func (m *marker) roles() (list []Cluster) {
	for _, r := range m.members {
		if m.note.carries(r.name) {
			list = append(list, r.name)
		}
	}
	return list
}

// short is what texts call a role of the marker's scope.
func (m *marker) short(c Cluster) Short {
	s := Short(strings.TrimPrefix(string(c), m.note.rolePrefix()+Separator))
	if m.ofSchema() {
		s = Short(m.note.Schema) + "." + s
	}
	return s
}
