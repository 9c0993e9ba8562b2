package scope

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Inquiry asks the server what a database's scope is and whose some roles are. It reads catalogs that every role may
// read (pg_database, pg_roles, pg_auth_members, pg_shdescription) and can be asked by any session, of any database.
type Inquiry struct {
	Database string    // the database whose scope it is about
	Names    []Cluster // the roles in question, none longer than MaxName
	Own      bool      // whether to list all roles of the database too
}

// inquirySQL answers an [Inquiry]. Each operator, function and type is qualified: the query runs in clients'
// sessions, where the search_path is theirs. Rows are (kind, name, a, b), all text.
const inquirySQL = `
WITH db AS MATERIALIZED (
  SELECT d.oid, d.datname FROM pg_catalog.pg_database d
  WHERE d.datname OPERATOR(pg_catalog.=) $1::pg_catalog.name
), marker AS MATERIALIZED (
  SELECT r.oid, r.rolname, s.description
  FROM db
  JOIN pg_catalog.pg_shdescription s ON s.classoid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid
   AND (pg_catalog.starts_with(s.description, pg_catalog.concat('{"oid":', db.oid, ','))
     OR pg_catalog.strpos(s.description, pg_catalog.concat(
          ',"database":', pg_catalog.to_json(db.datname::pg_catalog.text), ',"prefix":')) OPERATOR(pg_catalog.>) 0
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_database o
                    WHERE pg_catalog.starts_with(s.description, pg_catalog.concat('{"oid":', o.oid, ','))))
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.objoid
   AND pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pgscope_db_')
)
SELECT 'database'::pg_catalog.text, db.datname::pg_catalog.text, db.oid::pg_catalog.text,
       pg_catalog.current_setting('pgscope.mode', true) FROM db
UNION ALL
SELECT 'marker', m.rolname::pg_catalog.text, m.oid::pg_catalog.text, m.description FROM marker m
UNION ALL
SELECT 'role', r.rolname::pg_catalog.text, r.rolcanlogin::pg_catalog.text,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(k.rolname, s.description))
        FROM pg_catalog.pg_auth_members a
        JOIN pg_catalog.pg_roles k ON k.oid OPERATOR(pg_catalog.=) a.roleid
         AND pg_catalog.starts_with(k.rolname::pg_catalog.text, 'pgscope_db_')
        LEFT JOIN pg_catalog.pg_shdescription s ON s.objoid OPERATOR(pg_catalog.=) k.oid
         AND s.classoid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid
        WHERE a.member OPERATOR(pg_catalog.=) r.oid)::pg_catalog.text
FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.name[])
UNION ALL
SELECT 'own', r.rolname::pg_catalog.text, r.rolcanlogin::pg_catalog.text, m.rolname::pg_catalog.text
FROM marker m
JOIN pg_catalog.pg_auth_members a ON a.roleid OPERATOR(pg_catalog.=) m.oid
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.member
WHERE $3::pg_catalog.bool`

// SQL returns the statement that asks, with its parameters in text format.
func (q Inquiry) SQL() (sql string, params []string) {
	var names strings.Builder
	names.WriteByte('{')
	for i, n := range q.Names {
		if i > 0 {
			names.WriteByte(',')
		}
		names.WriteByte('"')
		names.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(string(n)))
		names.WriteByte('"')
	}
	names.WriteByte('}')
	return inquirySQL, []string{q.Database, names.String(), strconv.FormatBool(q.Own)}
}

// Answer reads the rows of the statement. prefix is what the database's roles shall be prefixed with if it is not
// enrolled yet (empty: its name); once it is, the marker decides.
func (q Inquiry) Answer(rows [][]string, prefix string) (*View, error) {
	v := &View{DB: NewDatabase(0, q.Database, prefix), Whole: q.Own, roles: make(map[Cluster]role, len(q.Names))}
	for _, n := range q.Names {
		v.roles[n] = role{home: Missing}
	}
	byKind := make(map[string][][]string, 4)
	for _, r := range rows {
		if len(r) != 4 {
			return nil, fmt.Errorf("scope: a row of %d columns where 4 were asked for", len(r))
		}
		byKind[r[0]] = append(byKind[r[0]], r)
	}
	for _, r := range byKind["database"] {
		oid, err := strconv.ParseUint(r[2], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("scope: database OID: %w", err)
		}
		v.DB = NewDatabase(uint32(oid), r[1], prefix)
		v.Mode = Mode(r[3])
	}
	for _, r := range byKind["marker"] {
		v.adoptMarker(Cluster(r[1]), r[3])
	}
	for _, r := range byKind["role"] {
		c := Cluster(r[1])
		home, owner, err := v.homeOf(c, r[3])
		if err != nil {
			return nil, err
		}
		v.roles[c] = role{home: home, owner: owner, login: r[2] == "true"}
	}
	for _, r := range byKind["own"] {
		c := Cluster(r[1])
		if _, ok := v.DB.Localize(c); ok && Cluster(r[3]) == v.DB.Marker {
			v.roles[c] = role{home: Own, login: r[2] == "true"}
		}
	}
	return v, nil
}

// adoptMarker makes the role the marker of the view's database. One that names the database's OID wins over one that
// names the database: that one stands in a cluster restored from a dump, until a sweep writes the new OID into it.
func (v *View) adoptMarker(name Cluster, comment string) {
	m, ok := parseMarker(comment)
	if !ok || v.DB.Enrolled && m.OID != v.DB.OID {
		return
	}
	v.DB.Marker, v.DB.Prefix, v.DB.Enrolled = name, m.Prefix, true
}

// homeOf tells where a role belongs. markers is a JSON list of [name, comment] of the markers that it is a member of.
func (v *View) homeOf(c Cluster, markers string) (home Home, owner string, err error) {
	if markerRole(c) {
		return Marker, "", nil
	}
	var list [][2]*string
	if markers != "" {
		if err := json.Unmarshal([]byte(markers), &list); err != nil {
			return 0, "", fmt.Errorf("scope: markers of a role: %w", err)
		}
	}
	home = Global
	for _, m := range list {
		if m[0] != nil && Cluster(*m[0]) == v.DB.Marker {
			if _, ok := v.DB.Localize(c); ok {
				return Own, "", nil
			}
			continue // a person who administers this database's roles
		}
		if m[1] == nil {
			continue
		}
		other, ok := parseMarker(*m[1])
		if ok && strings.HasPrefix(string(c), other.Prefix+Separator) {
			home, owner = Foreign, other.Database
		}
	}
	return home, owner, nil
}
