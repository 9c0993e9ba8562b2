DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader') THEN
    CREATE ROLE reader;
    RAISE NOTICE 'made';
  END IF;
END
$$;
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'reader') THEN
    CREATE ROLE reader;
    RAISE NOTICE 'made again';
  END IF;
END
$$;
DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN RAISE NOTICE 'is there'; END $$;
DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN RAISE NOTICE '%, skipping', SQLERRM USING ERRCODE = SQLSTATE; END $$;
DO $$ DECLARE m text; d text; BEGIN GRANT reader TO reader; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS m = MESSAGE_TEXT; RAISE EXCEPTION 'so: %', m USING DETAIL = m, HINT = SQLERRM; END $$;
DO $$ BEGIN EXECUTE 'DO ''BEGIN DROP ROLE nobody; EXCEPTION WHEN OTHERS THEN RAISE WARNING USING MESSAGE = SQLERRM; END'''; END $$;
DO 'BEGIN CREATE ROLE writer; COMMENT ON ROLE writer IS ''it''''s''; END';
DO E'BEGIN\n GR\u0041NT reader TO writer;\nEND';
DO $$
DECLARE n int; r record; k record;
BEGIN
  SELECT count(*) INTO STRICT n FROM pg_authid WHERE rolname IN ('reader', 'writer');
  RAISE NOTICE '% roles', n;
  FOR r IN SELECT groname, array_length(grolist, 1) AS n FROM pg_group WHERE groname ~ '^(reader|writer)$' ORDER BY 1 LOOP
    RAISE NOTICE '% %', r.groname, r.n;
  END LOOP;
  EXECUTE 'ALTER ROLE writer LOGIN; CREATE ROLE "O''Hara"';
  n := (SELECT count(*) FROM pg_user WHERE usename = 'writer') + (SELECT count(*) FROM pg_shadow WHERE usename = 'writer');
  RAISE NOTICE '% can log in', n;
  IF EXISTS (SELECT FROM pg_roles AS a JOIN pg_roles AS b USING (oid) WHERE a.rolname = 'O''Hara') THEN
    DROP ROLE "O'Hara";
  END IF;
  WHILE EXISTS (SELECT FROM pg_roles WHERE rolname = 'writer') LOOP
    DROP ROLE writer;
  END LOOP;
END
$$;
BEGIN;
DO $$ BEGIN CREATE ROLE gone; END $$;
ROLLBACK;
DROP ROLE gone;
DO $$
BEGIN
  GRANT nobody TO reader;
END $$;
DO $$ BEGIN
  GRANT nobody TO reader; SELECT 1 nonsense nonsense;
END $$;
DO $$ BEGIN GRANT nobody TO reader; END $$; SELECT 1 nonsense nonsense;
DROP ROLE reader;
CREATE ROLE joint;
CREATE TABLE joined (a int);
DO $$ DECLARE t regclass := 'joined'; BEGIN EXECUTE 'GRANT SELECT ON ' || t || ' TO joint'; EXECUTE format('GRANT INSERT ON %s TO joint', t); EXECUTE 'ALTER TABLE ' || quote_ident('joined') || ' OWNER TO joi' || 'nt'; END $$;
\dp joined
DROP TABLE joined;
DROP ROLE joint;
-- What a block sets back.
CREATE ROLE reader;
CREATE ROLE writer;
DO $$ BEGIN SET LOCAL ROLE reader; RAISE NOTICE '% %', current_user, session_user; RESET ROLE; RAISE NOTICE '%', current_user; EXECUTE 'SET LOCAL ROLE writer'; RAISE NOTICE '%', current_setting('role'); END $$;
SELECT current_user;
DO $$ BEGIN SET SESSION AUTHORIZATION reader; SET SESSION AUTHORIZATION DEFAULT; RESET SESSION AUTHORIZATION; SET LOCAL ROLE writer; RESET ALL; GRANT reader TO writer; RAISE NOTICE '% %', current_user, session_user; END $$;
DO $$ BEGIN SET ROLE reader; RESET ROLE; END $$; SELECT current_user; GRANT writer TO postgres;
SELECT session_user, current_user;
DROP ROLE reader, writer;
-- Names that a block computes.
CREATE TABLE t (a int);
DO $$ DECLARE who text := 'reader'; r record; BEGIN
  FOREACH who IN ARRAY ARRAY['reader', 'Odd One'] LOOP
    EXECUTE format('CREATE ROLE %I LOGIN; COMMENT ON ROLE %1$I IS %L', who, who || '!');
    EXECUTE 'GRANT SELECT ON t TO ' || quote_ident(who) || ' WITH GRANT OPTION';
  END LOOP;
  FOR r IN SELECT rolname FROM pg_roles WHERE rolname IN ('reader', 'Odd One') ORDER BY 1 LOOP
    EXECUTE format('GRANT pg_monitor TO %I', r.rolname);
    EXECUTE format('ALTER ROLE %I SET work_mem = %L', r.rolname, '1MB');
    RAISE NOTICE '% %', r.rolname, current_user;
  END LOOP;
  EXECUTE format('SET LOCAL ROLE %I', 'reader');
  RAISE NOTICE '% %', current_user, current_setting('role');
  EXECUTE 'SET LOCAL ROLE ' || quote_literal('none');
  EXECUTE format('ALTER TABLE t OWNER TO %I', 'Odd One');
  EXECUTE format('GRANT %I TO %I', 'Odd One', 'reader');
  EXECUTE format('GRANT INSERT ON t TO %I', 'public');
END $$;
\du
\dp t
DO $$ BEGIN EXECUTE format('CREATE ROLE %I', 'reader'); END $$;
DO $$ BEGIN EXECUTE format('CREATE ROLE %I', 'postgres'); END $$;
DO $$ BEGIN EXECUTE format('CREATE ROLE %I', 'pg_x'); END $$;
DO $$ BEGIN EXECUTE format('CREATE ROLE %I', 'public'); END $$;
DO $$ BEGIN EXECUTE format('CREATE ROLE %I', ''); END $$;
DO $$ BEGIN EXECUTE format('CREATE ROLE %I', NULL); END $$;
DO $$ BEGIN EXECUTE format('GRANT reader TO %I', 'nobody'); END $$;
DO $$ BEGIN EXECUTE format('DROP ROLE IF EXISTS %I', 'nobody'); END $$;
DO $$ BEGIN EXECUTE format('ALTER TABLE t OWNER TO %I', current_user); EXECUTE format('DROP OWNED BY %I, %I', 'reader', 'Odd One'); EXECUTE 'DROP ROLE ' || quote_ident('reader') || ', ' || quote_ident('Odd One'); END $$;
\du
DROP TABLE t;
-- Names at the end of a text, and texts that are put together in other ways.
CREATE ROLE r; CREATE ROLE s; CREATE ROLE "Q q";
DO $$ BEGIN EXECUTE 'CREATE ROLE ' || quote_ident('n1'); EXECUTE concat('CREATE ROLE ', quote_ident('n 2')); EXECUTE (('CREATE ROLE ' || quote_ident('n3'))); EXECUTE format('CREATE ROLE %s', quote_ident('n4')); END $$;
DO 'BEGIN EXECUTE ''CREATE ROLE '' || quote_ident(''n5''); END';
DO $$ BEGIN EXECUTE ('GRANT n1 TO ' || 's') || ';'; EXECUTE ('DROP ROLE n1') || (', "n 2"') || ', n3' || ', n4,n5'; EXECUTE concat('GRANT r', ' TO s', ''); END $$;
DO $$ DECLARE t text := 'x'; BEGIN EXECUTE concat('CREATE TABLE ', t || 'y', ' (); ALTER TABLE ' || t, 'y OWNER TO r', '') || '; DROP TABLE ' || t || 'y'; END $$;
DO $$ BEGIN EXECUTE concat('GRANT ', quote_ident('r'), ' TO ', quote_ident('Q q')); EXECUTE format('REVOKE %s FROM %s', quote_ident('r'), quote_ident('Q q')); EXECUTE format('COMMENT ON ROLE %s IS %s', quote_ident('r'), quote_literal('r')); EXECUTE format('SET LOCAL ROLE %s; RESET ROLE', quote_literal('r')); END $$;
DO $$ BEGIN EXECUTE E'COMMENT ON ROLE r IS ''x''' || E''; EXECUTE $q$COMMENT ON ROLE $q$ || $q$s$q$ || $q$ IS 'y'$q$; EXECUTE format('GRANT %1$s TO %1$s', quote_ident('r')); END $$;
DO $$ BEGIN EXECUTE concat('COMMENT ON ROLE "Q q" IS ', quote_nullable(NULL)); EXECUTE 'COMMENT ON ROLE s IS ' || quote_literal('s'); END $$;
SELECT rolname, shobj_description(oid, 'pg_authid'), pg_has_role(oid, 'r', 'MEMBER') FROM pg_roles WHERE rolname IN ('r', 's', 'Q q', 'n1', 'n 2', 'n5') ORDER BY 1;
DROP ROLE r, s, "Q q";
-- Errors about a role that the block has just made, by a name that it computes; other words with the prefix are other objects' names.
DO $$ DECLARE n text := 'brief'; BEGIN EXECUTE format('CREATE ROLE %I', n); EXECUTE format('CREATE ROLE %I', n); END $$;
DO $$ DECLARE n text := 'brief'; BEGIN EXECUTE format('CREATE ROLE %I', n); EXECUTE format('GRANT %I TO %I', n, n); END $$;
DO $$ DECLARE n text := 'brief and odd'; BEGIN EXECUTE format('CREATE ROLE %I', n); CREATE TABLE kept (); EXECUTE format('ALTER TABLE kept OWNER TO %I', n); EXECUTE format('DROP ROLE %I', n); END $$;
CREATE FUNCTION orders_odd(n text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN 'nowhere'::text || set_config('role', n, true); END $$;
DO $$ DECLARE n text := 'brief'; BEGIN EXECUTE format('CREATE ROLE %I', n); PERFORM orders_odd('nowhere'); END $$;
DROP FUNCTION orders_odd;
