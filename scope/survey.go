package scope

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Survey asks the server for markers, the roles in them, and what of the databases and schemas that they are for is
// still there: what must be known when a database or a schema is dropped, renamed or copied, and for the sweep. Like an
// [Inquiry] it reads what every role may read, and can be asked by any session. The zero value is about the whole
// cluster.
type Survey struct {
	Database string // one database by its name …
	OID      uint32 // … or by its OID, which markers keep when the database is gone
}

// surveySQL answers a [Survey]. All names in it are qualified, as those of an [Inquiry] are. Rows are (kind, a, b, c),
// all text. A marker's comment is found by its first characters, or by the database's name in the server's own JSON.
const surveySQL = `
WITH marker AS MATERIALIZED (
  SELECT r.oid, r.rolname, s.description
  FROM pg_catalog.pg_shdescription s
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.objoid
   AND pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pgscope_')
  WHERE s.classoid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid
    AND pg_catalog.starts_with(s.description, '{"oid":')
    AND ($1::pg_catalog.text OPERATOR(pg_catalog.=) '' AND $2::pg_catalog.text OPERATOR(pg_catalog.=) '0'
      OR pg_catalog.starts_with(s.description, pg_catalog.concat('{"oid":', $2::pg_catalog.text, ','))
      OR pg_catalog.strpos(s.description, pg_catalog.concat(
           ',"database":', pg_catalog.to_json($1::pg_catalog.text), ',"prefix":')) OPERATOR(pg_catalog.>) 0
      OR EXISTS (SELECT FROM pg_catalog.pg_database d
                 WHERE d.datname::pg_catalog.text OPERATOR(pg_catalog.=) $1::pg_catalog.text
                   AND pg_catalog.starts_with(s.description, pg_catalog.concat('{"oid":', d.oid, ','))))
)
SELECT 'database'::pg_catalog.text, d.datname::pg_catalog.text, d.oid::pg_catalog.text,
       (d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())::pg_catalog.text
FROM pg_catalog.pg_database d
UNION ALL
SELECT 'marker', m.rolname::pg_catalog.text, m.description, '' FROM marker m
UNION ALL
SELECT 'member', m.rolname::pg_catalog.text, r.rolname::pg_catalog.text, pg_catalog.concat_ws(' ',
         CASE WHEN r.rolcanlogin THEN 'LOGIN' END, CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
         CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
         CASE WHEN r.rolinherit THEN NULL ELSE 'NOINHERIT' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
         CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END)
FROM marker m
JOIN (SELECT DISTINCT roleid, member FROM pg_catalog.pg_auth_members) a ON a.roleid OPERATOR(pg_catalog.=) m.oid
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.member
UNION ALL
SELECT DISTINCT 'administrator', m.rolname::pg_catalog.text, r.rolname::pg_catalog.text, ''
FROM marker m
JOIN pg_catalog.pg_auth_members a ON a.roleid OPERATOR(pg_catalog.=) m.oid AND a.admin_option
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.member
UNION ALL
SELECT 'schema', m.rolname::pg_catalog.text, n.nspname::pg_catalog.text, n.oid::pg_catalog.text
FROM marker m
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=)
     pg_catalog."substring"(m.description, '"schemaoid":([0-9]+)')::pg_catalog.oid
  OR pg_catalog.to_json(n.nspname::pg_catalog.text)::pg_catalog.text OPERATOR(pg_catalog.=)
     pg_catalog."substring"(m.description, ',"schema":(".*"),"schemaoid":')
WHERE pg_catalog.starts_with(m.rolname::pg_catalog.text, 'pgscope_schema_')
UNION ALL
SELECT DISTINCT 'uses', d.datname::pg_catalog.text, r.rolname::pg_catalog.text, ''
FROM pg_catalog.pg_shdepend u
JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) u.dbid
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) u.refobjid AND u.refclassid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid
WHERE $1::pg_catalog.text OPERATOR(pg_catalog.=) '' AND $2::pg_catalog.text OPERATOR(pg_catalog.=) '0'
  AND EXISTS (SELECT FROM pg_catalog.pg_auth_members a JOIN marker m ON m.oid OPERATOR(pg_catalog.=) a.roleid
              WHERE a.member OPERATOR(pg_catalog.=) r.oid)`

