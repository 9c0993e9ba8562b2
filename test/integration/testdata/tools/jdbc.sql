-- pgjdbc's DatabaseMetaData (getTablePrivileges, getColumnPrivileges, getSchemas, getUserName) and DBeaver's roles.
CREATE ROLE reader;
CREATE ROLE writer LOGIN;
GRANT reader TO writer WITH ADMIN OPTION;
CREATE TABLE t (a int, b int);
ALTER TABLE t OWNER TO writer;
GRANT SELECT ON t TO reader;
GRANT UPDATE (b) ON t TO reader;
SELECT n.nspname, c.relname, r.rolname, c.relacl FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c, pg_catalog.pg_roles r
WHERE c.relnamespace = n.oid AND c.relowner = r.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname LIKE 'public' AND c.relname LIKE 't' ORDER BY nspname, relname;
SELECT n.nspname, c.relname, r.rolname, c.relacl, a.attacl, a.attname FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c, pg_catalog.pg_roles r, pg_catalog.pg_attribute a
WHERE c.relnamespace = n.oid AND c.relowner = r.oid AND c.oid = a.attrelid AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname = 'public' AND c.relname = 't' ORDER BY attname;
SELECT nspname AS TABLE_SCHEM, NULL AS TABLE_CATALOG FROM pg_catalog.pg_namespace WHERE nspname = 'public' AND (nspname !~ '^pg_temp_') ORDER BY TABLE_SCHEM;
SELECT a.oid, a.* FROM pg_catalog.pg_roles a WHERE a.rolname = 'nobody';
SELECT a.rolname, a.rolsuper, pd.description FROM pg_catalog.pg_roles a LEFT JOIN pg_catalog.pg_shdescription pd ON a.oid = pd.objoid WHERE a.rolname !~ '^pg_' ORDER BY a.rolname;
SELECT r.rolname, m.admin_option FROM pg_catalog.pg_auth_members m, pg_catalog.pg_roles r WHERE r.oid = m.roleid AND m.member = (SELECT oid FROM pg_roles WHERE rolname = 'writer');
SELECT * FROM information_schema.table_privileges WHERE table_schema = 'public' AND grantee = 'reader' ORDER BY privilege_type;
SELECT session_user, current_user, current_schema();
DROP TABLE t;
DROP ROLE reader, writer;
