-- What PostgreSQL's own scripts about roles have shown to differ.
CREATE ROLE builder CREATEROLE;
GRANT CREATE ON DATABASE orders TO builder;
SET ROLE builder;
CREATE SCHEMA AUTHORIZATION CURRENT_ROLE CREATE TABLE builder.t (a int);
CREATE SCHEMA AUTHORIZATION CURRENT_USER CREATE TABLE other.t (a int);
\dn builder
RESET ROLE;
DROP SCHEMA builder CASCADE;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
CREATE USER MAPPING FOR builder SERVER far;
DROP SERVER far;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
DROP OWNED BY builder;
DROP ROLE builder;
CREATE ROLE connects;
DO $$ BEGIN
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO connects', current_database());
  EXECUTE format('ALTER ROLE connects IN DATABASE %I SET work_mem = %L', current_database(), '1MB');
  EXECUTE format('COMMENT ON ROLE connects IS %L', '100%');
END $$;
\drds connects
SELECT has_database_privilege('connects', current_database(), 'CONNECT'), shobj_description('connects'::regrole, 'pg_authid');
DROP OWNED BY connects;
DROP ROLE connects;
