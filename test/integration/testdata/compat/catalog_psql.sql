CREATE ROLE reader;
CREATE ROLE writer LOGIN CONNECTION LIMIT 3 VALID UNTIL '2040-01-01';
CREATE ROLE "We""ird Näme" CREATEDB;
COMMENT ON ROLE reader IS 'reads';
GRANT reader TO writer WITH ADMIN OPTION;
GRANT pg_monitor TO reader;
ALTER ROLE writer SET work_mem = '2MB';
ALTER ROLE writer SET role = reader;
ALTER ROLE reader IN DATABASE orders SET role = 'reader';
ALTER ROLE writer IN DATABASE orders SET session_authorization = 'reader';
CREATE SCHEMA s AUTHORIZATION writer;
GRANT USAGE ON SCHEMA s TO reader, "We""ird Näme";
CREATE TABLE t (a int PRIMARY KEY, b text);
ALTER TABLE t OWNER TO writer;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
-- A role each: of several, psql and pg_dump list that first which the server happens to find first.
CREATE POLICY p ON t FOR SELECT TO reader USING (true);
CREATE POLICY weird ON t FOR SELECT TO "We""ird Näme" USING (true);
CREATE POLICY pp ON t TO PUBLIC USING (a > 0);
GRANT SELECT ON t TO reader, PUBLIC;
GRANT UPDATE (a) ON t TO "We""ird Näme" WITH GRANT OPTION;
CREATE VIEW v AS SELECT 1 AS one;
ALTER VIEW v OWNER TO reader;
CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;
ALTER MATERIALIZED VIEW m OWNER TO reader;
CREATE SEQUENCE q;
ALTER SEQUENCE q OWNER TO "We""ird Näme";
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION f OWNER TO writer;
REVOKE ALL ON FUNCTION f FROM PUBLIC;
GRANT EXECUTE ON FUNCTION f TO reader;
CREATE TYPE mood AS ENUM ('sad');
ALTER TYPE mood OWNER TO writer;
CREATE DOMAIN d AS int;
GRANT USAGE ON DOMAIN d TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE writer IN SCHEMA s GRANT SELECT ON TABLES TO reader;
ALTER DEFAULT PRIVILEGES FOR ROLE reader REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE FOREIGN DATA WRAPPER w;
ALTER FOREIGN DATA WRAPPER w OWNER TO postgres;
GRANT USAGE ON FOREIGN DATA WRAPPER w TO writer;
CREATE SERVER srv FOREIGN DATA WRAPPER w;
ALTER SERVER srv OWNER TO writer;
GRANT USAGE ON FOREIGN SERVER srv TO reader;
CREATE FOREIGN TABLE ft (a int) SERVER srv;
ALTER FOREIGN TABLE ft OWNER TO reader;
CREATE USER MAPPING FOR writer SERVER srv OPTIONS (user 'x');
CREATE USER MAPPING FOR PUBLIC SERVER srv;
CREATE PUBLICATION pub FOR TABLE t;
ALTER PUBLICATION pub OWNER TO postgres;
CREATE STATISTICS st ON a, b FROM t;
ALTER STATISTICS st OWNER TO writer;
SELECT lo_create(4711);
ALTER LARGE OBJECT 4711 OWNER TO writer;
GRANT SELECT ON LARGE OBJECT 4711 TO reader;
CREATE CONVERSION conv FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;
ALTER CONVERSION conv OWNER TO writer;
CREATE COLLATION coll FROM "C";
ALTER COLLATION coll OWNER TO reader;
CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple);
ALTER TEXT SEARCH DICTIONARY dict OWNER TO reader;
GRANT CONNECT ON DATABASE orders TO reader;
\du
\dg
\du+
\du wr*
\du orders_*
\dg "We""ird Näme"
\dp
\z t
\ddp
\drds
\drds writer
\drds reader orders
\dn
\dn+
\l orders
\dt
\dt+ t
\dv
\dm
\ds
\di+
\dE
\df
\df+ f
\dT+
\dD+
\dew+
\des+
\deu+
\det+
\dRp
\dRp+
\dX
\dl+
\dc conv
\dO+ coll
\dFd+ dict
\d t
\d+ t
\dL+
\db
SELECT spcname, pg_get_userbyid(spcowner), array_to_string(spcacl, E'\n') FROM pg_tablespace ORDER BY 1; -- \db+ shows sizes, which are the cluster's
\dy
\sf f
\drg
\c - writer
SELECT current_user, session_user;
\du
\echo :USER
\c - postgres
DROP OWNED BY reader, writer, "We""ird Näme" CASCADE;
REVOKE CONNECT ON DATABASE orders FROM reader;
\drds
DROP ROLE reader, writer, "We""ird Näme";
DROP FOREIGN DATA WRAPPER w CASCADE;
