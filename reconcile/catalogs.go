package reconcile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// catalog is a catalog that keeps ACLs, and the query that reads them, a part of a UNION ALL: kind, schema, name,
// arguments, owner, ACL, and whether it is to be listed by itself whatever others are alike.
type catalog struct {
	kinds []access.Kind // none: in every observation
	since int           // major version
	whole bool          // in an observation of all only
	sql   string
}

// Rows that are no objects: columns, by relation and name, and default privileges, by pg_default_acl.defaclobjtype.
const (
	columnRow  = "column"
	defaultRow = "default"
)

// catalogs are read by [accessSQL], whose parameters they share, and its relation s. The types of the columns are
// those of the first.
var catalogs = []catalog{
	{sql: `SELECT 'database', ''::name, datname::text COLLATE "C", NULL::text, datdba, datacl, true FROM pg_database{here}`},

	{sql: `SELECT 'schema', '', nspname, NULL, nspowner, nspacl, true FROM s`},

	{kinds: []access.Kind{access.Table, access.View, access.MaterializedView, access.ForeignTable, access.Sequence}, sql: `
SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized_view' WHEN 'f' THEN 'foreign_table' WHEN 'S' THEN 'sequence' ELSE 'table' END,
nspname, relname, NULL, relowner, relacl, c.oid IN (SELECT attrelid FROM pg_attribute WHERE attacl IS NOT NULL)
FROM s JOIN pg_class c ON relnamespace = s.oid WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')`},

	{kinds: []access.Kind{access.Table, access.View, access.MaterializedView, access.ForeignTable}, sql: `
SELECT 'column', nspname, relname, attname, relowner, attacl, true
FROM s JOIN pg_class c ON relnamespace = s.oid JOIN pg_attribute ON attrelid = c.oid
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND attnum > 0 AND NOT attisdropped AND (attacl IS NOT NULL{asked})`},

	{kinds: []access.Kind{access.Routine}, sql: `
SELECT 'function', nspname, proname, (SELECT coalesce(string_agg(format_type(t, NULL), ', ' ORDER BY i), '')
FROM unnest(proargtypes) WITH ORDINALITY a(t, i)), proowner, proacl, false
FROM s JOIN pg_proc ON pronamespace = s.oid`},

	// Not those of tables' rows, nor arrays, nor multiranges: their rights are those of what they are made of.
	{kinds: []access.Kind{access.Type, access.Domain}, sql: `
SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, nspname, typname, NULL, typowner, typacl, false
FROM s JOIN pg_type ON typnamespace = s.oid LEFT JOIN pg_class c ON c.oid = typrelid
WHERE typtype IN ('b', 'c', 'd', 'e', 'r') AND coalesce(relkind, 'c') = 'c' AND typisdefined
AND NOT (typelem <> 0 AND typsubscript = 'array_subscript_handler'::regproc)`},

	{kinds: []access.Kind{access.Language}, sql: `SELECT 'language', '', lanname, NULL, lanowner, lanacl, false FROM pg_language WHERE lanpltrusted`},

	{kinds: []access.Kind{access.ForeignDataWrapper}, sql: `SELECT 'foreign_data_wrapper', '', fdwname, NULL, fdwowner, fdwacl, false FROM pg_foreign_data_wrapper`},

	{kinds: []access.Kind{access.ForeignServer}, sql: `SELECT 'foreign_server', '', srvname, NULL, srvowner, srvacl, false FROM pg_foreign_server`},

	{kinds: []access.Kind{access.LargeObject}, sql: `SELECT 'large_object', '', oid::text, NULL, lomowner, lomacl, false FROM pg_largeobject_metadata`},

	// Of pg_catalog what has other privileges than initdb gave it, and of these only the others.
	{whole: true, sql: `
SELECT CASE relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, 'pg_catalog', relname, NULL, relowner, ` + others("relacl") + `, true
FROM pg_class c ` + initially("c.oid", "pg_class", "0") + ` WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v', 'S')
AND (relacl IS DISTINCT FROM initprivs OR c.oid IN (SELECT attrelid FROM pg_attribute WHERE attacl IS NOT NULL))`},

	{whole: true, sql: `
SELECT 'column', 'pg_catalog', relname, attname, relowner, ` + others("attacl") + `, true
FROM pg_class c JOIN pg_attribute ON attrelid = c.oid ` + initially("c.oid", "pg_class", "attnum") + `
WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 AND attacl IS DISTINCT FROM initprivs`},

	{whole: true, sql: `
SELECT 'function', 'pg_catalog', proname, (SELECT coalesce(string_agg(format_type(t, NULL), ', ' ORDER BY i), '')
FROM unnest(proargtypes) WITH ORDINALITY a(t, i)), proowner, ` + others("proacl") + `, true
FROM pg_proc p ` + initially("p.oid", "pg_proc", "0") + ` WHERE pronamespace = 'pg_catalog'::regnamespace AND proacl IS DISTINCT FROM initprivs`},

	// Parameters belong to the bootstrap superuser (BOOTSTRAP_SUPERUSERID).
	{kinds: []access.Kind{access.Parameter}, since: 15, sql: `SELECT 'parameter', '', parname, NULL, 10::oid, paracl, false FROM pg_parameter_acl`},

	{kinds: []access.Kind{access.Tablespace}, sql: `SELECT 'tablespace', '', spcname, NULL, spcowner, spcacl, false FROM pg_tablespace WHERE spcname <> 'pg_global'`},

	{sql: `
SELECT 'default', coalesce(nspname, ''), defaclobjtype::text, NULL, defaclrole, defaclacl, true
FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace`},
}

