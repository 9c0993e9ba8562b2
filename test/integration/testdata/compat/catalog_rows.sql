-- Values that the server writes with roles' names by itself, wherever they come from.
CREATE ROLE reader;
CREATE ROLE "Mixed Case";
CREATE ROLE "select";
CREATE ROLE "q""uote";
CREATE ROLE "é";
CREATE TABLE t (a int, b int);
ALTER TABLE t OWNER TO reader;
GRANT SELECT ON t TO "Mixed Case", "select", "q""uote", "é" WITH GRANT OPTION;
GRANT INSERT (a) ON t TO "select";
\x
SELECT c.* FROM pg_class c WHERE relname = 't' \gset c_
\echo :c_relacl
\x
SELECT relacl, acldefault('r', relowner) FROM pg_class WHERE relname = 't';
SELECT s.acl FROM (SELECT relacl AS acl FROM pg_class WHERE relname = 't') s;
WITH w AS MATERIALIZED (SELECT attacl AS list FROM pg_attribute WHERE attrelid = 't'::regclass AND attacl IS NOT NULL) SELECT * FROM w;
SELECT relacl FROM pg_class WHERE relname = 't' UNION ALL SELECT nspacl FROM pg_namespace WHERE nspname = 'pg_toast';
SELECT unnest(relacl) FROM pg_class WHERE relname = 't' ORDER BY 1::text;
SELECT relacl[2:3], relacl[1] FROM pg_class WHERE relname = 't';
SELECT array_agg(oid::regrole ORDER BY rolname) FROM pg_roles WHERE rolname IN ('reader', 'Mixed Case', 'select', 'q"uote', 'é');
SELECT oid::regrole FROM pg_roles WHERE rolname IN ('reader', 'Mixed Case', 'select', 'q"uote', 'é') ORDER BY rolname;
SELECT r FROM (VALUES ('reader'::regrole), ('"Mixed Case"'::regrole), ('-'::regrole)) v (r);
SELECT makeaclitem('reader'::regrole, '"é"'::regrole, 'SELECT', true);
-- Lists that are put together, and values in rows, arrays and choices of which texts are made.
SELECT relacl || makeaclitem('reader'::regrole, 10, 'SELECT', false), COALESCE(relacl, '{}') || acldefault('r', relowner) FROM pg_class WHERE relname = 't' \gdesc
SELECT relacl || makeaclitem('reader'::regrole, 10, 'SELECT', false), COALESCE(relacl || '{}', '{}') FROM pg_class WHERE relname = 't';
SELECT (relacl || makeaclitem('"é"'::regrole, 10, 'SELECT', false))::text, array_to_string(relacl[1:2] || relacl, ' ') FROM pg_class WHERE relname = 't';
SELECT ARRAY[relacl[1], makeaclitem('reader'::regrole, 10, 'UPDATE', true)]::text, relacl[1] || ' and ' || relacl[2] AS both FROM pg_class WHERE relname = 't';
SELECT row_to_json(row(rolname, oid::regrole, 'reader'::regrole)), ROW(oid::regrole, acldefault('r', oid))::text FROM pg_roles WHERE rolname IN ('reader', 'q"uote') ORDER BY rolname;
SELECT COALESCE(to_regrole('nobody'), 'reader'::regrole)::text, CASE WHEN true THEN '"Mixed Case"'::regrole END || '!' AS choice, array_to_string(ARRAY['reader'::regrole, to_regrole('"é"')], '+');
SELECT ROW(ARRAY[makeaclitem('reader'::regrole, 10, 'SELECT', false)], ARRAY['reader'::regrole], NULL)::text;
SELECT ('reader'::regrole)::varchar::name, 'reader'::regrole::text::name::varchar(30);
SELECT ('reader'::regrole)::varchar, ((pg_get_userbyid(relowner)))::text, (to_regrole('reader'))::text, CAST(('reader'::regrole) AS text) FROM pg_class WHERE relname = 't';
-- Rows that become JSON with the lists in them, as PostGraphile introspects.
WITH spaces AS (SELECT pg_namespace.oid AS _id, * FROM pg_catalog.pg_namespace WHERE nspname = 'public'),
  classes AS (SELECT pg_class.oid AS _id, *, pg_catalog.pg_relation_is_updatable(oid, true)::bit(8)::int4 AS mask FROM pg_catalog.pg_class WHERE relname = 't' AND relnamespace IN (SELECT spaces._id FROM spaces)),
  attributes AS (SELECT * FROM pg_attribute a WHERE attrelid IN (SELECT classes._id FROM classes) AND attnum > 0),
  roles AS (SELECT pg_roles.oid AS _id, * FROM pg_roles WHERE rolname IN ('reader', 'é'))
