-- ActiveRecord 6.1.7.10's schema dump, as a server's log has it.
CREATE ROLE reader;
CREATE ROLE writer LOGIN;
GRANT reader TO writer WITH ADMIN OPTION;
CREATE TABLE t (id int PRIMARY KEY, who text DEFAULT CURRENT_USER, CHECK (who <> session_user OR id > 0));
COMMENT ON TABLE t IS 'who';
ALTER TABLE t OWNER TO writer;
GRANT SELECT ON t TO reader WITH GRANT OPTION;
GRANT UPDATE (who) ON t TO reader;
CREATE VIEW v AS SELECT id FROM t WHERE who = current_user;
ALTER VIEW v OWNER TO reader;
SET SESSION AUTHORIZATION writer;
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"t"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
SELECT conname, pg_get_constraintdef(c.oid) AS constraintdef, c.convalidated AS valid FROM pg_constraint c JOIN pg_class t ON c.conrelid = t.oid WHERE c.contype = 'c' AND t.relname = 't';
RESET SESSION AUTHORIZATION;
DROP TABLE t CASCADE;
DROP ROLE reader, writer;
