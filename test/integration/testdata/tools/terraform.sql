-- Terraform's provider for PostgreSQL: role, grant, default privileges, schema, database.
CREATE ROLE reader LOGIN CONNECTION LIMIT 4 VALID UNTIL '2040-01-01';
CREATE ROLE writer;
GRANT writer TO reader;
ALTER ROLE reader SET search_path = 'a', 'b';
CREATE SCHEMA s AUTHORIZATION writer;
GRANT USAGE ON SCHEMA s TO reader;
CREATE TABLE s.t (a int);
GRANT SELECT, INSERT ON s.t TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE writer IN SCHEMA s GRANT SELECT ON TABLES TO reader;
SELECT 1 FROM pg_roles WHERE rolname = 'reader';
SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit,
  COALESCE(rolvaliduntil::text, 'infinity'), rolconfig,
  ARRAY(SELECT pg_get_userbyid(roleid) FROM pg_catalog.pg_auth_members members WHERE member = pg_roles.oid)
FROM pg_catalog.pg_roles WHERE rolname = 'reader';
SELECT COALESCE(passwd, '') FROM pg_catalog.pg_shadow AS s WHERE s.usename = 'reader';
SELECT pg_get_userbyid(member) AS role, pg_get_userbyid(roleid) AS grant_role, admin_option FROM pg_auth_members
WHERE pg_get_userbyid(member) = 'reader' AND pg_get_userbyid(roleid) = 'writer';
SELECT pg_catalog.pg_get_userbyid(n.nspowner) FROM pg_catalog.pg_namespace n WHERE n.nspname = 's';
SELECT COALESCE(n.nspacl, '{}'::aclitem[])::text[] FROM pg_catalog.pg_namespace n WHERE n.nspname = 's';
SELECT pg_catalog.pg_get_userbyid(d.datdba) FROM pg_catalog.pg_database d WHERE datname = 'orders';
SELECT array_agg(privilege_type ORDER BY privilege_type) FROM (
  SELECT (aclexplode(relacl)).* FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = 's' AND relname = 't'
) p WHERE grantee = (SELECT oid FROM pg_roles WHERE rolname = 'reader');
SELECT pg_class.relname, array_remove(array_agg(privilege_type ORDER BY privilege_type), NULL) FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
LEFT JOIN (SELECT acls.* FROM (SELECT relname, relnamespace, relkind, (aclexplode(relacl)).* FROM pg_class c) AS acls
  JOIN pg_roles ON grantee = pg_roles.oid WHERE rolname = 'reader') privs USING (relname, relnamespace, relkind)
WHERE nspname = 's' AND relkind = 'r' GROUP BY pg_class.relname;
SELECT array_agg(prtype) FROM (SELECT defaclnamespace, (aclexplode(defaclacl)).* FROM pg_default_acl WHERE defaclobjtype = 'r')
  AS t (namespace, grantor_oid, grantee_oid, prtype, grantable)
JOIN pg_namespace ON pg_namespace.oid = namespace WHERE pg_get_userbyid(grantee_oid) = 'reader' AND nspname = 's' AND pg_get_userbyid(grantor_oid) = 'writer';
SELECT srvname, fdwname, srvowner::regrole::text FROM pg_foreign_server JOIN pg_foreign_data_wrapper f ON f.oid = srvfdw;
SELECT pg_has_role('reader', 'writer', 'member');
SELECT relrowsecurity, current_user = 'postgres', session_user FROM pg_class WHERE relname = 't';
REASSIGN OWNED BY writer TO postgres;
DROP OWNED BY reader, writer;
DROP SCHEMA s CASCADE;
DROP ROLE reader, writer;
