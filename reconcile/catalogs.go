package reconcile

import "github.com/pgscope/pgscope-proxy/access"

// catalog is a catalog that keeps ACLs, and the query that reads them, a part of a UNION ALL. $1 is the schemas to read, as
// JSON, $2 whether to read all but the server's own.
type catalog struct {
	kinds  []access.Kind
	since  int // major version
	always bool
	sql    string
}

const inSchema = `(n.nspname IN (SELECT jsonb_array_elements_text($1::jsonb)) OR $2::bool AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')`

var catalogs = []catalog{
	{always: true, kinds: []access.Kind{access.Database}, sql: `
SELECT 'database', '', d.datname, '', pg_get_userbyid(d.datdba), d.datacl::text FROM pg_database d
WHERE d.datname = current_database()`},

	{always: true, kinds: []access.Kind{access.Schema}, sql: `
SELECT 'schema', '', n.nspname, '', pg_get_userbyid(n.nspowner), n.nspacl::text FROM pg_namespace n
WHERE ` + inSchema},

	// Most relations have the same ACL as many others, and to write one costs the server more than all else here: it is
	// written for one of them, after a number that stands for it, and the others have the number.
	{kinds: []access.Kind{access.Table, access.View, access.MaterializedView, access.ForeignTable, access.Sequence}, sql: `
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized_view' WHEN 'f' THEN 'foreign_table' WHEN 'S' THEN 'sequence'
       ELSE 'table' END, n.nspname, c.relname, '', pg_get_userbyid(c.relowner), CASE c.oid WHEN w.oid THEN w.text ELSE w.oid::text END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN (SELECT relacl AS acl, min(c.oid) AS oid, concat(min(c.oid), relacl::text) AS text
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND ` + inSchema + ` AND relacl IS NOT NULL GROUP BY relacl) w ON w.acl = c.relacl
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND ` + inSchema},

	{kinds: []access.Kind{access.Routine}, sql: `
SELECT 'function', n.nspname, p.proname,
       (SELECT coalesce(string_agg(format_type(a.type, NULL), ', ' ORDER BY a.place), '')
        FROM unnest(p.proargtypes) WITH ORDINALITY AS a(type, place)), pg_get_userbyid(p.proowner), p.proacl::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE ` + inSchema},

	// Not those of tables' rows, nor arrays, nor multiranges: their rights are those of what they are made of.
	{kinds: []access.Kind{access.Type, access.Domain}, sql: `
SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, n.nspname, t.typname, '', pg_get_userbyid(t.typowner), t.typacl::text
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typtype IN ('b', 'c', 'd', 'e', 'r') AND coalesce(c.relkind, 'c') = 'c' AND t.typisdefined
  AND NOT (t.typelem <> 0 AND t.typsubscript = 'array_subscript_handler'::regproc) AND ` + inSchema},

	{kinds: []access.Kind{access.Language}, sql: `
SELECT 'language', '', l.lanname, '', pg_get_userbyid(l.lanowner), l.lanacl::text FROM pg_language l
WHERE l.lanpltrusted`},

	{kinds: []access.Kind{access.ForeignDataWrapper}, sql: `
SELECT 'foreign_data_wrapper', '', w.fdwname, '', pg_get_userbyid(w.fdwowner), w.fdwacl::text FROM pg_foreign_data_wrapper w`},

	{kinds: []access.Kind{access.ForeignServer}, sql: `
SELECT 'foreign_server', '', s.srvname, '', pg_get_userbyid(s.srvowner), s.srvacl::text FROM pg_foreign_server s`},

	{kinds: []access.Kind{access.LargeObject}, sql: `
SELECT 'large_object', '', l.oid::text, '', pg_get_userbyid(l.lomowner), l.lomacl::text FROM pg_largeobject_metadata l`},

	// Parameters belong to the bootstrap superuser (BOOTSTRAP_SUPERUSERID).
	{kinds: []access.Kind{access.Parameter}, since: 15, sql: `
SELECT 'parameter', '', p.parname, '', pg_get_userbyid(10), p.paracl::text FROM pg_parameter_acl p`},

	{kinds: []access.Kind{access.Tablespace}, sql: `
SELECT 'tablespace', '', t.spcname, '', pg_get_userbyid(t.spcowner), t.spcacl::text FROM pg_tablespace t
WHERE t.spcname <> 'pg_global'`},
}

// columnsSQL reads columns. $3 is the relations whose columns are all read, as a JSON list of pairs.
const columnsSQL = `
SELECT n.nspname, c.relname, a.attname, a.attacl::text
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND ` + inSchema + `
  AND (a.attacl IS NOT NULL
    OR (n.nspname::text, c.relname::text) IN (SELECT p->>0, p->>1 FROM jsonb_array_elements($3::jsonb) p))`
