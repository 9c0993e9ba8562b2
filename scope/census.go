package scope

import (
	"fmt"
	"strings"
	"sync"
)

// Census is what the last list of all roles said about roles that are not the database's, for queries of the
// catalogs. It may be out of date, so it is used only where that can hide a role for a while, and never show another
// database's. It is safe for concurrent use.
type Census struct {
	// Arrays of OIDs, as PostgreSQL writes them; empty for none.
	Others  string // the markers of other databases and their schemas; empty also where there are too many
	Schemas string // the markers of this one's schemas
	// Guests are roles that are shown although they are members of Others, or have the name of one of the database's roles:
	// they administer another database's roles, or something here depends on them.
	Guests string

	// Alike is whether the database's prefix in a role's name could mislead: the role is not the database's, but something
	// here depends on it, or pg_has_role says that it is a member of the marker; or the name has the prefix twice.
	Alike bool
	// Modes is whether sessions may begin in another mode than the proxy's: a setting of a role
	// or a database says pgscope.mode.
	Modes bool

	names *meanings
}

// Meaning is what a name means in a database: a role of its own, or a global one. The OID is known where the short name
// has a separator: another database's role may have been given that cluster name since.
type Meaning struct {
	Own bool
	OID uint32
}

// meanings are one for all who have the census: there may be a name for each role, too many to be copied when one changes.
type meanings struct {
	mu sync.RWMutex
	of map[Short]Meaning
}

// Means tells what a name meant. It is the zero Meaning where that is not known: for global roles without a separator in
// the name, and for roles that may have changed.
func (c *Census) Means(name Short) Meaning {
	c.names.mu.RLock()
	defer c.names.mu.RUnlock()
	return c.names.of[name]
}

// Forget takes from the census the meanings of names that have to do with roles of the database, for all who have it.
func (c *Census) Forget(d Database, roles ...Cluster) {
	if c == nil {
		return
	}
	c.names.mu.Lock()
	defer c.names.mu.Unlock()
	for _, role := range roles {
		delete(c.names.of, Short(role))
		if short, ok := d.Localize(role); ok {
			delete(c.names.of, short)
		}
	}
}

// Nameless returns the census without the meanings of names, for one who has changed some that others do not see yet.
func (c *Census) Nameless() *Census {
	if c == nil {
		return nil
	}
	rest := *c
	rest.names = new(meanings)
	return &rest
}

// census reads the answer to censusSQL, when the roles of the database are known.
func (a *answer) census() error {
	if !a.q.Own {
		return nil
	}
	v, names := a.view, make(map[Short]Meaning)
	c := &Census{names: &meanings{of: names}}
	for _, r := range a.rows["census"] {
		c.Others, c.Guests = r.name, r.a
	}
	for _, r := range a.rows["marked"] {
		c.Schemas, c.Alike, c.Modes = r.name, r.a != "", r.b != ""
	}
	for _, r := range v.Roles() {
		names[r.Name] = Meaning{Own: true}
	}
	for _, r := range a.rows["named"] {
		oid, err := parseOID(r.a)
		if err != nil {
			return fmt.Errorf("scope: OID of a role: %w", err)
		}
		if own, ok := v.Localize(Cluster(r.name)); ok {
			names[own] = Meaning{true, oid}
		} else if name := Short(r.name); !names[name].Own {
			names[name] = Meaning{false, oid}
		}
	}
	v.Census = c
	return nil
}

// maxCensus bounds the markers, and the global roles, that a census tells of.
const maxCensus = 1000

// LeadSQL is an SQL expression for what the names of a scope's roles begin with, taken from the comment on its marker: see
// [Database.Comment]. A prefix with control characters is not recognised: decoding its \u escapes could fail.
func LeadSQL(comment string) string {
	return strings.ReplaceAll(leadSQL, "{comment}", comment)
}

const leadSQL = `(CASE WHEN pg_catalog.strpos({comment}, E'\\') OPERATOR(pg_catalog.=) 0 THEN ` +
	`pg_catalog.split_part(pg_catalog.split_part({comment}, '"prefix":"', 2), '"', 1) OPERATOR(pg_catalog.||) '_' OPERATOR(pg_catalog.||) ` +
	`CASE WHEN pg_catalog.strpos({comment}, '"schema":"') OPERATOR(pg_catalog.=) 0 THEN '' ELSE ` +
	`pg_catalog.split_part(pg_catalog.split_part({comment}, '"schema":"', 2), '"', 1) OPERATOR(pg_catalog.||) '_' END ELSE ` +
	`('"' OPERATOR(pg_catalog.||) (pg_catalog.regexp_match({comment}, E'"prefix":"((?:[^"\\\\\\x01-\\x1f]|\\\\["\\\\])+)"'))[1]` +
	` OPERATOR(pg_catalog.||) '"')::pg_catalog.json OPERATOR(pg_catalog.#>>) '{}' OPERATOR(pg_catalog.||) '_' END)`