// SQL returns the statement that asks, with its parameters in text format.
func (q Survey) SQL() (sql string, params []string) {
	return surveySQL, []string{q.Database, strconv.FormatUint(uint64(q.OID), 10)}
}

// Estate is the answer to a [Survey]: the markers that were asked about, and all databases. Its methods say what is to be
// done; they change nothing, and each statement that they return may be run again without harm.
type Estate struct {
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

// Answer reads the rows of the statement.
func (q Survey) Answer(rows [][]string) (*Estate, error) {
	byKind := make(map[string][]surveyed, 6)
	for _, r := range rows {
		if len(r) != 4 {
			return nil, fmt.Errorf("scope: a row of %d columns where 4 were asked for", len(r))
		}
		byKind[r[0]] = append(byKind[r[0]], surveyed{r[1], r[2], r[3]})
	}
	e := &Estate{databases: make(map[uint32]string), byName: make(map[string]uint32)}
	if err := e.readDatabases(byKind["database"]); err != nil {
		return nil, err
	}
	for _, r := range byKind["uses"] {
		e.uses = append(e.uses, use{r.a, Cluster(r.b)})
	}
	markers := e.readMarkers(byKind["marker"])
	readMembers(markers, byKind["member"], byKind["administrator"])
	var claims []claim
	for _, r := range byKind["schema"] {
		oid, err := parseOID(r.c)
		if err != nil {
			return nil, err
		}
		if m := markers[Cluster(r.a)]; m != nil {
			claims = append(claims, claim{m, namespace{oid, r.b}})
		}
	}
	e.seeSchemas(claims)
	return e, nil
}

// surveyed is a row of surveySQL without its kind, which says what the columns are.
type surveyed struct{ a, b, c string }

// readDatabases reads rows of name, OID and whether the session is in it.
func (e *Estate) readDatabases(rows []surveyed) error {
	for _, r := range rows {
		oid, err := parseOID(r.b)
		if err != nil {
			return err
		}
		e.databases[oid], e.byName[r.a] = r.a, oid
		if r.c == "true" {
			e.current = oid
		}
	}
	return nil
}

// readMarkers reads rows of name and comment, and returns the markers by name. A comment that is none of ours is
// on a role that somebody else has made.
func (e *Estate) readMarkers(rows []surveyed) map[Cluster]*marker {
	markers := make(map[Cluster]*marker, len(rows))
	for _, r := range rows {
		if note, ok := parseMarker(r.b); ok {
			m := &marker{name: Cluster(r.a), note: note}
			e.markers, markers[m.name] = append(e.markers, m), m
		}
	}
	return markers
}

// readMembers reads the members of markers, rows of marker, role and attributes, and which of them administer it. The
// marker of a schema is a member of its database's.
func readMembers(markers map[Cluster]*marker, members, administrators []surveyed) {
	type membership struct{ marker, member string }
	admins := make(map[membership]bool, len(administrators))
	for _, r := range administrators {
		admins[membership{r.a, r.b}] = true
	}
	for _, r := range members {
		m := markers[Cluster(r.a)]
		if m == nil {
			continue
		}
		m.members = append(m.members, member{name: Cluster(r.b), attributes: r.c, admin: admins[membership{r.a, r.b}]})
		if schema := markers[Cluster(r.b)]; schema != nil && schema.ofSchema() && !m.ofSchema() {
			schema.within = m
		}
	}
}

// claim says that a marker names a schema of the answering session's database, by its OID or by its name.
type claim struct {
	marker *marker
	schema namespace
}

// seeSchemas finds out which schemas markers are for, as an [Inquiry] does: each for the one whose OID its comment has,
// or else for the one that it names, if that has no marker. Of a dump's markers no OID is right.
func (e *Estate) seeSchemas(claims []claim) {
	exact := func(c claim) int {
		if c.marker.note.OID == e.current && c.marker.note.SchemaOID == c.schema.oid {
			return 0
		}
		return 1
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(exact(a), exact(b)), cmp.Compare(a.marker.name, b.marker.name))
	})
	taken := make(map[claim]bool) // with the marker of the database
	for _, c := range claims {
		m, place := c.marker, claim{c.marker.outer(), c.schema}
		if (exact(c) == 0 || m.note.Schema == c.schema.name) && m.schema.oid == 0 && !taken[place] {
			m.schema, taken[place] = c.schema, true
		}
	}
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

