package scope

import (
	"fmt"
	"strconv"
	"strings"
)

// Inquiry asks the server what a database's scope is and whose some roles are. It reads catalogs that every role may
// read (pg_database, pg_namespace, pg_roles, pg_auth_members, pg_shdescription) and can be asked by any session, of any
// database; of schemas a session knows those of its own database alone.
type Inquiry struct {
	Database string    // the database whose scope it is about
	Names    []Cluster // the roles in question, none longer than MaxName
	Schemas  []string  // the schemas in question, beside those along the session's search_path
	Moves    bool      // whether the search_path may be another when names are resolved: then all schemas with roles are in question
	Resets   bool      // whether to tell the values that RESET goes back to
	Own      bool      // whether to list all roles of the database too, with the [Census]
	User     bool      // whether to tell the session's current role, and its user
	Standing bool      // whether to tell what that role is, and what it administers
	Members  bool      // whether to tell what the session's user is a member of
	Others   []string  // databases, beside the session's own, that may not exist
	As       Cluster   // the role to tell that of, instead of the session's own; may be empty
}

// Inquire returns the inquiry that must be answered before the names can be resolved. What is known of the database
// is taken for true; whether it was, [View.Knows] tells of the answer.
func (d Database) Inquire(names ...Name) Inquiry {
	q := Inquiry{Database: d.Name}
	seen, schemas := make(map[Cluster]bool), make(map[string]bool)
	addSchema := func(name string) {
		if !schemas[name] {
			schemas[name] = true
			q.Schemas = append(q.Schemas, name)
		}
	}
	for _, n := range names {
		for _, c := range d.candidates(n) {
			if !seen[c] {
				seen[c] = true
				q.Names = append(q.Names, c)
			}
		}
		if n.Schema != "" {
			addSchema(n.Schema)
		}
		for n := range n.qualified() {
			addSchema(n.Schema)
		}
	}
	return q
}

// Ask adds roles to those in question.
func (q *Inquiry) Ask(names ...Cluster) {
	more := make(map[Cluster]bool, len(names))
	for _, c := range names {
		more[c] = len(c) <= MaxName
	}
	for _, c := range q.Names { // of which there may be very many
		delete(more, c)
	}
	for _, c := range names {
		if more[c] {
			q.Names = append(q.Names, c)
			delete(more, c)
		}
	}
}

