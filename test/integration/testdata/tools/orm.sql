-- SQLAlchemy and Alembic, Django's inspectdb, Rails' schema dump, Hibernate: what of it touches roles.
CREATE ROLE reader;
CREATE TABLE t (id int PRIMARY KEY, who text DEFAULT CURRENT_USER, CHECK (who <> session_user OR id > 0));
COMMENT ON TABLE t IS 'who';
ALTER TABLE t OWNER TO reader;
CREATE VIEW v AS SELECT id FROM t WHERE who = current_user;
SELECT pg_catalog.version() IS NOT NULL, current_schema(), current_user;
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d
  WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef) AS DEFAULT FROM pg_catalog.pg_attribute a WHERE a.attrelid = 't'::regclass AND a.attnum > 0 ORDER BY a.attnum;
SELECT cons.conname, pg_get_constraintdef(cons.oid) AS src FROM pg_catalog.pg_constraint cons WHERE cons.conrelid = 't'::regclass ORDER BY 1;
SELECT pg_catalog.pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relname = 'v' AND c.relkind IN ('v', 'm');
SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, obj_description(c.oid, 'pg_class')
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1;
SELECT c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint c JOIN pg_class r ON c.conrelid = r.oid WHERE r.relname = 't' AND contype = 'c';
SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_.*' AND nspname NOT IN ('information_schema') ORDER BY nspname;
SELECT usename, usesuper FROM pg_user WHERE usename = 'reader';
SELECT rolname FROM pg_roles WHERE rolname IN (SELECT tableowner FROM pg_tables WHERE tablename = 't');
SELECT sequence_name FROM information_schema.sequences;
DROP VIEW v;
DROP TABLE t;
DROP ROLE reader;
