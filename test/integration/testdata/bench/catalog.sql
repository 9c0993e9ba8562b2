-- pg_roles
SELECT * FROM pg_roles;
-- psql du
SELECT r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolconnlimit, r.rolvaliduntil,
  ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid) WHERE m.member = r.oid) AS memberof,
  r.rolreplication, r.rolbypassrls
FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1;
-- psql dp
SELECT n.nspname as "Schema",
  c.relname as "Name",
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' END as "Type",
  pg_catalog.array_to_string(c.relacl, E'\n') AS "Access privileges",
  pg_catalog.array_to_string(ARRAY(
    SELECT attname || E':\n  ' || pg_catalog.array_to_string(attacl, E'\n  ')
    FROM pg_catalog.pg_attribute a
    WHERE attrelid = c.oid AND NOT attisdropped AND attacl IS NOT NULL
  ), E'\n') AS "Column privileges",
  pg_catalog.array_to_string(ARRAY(
    SELECT polname
    || CASE WHEN NOT polpermissive THEN
       E' (RESTRICTIVE)'
       ELSE '' END
    || CASE WHEN polcmd != '*' THEN
           E' (' || polcmd::pg_catalog.text || E'):'
       ELSE E':'
       END
    || CASE WHEN polqual IS NOT NULL THEN
           E'\n  (u): ' || pg_catalog.pg_get_expr(polqual, polrelid)
       ELSE E''
       END
    || CASE WHEN polwithcheck IS NOT NULL THEN
           E'\n  (c): ' || pg_catalog.pg_get_expr(polwithcheck, polrelid)
       ELSE E''
       END    || CASE WHEN polroles <> '{0}' THEN
           E'\n  to: ' || pg_catalog.array_to_string(
               ARRAY(
                   SELECT rolname
                   FROM pg_catalog.pg_roles
                   WHERE oid = ANY (polroles)
                   ORDER BY 1
               ), E', ')
       ELSE E''
       END
    FROM pg_catalog.pg_policy pol
    WHERE polrelid = c.oid), E'\n')
    AS "Policies"
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r','v','m','S','f','p')
  AND n.nspname !~ '^pg_' AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 1, 2;
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
-- users of tables
SELECT c.relname, pg_get_userbyid(c.relowner) FROM pg_class c WHERE c.relkind = 'r';
-- one role
SELECT 1 FROM pg_roles WHERE rolname = '{orders_}r7';
-- one role with underscore
SELECT 1 FROM pg_roles WHERE rolname = '{orders_}r_8';
-- one global role
SELECT 1 FROM pg_roles WHERE rolname = 'app_admin';
-- one role and its settings
SELECT * FROM pg_roles WHERE rolname = '{orders_}r7';
-- no role
SELECT 1 FROM pg_roles WHERE rolname = 'nobody';
-- no role with underscore
SELECT 1 FROM pg_roles WHERE rolname = 'no_body';
-- has_table_privilege
SELECT has_table_privilege('postgres', 'pg_class', 'SELECT');
-- has_table_privilege of a role
SELECT has_table_privilege('{orders_}r_8', 't1', 'SELECT');
-- has_table_privilege of a global role
SELECT has_table_privilege('app_admin', 't1', 'SELECT');
-- pg_has_role
SELECT pg_has_role('{orders_}r7', '{orders_}r_8', 'MEMBER');
-- regrole
SELECT '{orders_}r7'::regrole::oid;
