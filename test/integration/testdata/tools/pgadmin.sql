-- pgAdmin: the connection's first query, login and group roles, an object's owner and privileges, the dashboard's sessions.
CREATE ROLE reader;
CREATE ROLE writer LOGIN;
COMMENT ON ROLE writer IS 'writes';
GRANT reader TO writer WITH ADMIN OPTION;
CREATE TABLE t (a int);
ALTER TABLE t OWNER TO writer;
GRANT SELECT ON t TO reader WITH GRANT OPTION;
SELECT roles.rolname AS name, roles.rolsuper AS is_superuser, CASE WHEN roles.rolsuper THEN true ELSE roles.rolcreaterole END AS can_create_role,
  CASE WHEN roles.rolsuper THEN true ELSE roles.rolcreatedb END AS can_create_db,
  CASE WHEN 'pg_signal_backend' = ANY (ARRAY(WITH RECURSIVE cte AS (
    SELECT pg_roles.oid, pg_roles.rolname FROM pg_roles WHERE pg_roles.oid = roles.oid
    UNION ALL SELECT m.roleid, pgr.rolname FROM cte cte_1 JOIN pg_auth_members m ON m.member = cte_1.oid JOIN pg_roles pgr ON pgr.oid = m.roleid
  ) SELECT rolname FROM cte)) THEN true ELSE false END AS can_signal_backend
FROM pg_catalog.pg_roles AS roles WHERE rolname = current_user;
SELECT r.rolname, r.rolcanlogin, r.rolsuper, pg_catalog.shobj_description(r.oid, 'pg_authid') AS description,
  ARRAY(SELECT CASE WHEN pg.admin_option THEN '1' ELSE '0' END || pg.usename FROM (
    SELECT pg_roles.rolname AS usename, pg_auth_members.admin_option FROM pg_auth_members LEFT JOIN pg_roles ON pg_auth_members.roleid = pg_roles.oid
    WHERE r.oid = pg_auth_members.member ORDER BY pg_roles.rolname) pg) AS rolmembership
FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY r.rolcanlogin, r.rolname;
SELECT 'relacl' AS deftype, COALESCE(gt.rolname, 'PUBLIC') AS grantee, g.rolname AS grantor, array_agg(privilege_type ORDER BY privilege_type) AS privileges, array_agg(is_grantable) AS grantable
FROM (SELECT d.grantee, d.grantor, d.is_grantable, d.privilege_type FROM (SELECT (aclexplode(relacl)).* FROM pg_catalog.pg_class WHERE relname = 't') d) d
LEFT JOIN pg_catalog.pg_roles g ON d.grantor = g.oid LEFT JOIN pg_catalog.pg_roles gt ON d.grantee = gt.oid GROUP BY g.rolname, gt.rolname ORDER BY 2;
SELECT rel.relname, pg_catalog.pg_get_userbyid(rel.relowner) AS relowner, pg_catalog.array_to_string(rel.relacl::text[], ', ') AS acl FROM pg_catalog.pg_class rel WHERE rel.relname = 't';
SELECT datname, usename, state FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid();
SELECT deptype, refclassid::regclass, CASE WHEN refclassid = 1260 THEN pg_get_userbyid(refobjid) END AS role FROM pg_catalog.pg_shdepend
WHERE objid = 't'::regclass ORDER BY 1, 3;
DROP TABLE t;
DROP ROLE reader, writer;
