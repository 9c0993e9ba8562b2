CREATE ROLE alice LOGIN;
CREATE TABLE t (id int, pub bool, owner name DEFAULT current_user);
GRANT ALL ON t TO alice;
CREATE VIEW v1 AS SELECT id, CASE WHEN pub THEN 'all'::name ELSE current_user END FROM t;
CREATE VIEW v2 AS SELECT current_user LIMIT 1;
CREATE VIEW v3 AS SELECT current_user, count(*) FROM t GROUP BY current_user ORDER BY current_user;
CREATE VIEW v4 AS SELECT current_user GROUP BY 1;
CREATE VIEW v5 AS SELECT current_user HAVING true;
CREATE VIEW v6 AS SELECT session_user OFFSET 0;
CREATE VIEW v7 AS SELECT session_user INTERSECT SELECT user ORDER BY "session_user";
CREATE VIEW v8 AS (SELECT current_role EXCEPT SELECT 'x') FETCH FIRST ROW ONLY;
CREATE VIEW v9 AS SELECT user FOR UPDATE;
CREATE VIEW v10 AS SELECT current_user WINDOW w AS ();
CREATE VIEW v11 AS SELECT current_user COLLATE "C", (CASE pub WHEN true THEN 'a' ELSE user::text END)::varchar(20), NULL FROM t;
CREATE VIEW v12 AS SELECT CASE WHEN true THEN 'x'::name ELSE CASE WHEN false THEN 'y' ELSE current_user END END, (SELECT session_user ORDER BY 1) WITH CASCADED CHECK OPTION;
CREATE VIEW v12 AS SELECT CASE WHEN true THEN 'x'::name ELSE CASE WHEN false THEN 'y' ELSE current_user END END, (SELECT session_user ORDER BY 1);
CREATE VIEW v13 AS SELECT current_user::character varying, '2020-01-01 ' || session_user, user::double precision FROM t WHERE false;
CREATE VIEW v14 AS SELECT (ARRAY[current_user])[1], x.* FROM (SELECT (current_user)::text::timestamp with time zone FETCH FIRST ROW ONLY) x WHERE false;
CREATE VIEW v15 AS SELECT nullif(current_user, 'x'), greatest(user, 'x'), coalesce(user, 'x'), ARRAY(SELECT user), EXISTS (SELECT user);
CREATE VIEW v16 AS SELECT s.session_user FROM (SELECT session_user LIMIT 1) s;
CREATE MATERIALIZED VIEW v17 AS SELECT current_user WITH NO DATA;
CREATE MATERIALIZED VIEW v18 AS SELECT session_user ORDER BY 1 WITH DATA;
CREATE SCHEMA s CREATE VIEW v AS SELECT current_user CREATE VIEW w AS SELECT user, session_user GRANT SELECT ON w TO alice;
CREATE FUNCTION f() RETURNS SETOF name LANGUAGE sql BEGIN ATOMIC WITH x AS (INSERT INTO t DEFAULT VALUES RETURNING owner, current_user) SELECT x.current_user FROM x; SELECT user; END;
SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attnum > 0 AND relkind IN ('v', 'm') AND relnamespace >= 2200 AND relnamespace <> 'information_schema'::regnamespace ORDER BY length(attrelid::regclass::text), 1, attnum;
\d+ v1
\d+ v11
\d+ v12
\d+ s.w
SELECT current_user COLLATE "C", CASE WHEN true THEN 'x'::name ELSE user END, nullif(current_user, 'x')::text;
SELECT nullif('alice', 'x')::regrole, greatest('alice', 'alice')::regrole, (SELECT 'alice')::regrole, (SELECT 'alice' AS x)::regrole, (VALUES ('alice'))::regrole, (SELECT user UNION SELECT 'alice' ORDER BY 1 LIMIT 1)::regrole::text, ('alice' COLLATE "C")::regrole;
SET ROLE alice;
COPY t FROM STDIN WHERE owner = current_user OR owner = upper(session_user);
1	t	alice
2	f	bob
\.
COPY t (id, owner) FROM STDIN WHERE owner <> CURRENT_ROLE;
3	alice
4	bob
\.
SELECT id, owner FROM t ORDER BY id;
PREPARE p (text) AS SELECT $1, $1 = current_user;
EXECUTE p(current_user);
PREPARE q (text) AS SELECT $1;
EXPLAIN (COSTS OFF) EXECUTE q(user);
CREATE TEMP TABLE kept AS EXECUTE p(current_user);
TABLE kept;
RESET ROLE;
CREATE PROCEDURE say(a name, b text DEFAULT 'x') LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% %', a, b; END $$;
CALL say(session_user);
SET ROLE alice;
CALL say(current_user, b => 'by ' || user);
DO $$ BEGIN CALL say(current_user); END $$;
RESET ROLE;
DROP PROCEDURE say;
DROP FUNCTION f;
DROP SCHEMA s CASCADE;
DROP TABLE t CASCADE;
DROP VIEW v2, v4, v5, v6, v7, v8, v9, v10, v12, v15, v16;
DROP MATERIALIZED VIEW v17, v18;
DROP ROLE alice;
