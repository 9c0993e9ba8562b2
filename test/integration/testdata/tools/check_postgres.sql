-- check_postgres 2.25.0's same_schema, as a server's log has it, in an order: comments, schemas.
CREATE ROLE reader;
CREATE ROLE writer LOGIN;
COMMENT ON ROLE reader IS 'reads';
CREATE SCHEMA s AUTHORIZATION writer;
GRANT USAGE ON SCHEMA s TO reader;
SELECT CASE WHEN so.name IS NULL THEN 'Unknown:' || sd.classoid || ':' || sd.objoid ELSE so.object || ';' || so.name END AS name, sd.description AS comment FROM pg_shdescription sd LEFT JOIN ( SELECT 'database' AS object, oid, tableoid, datname AS name FROM pg_database UNION ALL SELECT 'role' AS object, oid, tableoid, rolname AS name FROM pg_authid UNION ALL SELECT 'tablespace' AS object, oid, tableoid, spcname AS name FROM pg_tablespace ) AS so ON (so.oid = sd.objoid AND so.tableoid = sd.classoid) ORDER BY 1;
SELECT quote_ident(nspname) AS name, quote_ident(rolname) AS owner, nspacl FROM pg_namespace n JOIN pg_roles r ON (r.oid = n.nspowner) WHERE nspname !~ '^pg_t' ORDER BY 1;
DROP SCHEMA s;
DROP ROLE reader, writer;