// censusSQL is the part of an [Inquiry] that asks for a [Census], of its relations db, marker and marked.
var censusSQL = strings.NewReplacer("{lead}", LeadSQL("c.description"), "{max}", fmt.Sprint(maxCensus)).Replace(`
UNION ALL (
WITH reserved AS MATERIALIZED (
  SELECT r.oid, (SELECT {lead} FROM pg_catalog.pg_shdescription c
                 WHERE c.objoid OPERATOR(pg_catalog.=) r.oid AND c.classoid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid) AS lead
  FROM pg_catalog.pg_roles r
  WHERE r.rolname OPERATOR(pg_catalog.>=) 'pgscope_'::pg_catalog.name AND r.rolname OPERATOR(pg_catalog.<) E'pgscope\x60'::pg_catalog.name
    AND NOT r.oid OPERATOR(pg_catalog.=) ANY (SELECT oid FROM marker) AND NOT r.oid OPERATOR(pg_catalog.=) ANY (SELECT oid FROM marked)
), depended AS MATERIALIZED (
  SELECT d.refobjid AS oid FROM pg_catalog.pg_shdepend d CROSS JOIN db
  WHERE d.refclassid OPERATOR(pg_catalog.=) 1260::pg_catalog.oid
    AND (d.dbid OPERATOR(pg_catalog.=) db.oid OR d.classid OPERATOR(pg_catalog.=) 1262::pg_catalog.oid AND d.objid OPERATOR(pg_catalog.=) db.oid)
), home AS MATERIALIZED (
  SELECT c.oid, {lead} AS lead FROM marker c
), own AS MATERIALIZED (
  SELECT r.oid, r.rolname, c.lead FROM home c
  JOIN pg_catalog.pg_auth_members a ON a.roleid OPERATOR(pg_catalog.=) c.oid
  JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.member
  WHERE pg_catalog.starts_with(r.rolname::pg_catalog.text, c.lead)
), alike AS MATERIALIZED (
  SELECT FROM home c
  JOIN pg_catalog.pg_roles r ON pg_catalog.strpos(r.rolname::pg_catalog.text, c.lead) OPERATOR(pg_catalog.>) 0
  WHERE CASE WHEN r.oid OPERATOR(pg_catalog.=) ANY (SELECT oid FROM own)
             THEN pg_catalog.strpos(pg_catalog.right(r.rolname::pg_catalog.text, -1), c.lead) OPERATOR(pg_catalog.>) 0
             ELSE r.oid OPERATOR(pg_catalog.=) ANY (SELECT oid FROM depended) OR pg_catalog.pg_has_role(r.oid, c.oid, 'MEMBER') END
  LIMIT 1
)
SELECT 'census',
       (SELECT pg_catalog.array_agg(oid)::pg_catalog.text FROM reserved HAVING pg_catalog.count(*) OPERATOR(pg_catalog.<=) {max}),
       (SELECT pg_catalog.array_agg(g.oid)::pg_catalog.text FROM (
          SELECT a.member AS oid FROM reserved m JOIN pg_catalog.pg_auth_members a ON a.roleid OPERATOR(pg_catalog.=) m.oid
          WHERE NOT pg_catalog.starts_with(pg_catalog.pg_get_userbyid(a.member)::pg_catalog.text, 'pgscope_')
          GROUP BY a.member
          HAVING pg_catalog.bool_or(pg_catalog.starts_with(pg_catalog.pg_get_userbyid(a.member)::pg_catalog.text, m.lead)) IS NOT TRUE
              OR a.member OPERATOR(pg_catalog.=) ANY (SELECT oid FROM depended)
          UNION ALL
          SELECT r.oid FROM own o JOIN pg_catalog.pg_roles r ON r.rolname OPERATOR(pg_catalog.=)
            pg_catalog.right(o.rolname::pg_catalog.text, pg_catalog.length(o.lead) OPERATOR(pg_catalog.*) -1)::pg_catalog.name
          WHERE r.oid OPERATOR(pg_catalog.=) ANY (SELECT oid FROM depended)) g), NULL
UNION ALL
SELECT 'named', o.rolname::pg_catalog.text, o.oid::pg_catalog.text, NULL FROM own o
WHERE pg_catalog.strpos(pg_catalog.right(o.rolname::pg_catalog.text, pg_catalog.length(o.lead) OPERATOR(pg_catalog.*) -1), '_') OPERATOR(pg_catalog.>) 0
UNION ALL
SELECT 'marked', (SELECT pg_catalog.array_agg(oid)::pg_catalog.text FROM marked), (SELECT 'alike' FROM alike),
       (SELECT 'modes' FROM db CROSS JOIN pg_catalog.pg_db_role_setting s CROSS JOIN pg_catalog.unnest(s.setconfig) c
        WHERE pg_catalog.starts_with(pg_catalog.lower(c), 'pgscope.mode=')
          AND s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, db.oid]) LIMIT 1)
UNION ALL (
SELECT 'named', r.rolname::pg_catalog.text, r.oid::pg_catalog.text, NULL FROM pg_catalog.pg_roles r
WHERE pg_catalog.strpos(r.rolname::pg_catalog.text, '_') OPERATOR(pg_catalog.>) 0
  AND NOT pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pg_')
  AND NOT pg_catalog.starts_with(r.rolname::pg_catalog.text, 'pgscope_')
  AND NOT r.oid OPERATOR(pg_catalog.=) ANY (
    SELECT a.member FROM pg_catalog.pg_auth_members a
    WHERE pg_catalog.starts_with(pg_catalog.pg_get_userbyid(a.roleid)::pg_catalog.text, 'pgscope_'))
LIMIT {max}))`)
