CREATE ROLE reader LOGIN;
CREATE TABLE t (a int);
GRANT SELECT ON t TO reader;
-- A variable of a block may be called as a column of the catalogs.
DO $$ DECLARE rolname text := 'reader'; oid oid; x text; BEGIN
  SELECT r.oid, r.rolname INTO oid, x FROM pg_roles r WHERE r.rolname = 'reader';
  RAISE NOTICE '% % %', x, x = rolname, oid = 'reader'::regrole;
  IF has_table_privilege('reader', 't', 'SELECT') THEN RAISE NOTICE 'may'; END IF;
  RAISE NOTICE '%', (SELECT array_to_string(relacl, ' ') FROM pg_class WHERE relname = 't');
END $$;
SET ROLE reader;
DO $$ DECLARE me name := current_user; BEGIN
  IF current_user = 'reader' THEN RAISE NOTICE 'it is %', me; END IF;
  FOR me IN SELECT usename FROM pg_user WHERE usename = current_user LOOP RAISE NOTICE 'in a loop: %', me; END LOOP;
  PERFORM set_config('role', 'reader', true);
  RAISE NOTICE '%', current_setting('role');
END $$;
RESET ROLE;
-- Texts that are executed need the server's names.
SET ROLE reader;
DO $$ BEGIN EXECUTE format('SELECT %L::regrole', current_user); END $$;
RESET ROLE;
DO $$ DECLARE r record; same bool; BEGIN FOR r IN SELECT oid, rolname FROM pg_roles WHERE oid IN ('reader'::regrole, current_user::regrole) ORDER BY 1 LOOP
  EXECUTE format('SELECT quote_ident(%L)::regrole = %L::oid', pg_get_userbyid(r.oid), r.oid) INTO same; RAISE NOTICE '% %', r.rolname, same; END LOOP; END $$;
DO $$ BEGIN EXECUTE 'CREATE TABLE u (who name DEFAULT current_user)'; END $$;
\d u
DO $$ BEGIN IF to_regrole('nobody') IS NULL THEN RAISE NOTICE 'none'; END IF; END $$;
DROP TABLE t, u;
DROP ROLE reader;
CREATE ROLE reader;
CREATE TABLE t (a int);
GRANT SELECT ON t TO reader;
DO $$ BEGIN RAISE NOTICE '% % %', 'reader'::regrole, makeaclitem('reader'::regrole, 'postgres'::regrole, 'SELECT', false), to_regrole('reader') USING HINT = current_user; END $$;
DO $$ DECLARE a aclitem[]; BEGIN SELECT relacl INTO a FROM pg_class WHERE relname = 't'; RAISE NOTICE '%', a = (SELECT relacl FROM pg_class WHERE relname = 't'); END $$;
DROP TABLE t;
DROP ROLE reader;
