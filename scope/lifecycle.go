package scope

import (
	"cmp"
	"fmt"
	"slices"
)

// Work is a statement that makes roles follow their database or schema, and which ones those are.
type Work struct {
	SQL   string // empty where there is nothing to do
	Roles []Affected
}

// Affected is a role that goes, or gets another name on the server, with its database or schema.
type Affected struct {
	Name    Short // as texts call it
	Cluster Cluster
	To      Cluster // the new name; empty where it goes
	Stays   string  // the message of the NOTICE that it could not be dropped
}

// Copy tells whether a database may serve as a template. One with roles may not: the copy's objects would belong to
// them, and in the copy they are another database's.
func (inv *Inventory) Copy(template string) *Error {
	oid, ok := inv.byName[template]
	if !ok {
		return nil // the server says so
	}
	for _, m := range inv.of(oid) {
		if len(m.roles()) > 0 {
			return &Error{
				Code:    CodeFeatureNotSupported,
				Message: fmt.Sprintf(`database "%s" cannot be copied, because it has roles of its own`, template),
				Detail:  "What belongs to them, or is granted to them, would belong to another database's roles in the copy.",
				Hint:    "Create the database from another template, and restore a dump of this one into it through the proxy.",
			}
		}
	}
	return nil
}

// Rename returns the statement that makes the markers and roles of a database follow its new name, to be run in the
// transaction that renames it; empty where there is nothing to do. A prefix that is not the database's name stays.
func (inv *Inventory) Rename(database, to string) (Work, *Error) {
	oid, ok := inv.byName[database]
	if !ok {
		return Work{}, nil
	}
	markers, err := inv.certain(oid)
	if err != nil {
		return Work{}, err
	}
	var r renaming
	for _, m := range markers {
		note := inv.rightNote(m, oid)
		if note.Prefix == database {
			note.Prefix = to
		}
		note.Database = to
		if err := r.add(m, note); err != nil {
			err.Hint = "Choose another name for the database, or rename the role first."
			return Work{}, err
		}
	}
	return Work{r.sql(renamesDatabase(database, to),
		fmt.Sprintf(`With database "%s", its roles get new names: "%s..." becomes "%s...".`, database, database+Separator, to+Separator)), r.roles}, nil
}

// RenameSchema is Rename for a schema of the database that the answering session is in.
func (inv *Inventory) RenameSchema(schema, to string) (Work, *Error) {
	markers, err := inv.certain(inv.current)
	if err != nil {
		return Work{}, err
	}
	var r renaming
	for _, m := range markers {
		if m.schema.name != schema {
			continue
		}
		note := m.note
		note.OID, note.Schema, note.SchemaOID = inv.current, to, m.schema.oid
		if err := r.add(m, note); err != nil {
			err.Hint = "Choose another name for the schema, or rename the role first."
			return Work{}, err
		}
	}
	return Work{r.sql(renamesSchema(schema, to), fmt.Sprintf(`With schema "%s", its roles get new names on the server.`, schema)), r.roles}, nil
}

// certain returns the markers of a database, or an error where it cannot be told of one whether it is.
func (inv *Inventory) certain(database uint32) ([]*marker, *Error) {
	list := inv.of(database)
	for _, m := range list {
		if _, _, certain := inv.database(m); !certain {
			name := inv.databases[database]
			return nil, &Error{
				Code:    CodeFeatureNotSupported,
				Message: fmt.Sprintf(`roles of database "%s" cannot be told from those of database "%s"`, name, m.note.Database),
				Detail:  contradiction(m, name),
			}
		}
	}
	return list, nil
}

// Dropped returns the statements that drop the markers and roles of databases that are gone, each role that can be
// dropped, and tell of the others by NOTICE.
func (inv *Inventory) Dropped() []Work { return inv.dropDatabases(false) }