SELECT json_build_object('classes', (SELECT json_agg(row_to_json(classes)->'relacl') FROM classes),
  'attributes', (SELECT coalesce((SELECT json_agg(row_to_json(attributes)->'attacl' ORDER BY attrelid, attnum) FROM attributes), '[]'::json)),
  'spaces', (SELECT json_agg(to_jsonb(spaces)->'nspacl') FROM spaces),
  'roles', (SELECT json_agg(row_to_json(roles)->>'rolname' ORDER BY rolname) FROM roles), 'user', current_user)::text;
SELECT to_jsonb(s) - ARRAY['oid', 'relfilenode', 'reltype', 'relowner', 'relfrozenxid', 'relminmxid'] FROM (SELECT c.* FROM pg_class AS c JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = 't') s;
SELECT row_to_json(s)->'datacl' IS NULL FROM (SELECT * FROM pg_database d WHERE datname = current_database()) s;
SELECT array_to_json(array_agg(s))->0->'relacl' FROM (SELECT * FROM ONLY pg_class WHERE relname = 't') s;
SELECT (row_to_json(s)->'prorettype')::text::oid::regtype, row_to_json(s)->'proacl' FROM (SELECT * FROM pg_proc TABLESAMPLE system (100) WHERE oid = 'pg_switch_wal'::regproc) s;
PREPARE p AS SELECT relacl FROM pg_class WHERE relname = $1;
EXECUTE p('t');
BEGIN;
DECLARE c CURSOR FOR SELECT relowner::regrole, relacl FROM pg_class WHERE relname = 't';
FETCH c;
ALTER ROLE reader RENAME TO clerk;
SELECT relacl FROM pg_class WHERE relname = 't';
CREATE ROLE late;
GRANT SELECT ON t TO late;
SELECT relacl FROM pg_class WHERE relname = 't';
SET LOCAL ROLE late;
SHOW role;
ROLLBACK;
SHOW role;
CREATE ROLE newest\; GRANT SELECT ON t TO newest\; SELECT relacl FROM pg_class WHERE relname = 't'\; SET ROLE newest\; SHOW role\; SHOW session_authorization\; RESET ROLE;
CREATE TABLE kept AS SELECT relacl, relowner::regrole FROM pg_class WHERE relname = 't';
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'kept'::regclass AND attnum > 0;
SELECT relacl, relowner FROM kept;
COPY (SELECT relacl, relowner::regrole FROM pg_class WHERE relname = 't') TO STDOUT;
GRANT USAGE ON LANGUAGE sql TO reader, "Mixed Case";
COPY pg_language (lanacl, lanname) TO STDOUT;
GRANT CREATE ON TABLESPACE pg_default TO "q""uote" WITH GRANT OPTION;
COPY pg_tablespace TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE (spcacl));
COPY (SELECT * FROM pg_tablespace) TO STDOUT;
COPY (TABLE pg_catalog.pg_tablespace ORDER BY oid) TO STDOUT;
REVOKE CREATE ON TABLESPACE pg_default FROM "q""uote";
REVOKE USAGE ON LANGUAGE sql FROM reader, "Mixed Case";
ALTER TABLE t OWNER TO "Mixed Case";
SELECT ARRAY[relowner]::regrole[]::text, ARRAY[relowner]::oid[]::regrole[]::text, array_agg(relowner)::regrole[]::text FROM pg_class WHERE relname = 't' GROUP BY relowner;
SELECT o::regrole[]::text, o::regrole[] FROM (SELECT ARRAY[relowner, 10] AS o FROM pg_class WHERE relname = 't') s;
SELECT array_to_string(ARRAY[relowner, 0, NULL]::regrole[], ',', '?'), concat('{reader}'::regrole[], NULL::regrole[]) FROM pg_class WHERE relname = 't';
COPY (SELECT ARRAY[relowner]::regrole[] FROM pg_class WHERE relname = 't') TO STDOUT;
DROP TABLE kept, t;
DROP ROLE reader, "Mixed Case", "select", "q""uote", "é", newest;
-- What is a key word, and so quoted, the server's version says.
CREATE ROLE "system_user"; CREATE ROLE "json"; CREATE ROLE json_array; CREATE ROLE merge_action; CREATE ROLE "between"; CREATE ROLE virtual;
SELECT oid::regrole, oid::regrole::text FROM pg_roles WHERE rolname IN ('system_user', 'json', 'json_array', 'merge_action', 'between', 'virtual') ORDER BY rolname;
SELECT ARRAY['"system_user"'::regrole, 'json'::regrole];
DROP ROLE "system_user", "json", json_array, merge_action, "between", virtual;