// database returns the database that the marker is for, or false where there is none any more. The comment names
// it by its OID and by its name. In a database that was renamed the OID is right; in a cluster restored from a
// dump the databases have other OIDs, and an old one may have become another database's: there the name is.
// certain is false where it cannot be told which of the two it was. A schema's marker is where that of its
// database is: its own comment may be older, or newer.
func (e *Estate) database(m *marker) (oid uint32, found, certain bool) {
	m = m.outer()
	oid, found, certain = e.called(m)
	for _, other := range e.markers {
		if !found || !certain || m.exact(e) || other.within != nil || other.note.OID == m.note.OID && other.note.Database == m.note.Database {
			continue
		}
		if rival, also, _ := e.called(other); also && rival == oid {
			certain = false
		}
	}
	return oid, found, certain
}

// called is database without regard to other markers, except that a database with an exact marker is no other marker's.
func (e *Estate) called(m *marker) (oid uint32, found, certain bool) {
	byName, named := e.byName[m.note.Database]
	_, live := e.databases[m.note.OID]
	if !m.exact(e) {
		named = named && !e.taken(byName)
		live = live && !e.taken(m.note.OID)
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
func (m *marker) exact(e *Estate) bool { return e.databases[m.note.OID] == m.note.Database }

// taken reports whether a database has an exact marker.
func (e *Estate) taken(database uint32) bool {
	return slices.ContainsFunc(e.markers, func(m *marker) bool { return m.within == nil && m.note.OID == database && m.exact(e) })
}

// of returns the markers of a database: of its schemas first, as they are members of the database's own.
func (e *Estate) of(database uint32) (list []*marker) {
	for _, schemas := range []bool{true, false} {
		for _, m := range e.markers {
			if oid, found, _ := e.database(m); found && oid == database && m.ofSchema() == schemas {
				list = append(list, m)
			}
		}
	}
	return list
}

// Enrolled lists the databases that have a marker, by name.
func (e *Estate) Enrolled() (names []string) {
	for _, m := range e.markers {
		if oid, found, _ := e.database(m); found && !m.ofSchema() {
			names = append(names, e.databases[oid])
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
func (e *Estate) Roles() (list []Listed) {
	for _, m := range e.markers {
		database := m.note.Database
		if oid, found, _ := e.database(m); found {
			database = e.databases[oid]
		}
		for _, r := range m.members {
			if m.note.carries(r.name) {
				list = append(list, Listed{database, m.short(r.name), r.name, strings.Fields(r.attributes)})
			}
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

// Database returns the scope of a database: false where no database of that name exists, or it has no marker.
func (e *Estate) Database(name string) (Database, bool) {
	oid, ok := e.byName[name]
	if !ok {
		return Database{}, false
	}
	for _, m := range e.of(oid) {
		if !m.ofSchema() {
			return Database{OID: oid, Name: name, Prefix: m.note.Prefix, Marker: m.name, Enrolled: true}, true
		}
	}
	return Database{}, false
}