// DroppedSchemas returns the statements that do the same for schemas of the database that the answering session is in.
func (inv *Inventory) DroppedSchemas() (list []Work) {
	for _, m := range inv.markers {
		oid, found, certain := inv.database(m)
		if !m.ofSchema() || !found || oid != inv.current || !certain || m.schema.oid != 0 {
			continue
		}
		what := fmt.Sprintf(`the dropped schema "%s"`, m.note.Schema)
		list = append(list, drop([]*marker{m}, what, false))
	}
	return list
}

// dropDatabases is Dropped; with announce the statements also tell by NOTICE that the roles were dropped.
func (inv *Inventory) dropDatabases(announce bool) (list []Work) {
	gone := make(map[uint32][]*marker)
	var order []uint32
	for _, m := range inv.markers {
		if _, found, _ := inv.database(m); found {
			continue
		}
		was := m.outer().note.OID
		if gone[was] == nil {
			order = append(order, was)
		}
		gone[was] = append(gone[was], m)
	}
	slices.Sort(order)
	for _, oid := range order {
		markers := gone[oid]
		slices.SortStableFunc(markers, func(a, b *marker) int { return -cmp.Compare(a.note.Schema, b.note.Schema) })
		list = append(list, drop(markers, fmt.Sprintf(`the dropped database "%s"`, markers[0].note.Database), announce))
	}
	return list
}

// Sweep returns what repairs that which direct connections, crashes and restores from a dump have left behind: the
// statements to run, each by itself, and what only a person can decide. The statements tell what they did, and what
// they could not do, by NOTICE and WARNING; none fails for a reason that it can tell. The survey must be one of the
// whole cluster.
func (inv *Inventory) Sweep() (statements, warnings []string) {
	for _, oid := range inv.oids() {
		name := inv.databases[oid]
		var r renaming
		var problem *Error
		for _, m := range inv.of(oid) {
			if _, _, certain := inv.database(m); !certain {
				warnings = append(warnings, contradiction(m, name))
				continue
			}
			if err := r.add(m, inv.rightNote(m, oid)); err != nil && problem == nil {
				problem = err
			}
		}
		if problem != nil {
			warnings = append(warnings, fmt.Sprintf(`the roles of database "%s" cannot follow its new name: %s`, name, problem.Message))
			continue
		}
		if sql := r.sweepSQL(name); sql != "" {
			statements = append(statements, sql)
		}
	}
	for _, w := range append(inv.dropDatabases(true), inv.DroppedSchemas()...) {
		statements = append(statements, w.SQL)
	}
	return statements, slices.Concat(warnings, inv.strangers(), inv.Mistaken())
}

func (inv *Inventory) oids() []uint32 {
	list := make([]uint32, 0, len(inv.databases))
	for oid := range inv.databases {
		list = append(list, oid)
	}
	slices.Sort(list)
	return list
}

// rightNote returns what the comment of a marker of the database should say.
func (inv *Inventory) rightNote(m *marker, database uint32) markerComment {
	note, name := m.note, inv.databases[database]
	if note.Prefix == note.Database {
		note.Prefix = name
	}
	note.Database = name
	switch {
	case !m.ofSchema():
		note.OID = database
	case database == inv.current && m.schema.oid != 0: // only there both OIDs are known, and one without the other would be wrong
		note.OID, note.Schema, note.SchemaOID = database, m.schema.name, m.schema.oid
	}
	return note
}

