SELECT 1 \; SELECT 2 \; CREATE ROLE last;
CREATE ROLE first \; SELECT 1 \; SELECT 2;
SELECT 1 \; GRANT last TO first \; SELECT 2;
SELECT 1 \; GRANT last TO nobody \; SELECT 2;
SELECT 'CREATE ROLE x; DROP ROLE y' \; COMMENT ON ROLE first IS 'GRANT a TO b; -- /* '';';
BEGIN \; CREATE ROLE lost \; ROLLBACK \; DROP ROLE lost;
BEGIN \; CREATE ROLE lost \; SELECT 1/0 \; COMMIT;
ROLLBACK;
DROP ROLE lost;
BEGIN \; CREATE ROLE kept \; COMMIT \; SELECT 1/0 \; CREATE ROLE lost;
DROP ROLE kept;
DROP ROLE lost;
CREATE ROLE a \; ALTER ROLE a RENAME TO b \; GRANT b TO first \; DROP ROLE b \; DROP ROLE a;
SELECT format('CREATE ROLE %I', 'gen ' || i) FROM generate_series(1, 3) i \gexec
SELECT format('DROP ROLE %I', 'gen ' || i) FROM generate_series(0, 3) i \gexec
DO $$ BEGIN RAISE NOTICE 'no role: %', 1; END $$;
CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN RAISE EXCEPTION 'role "first" is tired'; END $f$;
SELECT f();
PREPARE p (int) AS SELECT $1 AS "CREATE ROLE x";
EXECUTE p(1);
DEALLOCATE p;
CREATE TABLE "user" ("role" text, "group" text, owner text);
INSERT INTO "user" VALUES ('GRANT', 'first', 'last'), ('a''b', NULL, '');
SELECT "role", "group", owner FROM "user" ORDER BY 1;
COPY "user" FROM STDIN;
GRANT	first	last
CREATE ROLE x;	\N	\\.
\.
COPY (SELECT * FROM "user" WHERE owner = 'last') TO STDOUT;
DECLARE c CURSOR WITH HOLD FOR SELECT "role" FROM "user" ORDER BY 1;
FETCH 1 FROM c;
GRANT SELECT ON "user" TO first;
FETCH 1 FROM c;
CLOSE c;
EXPLAIN (COSTS off) SELECT * FROM "user" WHERE "role" = 'first';
GRANT SELECT ("role") ON "user" TO first; -- GRANT last TO first
/* DROP ROLE first; */ SELECT 1;
DROP TABLE "user";
DROP ROLE first, last;
