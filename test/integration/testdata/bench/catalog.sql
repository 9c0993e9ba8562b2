-- pg_roles
SELECT * FROM pg_roles;
-- psql du
SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolconnlimit, r.rolvaliduntil,
  ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid) WHERE m.member = r.oid) AS memberof,
  r.rolreplication, r.rolbypassrls
FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1;
-- psql dp
SELECT n.nspname, c.relname, c.relkind, pg_catalog.array_to_string(c.relacl, E'\n') AS "Access privileges",
  pg_catalog.array_to_string(ARRAY(SELECT attname || E':\n  ' || pg_catalog.array_to_string(attacl, E'\n  ') FROM pg_catalog.pg_attribute a
    WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL), E'\n') AS "Column privileges"
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r','v','m','S','f','p') AND n.nspname !~ '^pg_' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1, 2;
-- pg_dump roles
SELECT oid, rolname FROM pg_catalog.pg_roles ORDER BY 1;
-- pg_dump tables
SELECT c.tableoid, c.oid, c.relname, c.relnamespace, c.relowner, c.relacl, acldefault('r', c.relowner) AS acldefault FROM pg_class c
WHERE c.relkind IN ('r', 'S', 'v', 'c', 'm', 'f', 'p') ORDER BY c.oid;
-- role_table_grants
SELECT grantor, grantee, table_name, privilege_type FROM information_schema.role_table_grants WHERE table_schema = 'public';
-- pg_stat_activity
SELECT * FROM pg_stat_activity;
-- pg_tables
SELECT * FROM pg_tables;
-- current_user
SELECT current_user;
-- one role
SELECT 1 FROM pg_roles WHERE rolname = 'r7';
-- has_table_privilege
SELECT has_table_privilege('postgres', 'pg_class', 'SELECT');