// inquirySQL answers an [Inquiry]. Each operator, function and type is qualified: the query runs in clients'
// sessions, where the search_path is theirs. Rows are (kind, name, a, b), all text.
//
// A marker's comment names its database by OID and by name. Where both are this database's, the marker is its. Where only
// one is, the marker is this database's if it is the only such marker, and the other half of the comment is no
// database's: after a rename the old name is nobody's, after a restore from a dump the old OID is. Where the other half
// is another database's, nothing here can tell which of the two the marker is for.
//
// A schema's marker, a row of marked, belongs to the schema whose OID its comment has, or, where no schema has it, to the one that
// the comment names: which is for answer.session to find out. Of a dump's markers no OID is right. Markers are
// looked up by ranges of names (\x60 comes right after _), which unlike starts_with an index serves.
//
// Most of the question's cost is its planning, which grows with the number of relations to join. So names come from
// pg_get_userbyid, and what belongs to a row is a scalar subquery, where the planner has nothing to choose. OFFSET 0
// makes it filter comments by their text before it looks up the role that each is on.
const inquirySQL = `
WITH db AS MATERIALIZED (
  SELECT d.oid, d.datname, pg_catalog.concat('{"oid":', d.oid, ',') AS lead,
         pg_catalog.concat(',"database":', pg_catalog.to_json(d.datname::pg_catalog.text), ',"prefix":') AS naming
  FROM pg_catalog.pg_database d
  WHERE d.datname OPERATOR(pg_catalog.=) $1::pg_catalog.name
), claim AS MATERIALIZED (
  SELECT m.oid, pg_catalog.pg_get_userbyid(m.oid) AS rolname, m.description, by_oid AND by_name AS exact,
         CASE WHEN by_oid AND by_name THEN
                NULL
              WHEN by_oid THEN
                (SELECT true FROM pg_catalog.pg_database o
                 WHERE pg_catalog.strpos(m.description, pg_catalog.concat(
                   ',"database":', pg_catalog.to_json(o.datname::pg_catalog.text), ',"prefix":')) OPERATOR(pg_catalog.>) 0 LIMIT 1)
              ELSE
                (SELECT true FROM pg_catalog.pg_database o
                 WHERE pg_catalog.starts_with(m.description, pg_catalog.concat('{"oid":', o.oid, ',')) LIMIT 1) END AS contradicted
  FROM (
    SELECT s.objoid AS oid, s.description, pg_catalog.starts_with(s.description, db.lead) AS by_oid,
           pg_catalog.strpos(s.description, db.naming) OPERATOR(pg_catalog.>) 0 AS by_name
    FROM db CROSS JOIN pg_catalog.pg_shdescription s
    WHERE s.classoid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid OFFSET 0) m
  WHERE (by_oid OR by_name) AND pg_catalog.starts_with(pg_catalog.pg_get_userbyid(m.oid)::pg_catalog.text, 'pgscope_db_')
), marker AS MATERIALIZED (
  SELECT * FROM claim
  WHERE exact OR contradicted IS NULL AND (SELECT pg_catalog.count(*) FROM claim) OPERATOR(pg_catalog.=) 1
), marked AS MATERIALIZED (
  SELECT k.oid, k.rolname, k.description,
         (SELECT n.nspname FROM pg_catalog.pg_namespace n
          WHERE n.oid::pg_catalog.text OPERATOR(pg_catalog.=)
                  pg_catalog.split_part(pg_catalog.split_part(k.description, ',"schemaoid":', 2), ',', 1)
            AND pg_catalog.starts_with(k.description, db.lead)
            AND pg_catalog.current_database() OPERATOR(pg_catalog.=) db.datname) AS nspname
  FROM db CROSS JOIN (
    SELECT r.oid, r.rolname,
           (SELECT s.description FROM pg_catalog.pg_shdescription s
            WHERE s.objoid OPERATOR(pg_catalog.=) r.oid AND s.classoid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid) AS description
    FROM pg_catalog.pg_roles r
    WHERE r.rolname OPERATOR(pg_catalog.>=) 'pgscope_schema_'::pg_catalog.name
      AND r.rolname OPERATOR(pg_catalog.<) E'pgscope_schema\x60'::pg_catalog.name
      AND (SELECT true FROM pg_catalog.pg_auth_members a
           WHERE a.member OPERATOR(pg_catalog.=) r.oid
             AND a.roleid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT oid FROM marker)) LIMIT 1)) k
  WHERE k.description IS NOT NULL
)
SELECT 'database'::pg_catalog.text, db.datname::pg_catalog.text, db.oid::pg_catalog.text,
       pg_catalog.current_setting('pgscope.mode', true) FROM db
UNION ALL
SELECT 'session', CASE WHEN $5::pg_catalog.bool THEN pg_catalog.to_json(ARRAY[current_user, session_user]) END::pg_catalog.text,
       pg_catalog.current_setting('search_path'), pg_catalog.to_json(pg_catalog.current_schemas(false))::pg_catalog.text
UNION ALL
SELECT 'marker', m.rolname::pg_catalog.text, m.oid::pg_catalog.text, m.description FROM marker m
UNION ALL
SELECT 'claim', c.rolname::pg_catalog.text, NULL, c.description FROM claim c WHERE NOT EXISTS (SELECT FROM marker)
UNION ALL
SELECT 'namespace', n.nspname::pg_catalog.text, n.oid::pg_catalog.text, pg_catalog.has_schema_privilege(n.oid, 'USAGE')::pg_catalog.text
FROM pg_catalog.pg_namespace n
WHERE n.nspname OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.name[])
   OR n.nspname OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(false))
   OR $3::pg_catalog.bool AND n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT nspname FROM marked))
UNION ALL
SELECT 'schema', k.rolname::pg_catalog.text, k.nspname::pg_catalog.text, k.description FROM marked k
WHERE k.nspname IS NULL OR $3::pg_catalog.bool
   OR k.nspname OPERATOR(pg_catalog.=) ANY ($4::pg_catalog.name[])
   OR k.nspname OPERATOR(pg_catalog.=) ANY (pg_catalog.current_schemas(false))
UNION ALL
SELECT 'role', r.rolname::pg_catalog.text, r.rolcanlogin::pg_catalog.text,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(
          pg_catalog.pg_get_userbyid(a.roleid),
          (SELECT s.description FROM pg_catalog.pg_shdescription s
           WHERE s.objoid OPERATOR(pg_catalog.=) a.roleid AND s.classoid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid),
          (SELECT pg_catalog.concat(k.nspname::pg_catalog.text) FROM marked k WHERE k.oid OPERATOR(pg_catalog.=) a.roleid)))
        FROM pg_catalog.pg_auth_members a
        WHERE a.member OPERATOR(pg_catalog.=) r.oid
          AND pg_catalog.starts_with(pg_catalog.pg_get_userbyid(a.roleid)::pg_catalog.text, 'pgscope_'))::pg_catalog.text
FROM pg_catalog.pg_roles r
WHERE r.rolname OPERATOR(pg_catalog.=) ANY (
  pg_catalog.array_cat($2::pg_catalog.name[], CASE WHEN $5::pg_catalog.bool THEN ARRAY[current_user, session_user] END))`