func initially(object, class, column string) string {
	return "LEFT JOIN pg_init_privs ON (objoid, classoid, objsubid) = (" + object + ", '" + class + "'::regclass, " + column + ")"
}

func others(acl string) string {
	return "ARRAY(SELECT a FROM unnest(" + acl + ") a WHERE (a = ANY (initprivs)) IS NOT TRUE)"
}

// accessSQL reads the catalogs that are wanted: what has the same kind, schema, owner and ACL is one row, with all
// names and arguments, or where not all are listed, and no rule names them, with one that stands for all, and how
// many others. $1: the schemas to read, $2: all but the server's own, $3 and $4: names, and patterns of names, to list,
// $5: all of them, $6: patterns of the relations whose columns are all read.
const accessSQL = `WITH s AS MATERIALIZED (
SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
WHERE CASE WHEN nspname ~ '^pg_' THEN NOT $2 AND nspname = ANY ($1) ELSE nspname = ANY ($1) OR $2 AND nspname <> 'information_schema' END
), o(kind, schema, name, args, owner, acl, alone) AS (
{catalogs}
)
SELECT kind, schema, pg_get_userbyid(owner), acl::text, coalesce(names, one[1:1])::text, array_remove(coalesce(args, one[2:2]), NULL)::text, greatest(many - 1, 0)
FROM (
SELECT kind, schema, owner, acl, array_agg(name) FILTER (WHERE listed) AS names, array_agg(args) FILTER (WHERE listed) AS args,
min(ARRAY[name, args]) FILTER (WHERE NOT listed) AS one, count(*) FILTER (WHERE NOT listed) AS many
FROM (SELECT *, alone OR $5 OR name = ANY ($3) OR name LIKE ANY ($4) AS listed FROM o) o
GROUP BY kind, schema, owner, acl, listed
) o`

// accessQuery returns the query for an extent, and its parameters.
func accessQuery(e Extent, version int) (sql string, params []string) {
	params = []string{scope.Array(e.Schemas...), strconv.FormatBool(e.All), scope.Array(e.named...), scope.Array(e.patterns...), strconv.FormatBool(!e.alike)}
	if e.wants(access.Table) {
		params = append(params, scope.Array(e.Columns...))
	}
	return fill(accessSQL, version, e.All, " WHERE datname = current_database()", " OR relname LIKE ANY ($6)", e.wants), params
}

// fill puts the catalogs that are wanted into a query: databases as far as here says, and columns that have no ACL as
// far as asked says.
func fill(query string, version int, whole bool, here, asked string, wants func(access.Kind) bool) string {
	var list []string
	for _, c := range catalogs {
		if c.since <= version && (whole || !c.whole) && (c.kinds == nil || slices.ContainsFunc(c.kinds, wants)) {
			list = append(list, strings.TrimSpace(c.sql))
		}
	}
	return strings.NewReplacer("{here}", here, "{asked}", asked).Replace(strings.Replace(query, "{catalogs}", strings.Join(list, "\nUNION ALL\n"), 1))
}

// wants reports whether the extent has things of the kind.
func (e Extent) wants(k access.Kind) bool {
	return e.All || e.Kinds[k] || k.Info().InSchema && len(e.Schemas) > 0
}

// othersSQL reads in the whole database what DROP OWNED BY the roles $1 leaves (RemoveRoleFromObjectACL,
// src/backend/catalog/aclchk.c), and what it takes from others: what the roles have from others than the owners, or
// from owners that the executor has no part in, and what they have given. That is object, arguments or column, owner,
// grantee, grantor, privileges, whether they may be granted on, whether the grantor gets at the object to take them
// back, and whether it still may: what is taken from a table is taken from its columns too, but not what was granted
// on them by virtue of it.
const othersSQL = `WITH s AS MATERIALIZED (
SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
), o(kind, schema, name, args, owner, acl, alone) AS (
{catalogs}
), r AS MATERIALIZED (SELECT oid FROM pg_roles WHERE rolname = ANY ($1))
SELECT kind, schema, name, args, pg_get_userbyid(owner), CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END, pg_get_userbyid(grantor),
array_agg(privilege_type)::text, is_grantable, schema = '' OR has_schema_privilege(grantor, schema::text, 'USAGE'),
bool_and(CASE kind WHEN 'column' THEN has_column_privilege(grantor,
(SELECT c.oid FROM s JOIN pg_class c ON c.relnamespace = s.oid WHERE nspname = schema AND relname = name), args, privilege_type || ' WITH GRANT OPTION') ELSE true END)
FROM o, aclexplode(acl)
WHERE grantee IN (SELECT oid FROM r) AND (grantor <> owner OR NOT pg_has_role(owner, 'USAGE'))
OR grantor IN (SELECT oid FROM r) AND grantor <> owner
GROUP BY kind, schema, name, args, owner, grantee, grantor, is_grantable`
