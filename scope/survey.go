package scope

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
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

// Answer reads the rows of the statement.
func (q Survey) Answer(rows [][]string) (*Inventory, error) {
	byKind := make(map[string][]surveyed, 6)
	for _, r := range rows {
		if len(r) != 4 {
			return nil, fmt.Errorf("scope: a row of %d columns where 4 were asked for", len(r))
		}
		byKind[r[0]] = append(byKind[r[0]], surveyed{r[1], r[2], r[3]})
	}
	inv := &Inventory{databases: make(map[uint32]string), byName: make(map[string]uint32)}
	if err := inv.readDatabases(byKind["database"]); err != nil {
		return nil, err
	}
	for _, r := range byKind["uses"] {
		inv.uses = append(inv.uses, use{r.a, Cluster(r.b)})
	}
	markers := inv.readMarkers(byKind["marker"])
	readMembers(markers, byKind["member"], byKind["administrator"])
	var namings []naming
	for _, r := range byKind["schema"] {
		oid, err := parseOID(r.c)
		if err != nil {
			return nil, err
		}
		if m := markers[Cluster(r.a)]; m != nil {
			namings = append(namings, naming{m, namespace{oid, r.b}})
		}
	}
	inv.seeSchemas(namings)
	return inv, nil
}

// surveyed is a row of surveySQL without its kind, which says what the columns are.
type surveyed struct{ a, b, c string }

// readDatabases reads rows of name, OID and whether the session is in it.
func (inv *Inventory) readDatabases(rows []surveyed) error {
	for _, r := range rows {
		oid, err := parseOID(r.b)
		if err != nil {
			return err
		}
		inv.databases[oid], inv.byName[r.a] = r.a, oid
		if r.c == "true" {
			inv.current = oid
		}
	}
	return nil
}

// readMarkers reads rows of name and comment, and returns the markers by name. A comment that is none of ours is
// on a role that somebody else has made.
func (inv *Inventory) readMarkers(rows []surveyed) map[Cluster]*marker {
	markers := make(map[Cluster]*marker, len(rows))
	for _, r := range rows {
		if note, ok := parseMarker(r.b); ok {
			m := &marker{name: Cluster(r.a), note: note}
			inv.markers, markers[m.name] = append(inv.markers, m), m
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

// naming says that a marker names a schema of the answering session's database, by its OID or by its name.
type naming struct {
	marker *marker
	schema namespace
}

// seeSchemas finds out which schemas markers are for, as an [Inquiry] does: each for the one whose OID its comment has,
// or else for the one that it names, if that has no marker. Of a dump's markers no OID is right.
func (inv *Inventory) seeSchemas(namings []naming) {
	exact := func(n naming) int {
		if n.marker.note.OID == inv.current && n.marker.note.SchemaOID == n.schema.oid {
			return 0
		}
		return 1
	}
	slices.SortFunc(namings, func(a, b naming) int {
		return cmp.Or(cmp.Compare(exact(a), exact(b)), cmp.Compare(a.marker.name, b.marker.name))
	})
	taken := make(map[naming]bool) // with the marker of the database
	for _, n := range namings {
		m, place := n.marker, naming{n.marker.outer(), n.schema}
		if (exact(n) == 0 || m.note.Schema == n.schema.name) && m.schema.oid == 0 && !taken[place] {
			m.schema, taken[place] = n.schema, true
		}
	}
}
