CREATE ROLE app LOGIN;
CREATE ROLE reader;
GRANT reader TO app;
CREATE SCHEMA AUTHORIZATION app;
CREATE SCHEMA AUTHORIZATION reader;
\connect - app
CREATE TABLE t (a int);
SELECT current_schemas(false), 't'::regclass, 'app.t'::regclass;
SET search_path = public, "$user";
SELECT current_schemas(false);
BEGIN;
SET LOCAL search_path = "$user";
SELECT current_schemas(false);
COMMIT;
SELECT current_schemas(false);
SET SCHEMA '$user';
SELECT current_schemas(false);
SET search_path = "$USER", '$user', "$user"
  , public;
SELECT current_schemas(false);
SET search_path = "$user", nosuch nosuch;
SET ROLE reader;
SET search_path = "$user";
SELECT current_schemas(false);
RESET ROLE;
SET search_path = '"$user", public';
SELECT current_schemas(false);
\connect - postgres
SELECT current_schemas(false);
ALTER ROLE app SET search_path = public, "$user";
\connect - app
SELECT current_schemas(false);
\connect - postgres
DROP SCHEMA app CASCADE;
DROP SCHEMA reader;
DROP ROLE app, reader;