// Claim returns the statement that makes a marker, which may be that of the database that the answering session is in,
// certainly so, with its roles and the markers of its schemas; empty where they are so already. It fails
// where the marker is that of another database.
func (inv *Inventory) Claim(role Cluster) (sql string, err *Error) {
	name := inv.databases[inv.current]
	i := slices.IndexFunc(inv.markers, func(m *marker) bool { return m.name == role && !m.ofSchema() })
	if i < 0 {
		return "", &Error{Code: CodeUndefinedObject, Message: fmt.Sprintf(`role "%s" is not the marker of a database`, role)}
	}
	claimed := inv.markers[i].note
	if claimed.OID != inv.current && claimed.Database != name || inv.markers[i].exact(inv) && claimed.OID != inv.current {
		return "", &Error{
			Code:    CodeObjectNotInState,
			Message: fmt.Sprintf(`role "%s" is not the marker of database "%s"`, role, name),
			Detail:  fmt.Sprintf(`The comment on it is about database "%s" with OID %d. This is "%s" with OID %d.`, claimed.Database, claimed.OID, name, inv.current),
		}
	}
	var r renaming
	for _, m := range inv.markers {
		if note := m.outer().note; note.OID != claimed.OID || note.Database != claimed.Database {
			continue
		}
		if err := r.add(m, inv.rightNote(m, inv.current)); err != nil {
			return "", err
		}
	}
	return r.sql("true", fmt.Sprintf(`The roles of database "%s" get the names that belong to it.`, name)), nil
}

// Mistaken tells of members of markers that are taken for what they are not, as only a GRANT or a rename by hand
// can make them: administrators whose names begin as those of the scope's roles do, and roles that neither carry
// the prefix nor administer those that do.
func (inv *Inventory) Mistaken() (warnings []string) {
	for _, m := range inv.markers {
		if _, found, _ := inv.database(m); !found {
			continue
		}
		for _, r := range m.members {
			switch carries := m.note.carries(r.name); {
			case markerRole(r.name), carries != r.admin:
			case carries:
				warnings = append(warnings, fmt.Sprintf(`role "%s" administers the roles of %s, and is taken for one of them by its name:`+
					` rename it on the server, or REVOKE %s FROM %s`, r.name, m.note.thing(), m.name.Ident(), r.name.Ident()))
			default:
				warnings = append(warnings, fmt.Sprintf(`role "%s" is a member of "%s", but neither begins with "%s" nor administers the roles that do:`+
					` it is no role of %s`, r.name, m.name, m.note.rolePrefix()+Separator, m.note.thing()))
			}
		}
	}
	slices.Sort(warnings)
	return warnings
}

// strangers tells of databases whose objects depend on roles of other databases.
func (inv *Inventory) strangers() (warnings []string) {
	home := make(map[Cluster]string)
	for _, r := range inv.Roles() {
		home[r.Cluster] = r.Database
	}
	for _, u := range inv.uses {
		if owner, ok := home[u.role]; ok && owner != u.database {
			warnings = append(warnings, fmt.Sprintf(`database "%s" has objects that depend on role "%s" of database "%s"`,
				u.database, u.role, owner))
		}
	}
	slices.Sort(warnings)
	return warnings
}

// contradiction says why it cannot be told whether a marker is the database's.
func contradiction(m *marker, database string) string {
	return fmt.Sprintf(`the comment on role "%s" is about database "%s" with OID %d, and whether that is database "%s" cannot be told:`+
		` say so by pgscope-proxy init --claim %s, in the database that it is`, m.name, m.note.Database, m.note.OID, database, m.name.Ident())
}

// sweepLock is the key of the session's advisory lock that a sweep holds, so that several proxies do not do the same work
// at once: "pgscope" in ASCII. It locks within one database; sweeps from different ones do no harm, but may tell of each
// other's work.
const sweepLock int64 = 0x7067_7363_6f70_65

// SweepLockSQL returns the query that waits for the lock of a sweep, and takes it.
func SweepLockSQL() string {
	return fmt.Sprintf("SELECT pg_catalog.pg_advisory_lock(%d)", sweepLock)
}

// TrySweepLockSQL returns the query that takes the lock if nobody has it, and tells whether it did.
func TrySweepLockSQL() string {
	return fmt.Sprintf("SELECT pg_catalog.pg_try_advisory_lock(%d)", sweepLock)
}

// SweepUnlockSQL returns the query that gives the lock back.
func SweepUnlockSQL() string {
	return fmt.Sprintf("SELECT pg_catalog.pg_advisory_unlock(%d)", sweepLock)
}
