CREATE ROLE reader;
CREATE ROLE writer LOGIN;
GRANT reader TO writer;
ALTER ROLE writer SET role = 'reader';
ALTER ROLE writer SET search_path = s, public;
ALTER ROLE writer IN DATABASE orders SET work_mem TO '2MB';
ALTER ROLE writer IN DATABASE nosuch SET work_mem TO '2MB';
ALTER ROLE writer IN DATABASE "no such" RESET ALL;
ALTER ROLE writer SET role TO nobody;
ALTER ROLE writer SET nosuch.thing = 'reader';
ALTER ROLE writer SET nosuch = 1;
ALTER ROLE writer RESET role;
ALTER DATABASE orders SET role TO reader;
ALTER DATABASE orders RESET role;
BEGIN;
SET LOCAL ROLE reader;
CREATE TABLE t (a int);
COMMIT;
BEGIN\; SET LOCAL ROLE reader\; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE\; SELECT current_user, current_setting('transaction_isolation')\; COMMIT;
BEGIN\; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
SET LOCAL ROLE reader;
SELECT current_user, current_setting('transaction_isolation');
COMMIT;
SET SESSION AUTHORIZATION writer;
SET ROLE reader;
SET ROLE postgres;
SET ROLE '';
SELECT set_config('role', '', false);
SET SESSION AUTHORIZATION reader;
SET SESSION AUTHORIZATION DEFAULT;
BEGIN;
SET ROLE reader;
SELECT 1/0;
ROLLBACK;
CREATE TABLE t (a int);
CREATE FUNCTION f() RETURNS text LANGUAGE sql SET role = reader AS 'SELECT 1::text';
CREATE FUNCTION g() RETURNS text LANGUAGE sql SET role TO 'nobody' AS 'SELECT 1::text';
ALTER FUNCTION f() SET role TO writer;
SELECT f();
SELECT set_config('work_mem', '1MB', false);
SET TIME ZONE 'UTC';
SET "Role" = writer;
RESET "role";
SET role TO DEFAULT;
SET role = none;
RESET ALL;
DISCARD ALL;
DROP FUNCTION f();
DROP TABLE t;
DROP ROLE reader, writer;
-- Settings that name a role that is not there, yet or any more: where they are shown, and where a login warns of them.
CREATE ROLE app LOGIN;
ALTER ROLE app SET role = 'later';
ALTER ROLE app IN DATABASE orders SET role = 'no such';
SELECT setdatabase <> 0 AS here, setrole::regrole, setconfig FROM pg_db_role_setting ORDER BY 1;
SELECT rolname, rolconfig FROM pg_roles WHERE rolconfig IS NOT NULL;
\drds
\c - app
SELECT current_user;
\c - postgres
ALTER ROLE app IN DATABASE orders RESET role;
CREATE ROLE later;
\c - app
\c - postgres
GRANT later TO app;
\c - app
SELECT current_user;
\c - postgres
DROP ROLE app, later;