// ownSQL is the part of the question that lists all roles. Planning it takes half as long as planning the rest. Before
// PostgreSQL 16 pg_auth_members has no oid: then the name finds the one outside of the subselect, which is null.
const ownSQL = `
UNION ALL
SELECT 'own', r.rolname::pg_catalog.text, pg_catalog.concat_ws(' ', r.rolcanlogin::pg_catalog.text, r.oid, a.membership), m.rolname::pg_catalog.text
FROM (SELECT marker.oid AS marker, rolname, NULL::pg_catalog.oid AS oid FROM marker UNION ALL SELECT marked.oid, rolname, NULL FROM marked) m
JOIN LATERAL (SELECT oid AS membership, roleid, member FROM pg_catalog.pg_auth_members) a ON a.roleid OPERATOR(pg_catalog.=) m.marker
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.member`

// resetsSQL asks what RESET brings back. pg_settings does not show the role: it is none, unless a
// setting of a role or database names one.
const resetsSQL = `
UNION ALL
SELECT 'reset', s.name, s.reset_val, NULL FROM pg_catalog.pg_settings s WHERE s.name OPERATOR(pg_catalog.=) 'search_path'
UNION ALL
SELECT 'reset', 'role', 'none', NULL
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s CROSS JOIN pg_catalog.unnest(s.setconfig) c
                  WHERE pg_catalog.starts_with(pg_catalog.lower(c), 'role='))`

// othersSQL tells which of some databases exist.
const othersSQL = `
UNION ALL
SELECT 'other', d.datname::pg_catalog.text, NULL, NULL FROM pg_catalog.pg_database d
WHERE d.datname::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($%d::pg_catalog.text[])`

// SQL returns the statement that asks, with its parameters in text format.
func (q Inquiry) SQL() (sql string, params []string) {
	sql = inquirySQL
	if q.Own {
		sql += ownSQL + censusSQL
	}
	if q.Resets {
		sql += resetsSQL
	}
	actorSQL, as := q.actorSQL()
	sql += actorSQL
	params = append([]string{
		q.Database, Array(q.Names...), strconv.FormatBool(q.Own || q.Moves), Array(q.Schemas...), strconv.FormatBool(q.User),
	}, as...)
	if len(q.Others) > 0 {
		params = append(params, Array(q.Others...))
		sql += fmt.Sprintf(othersSQL, len(params))
	}
	return sql, params
}

// Array returns the strings as an array of PostgreSQL's in text format.
func Array[S ~string](list ...S) string {
	var b strings.Builder
	b.WriteByte('{')
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for i, s := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		b.WriteString(escape.Replace(string(s)))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}
