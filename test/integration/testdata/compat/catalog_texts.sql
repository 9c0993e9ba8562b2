-- Texts that are made of access lists and regroles, wherever a query has them from.
CREATE ROLE r;
CREATE ROLE "Q q";
CREATE TABLE t (a int, o text, acl text);
INSERT INTO t VALUES (1, 'orders_r', '{a}');
GRANT SELECT ON t TO r, "Q q";
ALTER TABLE t OWNER TO r;
-- Expressions.
SELECT ROW(relacl || makeaclitem('r'::regrole, 10, 'SELECT', false), NULL)::text, (1, relacl || relacl)::text FROM pg_class WHERE relname = 't';
SELECT (ARRAY['r', 'postgres']::regrole[])[1]::text, (ARRAY['r'::regrole])[1]::text, (ARRAY[relowner]::regrole[])[1:2]::text FROM pg_class WHERE relname = 't';
SELECT 'x' OPERATOR(pg_catalog.||) relowner::regrole, array_to_string(relacl OPERATOR(pg_catalog.||) relacl, ',') FROM pg_class WHERE relname = 't';
SELECT array_append(relacl, makeaclitem('r'::regrole, 10, 'SELECT', false))::text, array_cat(relacl, relacl)::text, array_remove(relacl, relacl[1])::text FROM pg_class WHERE relname = 't';
SELECT array_prepend('r'::regrole, ARRAY['"Q q"'::regrole])::text, NULLIF(relacl, '{}')::text, GREATEST(relowner::regrole, 'r'::regrole)::text FROM pg_class WHERE relname = 't';
SELECT unnest('{r}'::regrole[])::text, unnest(ARRAY['r'::regrole]) || '', (SELECT relacl FROM pg_class WHERE relname = 't')::text;
SELECT ARRAY(SELECT unnest(relacl))::text, array_to_string(ARRAY(SELECT unnest(relacl)), ','), ARRAY(SELECT x::text FROM unnest(relacl) x) FROM pg_class WHERE relname = 't';
-- Arrays that an aggregate makes, or whose type has another name, keep their type.
SELECT array_agg(relowner::regrole), array_agg(relacl[1]), '{r}'::_regrole, '{r}'::regrole ARRAY, relacl::_aclitem FROM pg_class WHERE relname = 't' GROUP BY relacl \gdesc
SELECT array_agg(relowner::regrole), array_agg(relacl[1]), (array_agg(relowner::regrole))[1]::oid = 'r'::regrole, 'r'::regrole = ANY (array_agg(relowner::regrole)) FROM pg_class WHERE relname = 't';
SELECT array_agg(relowner::regrole)::text, array_to_string(array_agg(DISTINCT relowner::regrole), ','), (array_agg(relowner::regrole) FILTER (WHERE true))::text, json_agg(array_agg(relacl[2])) OVER (), concat(array_agg(relowner::regrole) FILTER (WHERE true)) FROM pg_class WHERE relname = 't';
SELECT array_agg(relowner::regrole) OVER (PARTITION BY relname)::text, array_agg(relowner::regrole) OVER w || '{}' FROM pg_class WHERE relname = 't' WINDOW w AS ();
SELECT json_agg(s) FROM (SELECT array_agg(oid::regrole ORDER BY rolname) AS a FROM pg_roles WHERE rolname IN ('r', 'Q q')) s;
SELECT max(s.a::text) FROM (SELECT array_agg(oid::regrole ORDER BY rolname) AS a FROM pg_roles WHERE rolname IN ('r', 'Q q')) s;
SELECT ARRAY['r']::_regrole, '{r,"\"Q q\""}'::pg_catalog._regrole::text, relacl::_aclitem::text, (relacl::aclitem ARRAY[1])::text FROM pg_class WHERE relname = 't';
SELECT '{r}'::regrole ARRAY, ARRAY[relowner]::regrole ARRAY[3] ::text, CAST('{r}' AS regrole ARRAY), concat(relacl::aclitem ARRAY) FROM pg_class WHERE relname = 't';
-- Other functions and constructs that make texts of anything.
SELECT quote_nullable(relowner::regrole), quote_literal(relacl), quote_nullable(relacl[1]) FROM pg_class WHERE relname = 't';
SELECT xmlelement(name x, xmlattributes(relowner::regrole AS o), relowner::regrole, relacl, current_user), xmlforest(relacl[1] AS l, relowner::regrole AS o, relname), xmlpi(name x, relowner::regrole::text) FROM pg_class WHERE relname = 't';
SELECT JSON_OBJECT('o': relowner::regrole, 'l' VALUE relacl, relowner::regrole: current_user), JSON_ARRAY(relowner::regrole, relacl[2], user), JSON_ARRAY(SELECT oid::regrole FROM pg_roles WHERE rolname = 'r') FROM pg_class WHERE relname = 't';
SELECT JSON_OBJECTAGG(relname: relowner::regrole), JSON_ARRAYAGG(relacl ORDER BY relname RETURNING jsonb), JSON_ARRAYAGG(relowner::regrole) FILTER (WHERE true) FROM pg_class WHERE relname = 't';
SELECT j.x, j.y FROM JSON_TABLE(to_jsonb(current_user), '$' PASSING 1 AS u COLUMNS (x text PATH '$', y int PATH '$u')) j WHERE j.x = current_user;
SELECT JSON_SCALAR(current_user), JSON_VALUE('{}', '$.a' DEFAULT current_user ON EMPTY);
COPY (VALUES (current_user, 'r'::regrole, ARRAY['r'::regrole]), ('x', NULL, '{}')) TO STDOUT;
SELECT row_to_json(v), v.column2 FROM (VALUES ('r'::regrole, 1)) v;
-- Columns of subqueries, WITH queries, functions and VALUES; others of the same names are what they are.
SELECT s.acl::text, o::text, o || '!', array_to_string(s.acl, ','), s.acl[1]::text, cardinality(s.acl), (aclexplode(s.acl)).privilege_type FROM (SELECT relacl AS acl, relowner::regrole AS o FROM pg_class WHERE relname = 't') s;
SELECT acl::text FROM (SELECT 'x'::text AS acl) s, (SELECT relacl AS list FROM pg_class WHERE relname = 't') q;
SELECT (SELECT s.o::text FROM t) FROM (SELECT relowner::regrole AS o FROM pg_class WHERE relname = 't') s;
SELECT (SELECT t.o::text FROM t), s.relacl::text FROM (SELECT relowner::regrole AS o, relacl::text FROM pg_class WHERE relname = 't') s;
SELECT s.o::text FROM (SELECT relowner::regrole AS o, x.o AS other FROM pg_class, t x WHERE relname = 't') s JOIN t ON t.o <> s.o::text;
WITH s (o) AS (SELECT relowner::regrole FROM pg_class WHERE relname = 't'), z AS (SELECT * FROM s) SELECT z.o::text, z.o || 'x', q.o::text FROM z, LATERAL (SELECT z.o) q;
WITH RECURSIVE s (o, n) AS (SELECT relowner::regrole, 1 FROM pg_class WHERE relname = 't' UNION ALL SELECT o, n + 1 FROM s WHERE n < 3) SELECT o::text, n FROM s;
SELECT o::text, count(*) FROM (SELECT relowner::regrole AS o FROM pg_class WHERE relname = 't') s GROUP BY o::text HAVING o::text <> 'x' ORDER BY o::text;
SELECT DISTINCT o::text FROM (SELECT relowner::regrole AS o FROM pg_class WHERE relname = 't' UNION SELECT NULL) s ORDER BY o::text;
SELECT x.item::text, n FROM pg_class, unnest(relacl) WITH ORDINALITY AS x (item, n) WHERE relname = 't';
SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM pg_class c CROSS JOIN LATERAL unnest(c.relacl) AS x WHERE relname = 't';
SELECT c::text, v.r::text, column1::text FROM (VALUES ('r'::regrole)) v (r), (VALUES (1, '"Q q"'::regrole)) w (b, c), (VALUES ('r'::regrole)) y;
SELECT x::text, x FROM unnest('{r}'::regrole[]) x;
INSERT INTO t SELECT 2, s.o::text, s.list::text FROM (SELECT relowner::regrole AS o, relacl AS list FROM pg_class WHERE relname = 't') s RETURNING *;
UPDATE t SET o = s.o::text || '2' FROM (SELECT relowner::regrole AS o FROM pg_class WHERE relname = 't') s WHERE t.o = s.o::text RETURNING t.o, s.o::text;
DELETE FROM t USING (SELECT relowner::regrole AS o FROM pg_class WHERE relname = 't') s WHERE t.o = s.o::text || '2' RETURNING s.o::text;
COPY (SELECT s.list, s.list::text, s.o FROM (SELECT relacl AS list, relowner::regrole AS o FROM pg_class WHERE relname = 't') s) TO STDOUT;
SELECT s.o, s.list, s.list::text FROM (SELECT relacl AS list, relowner::regrole AS o FROM pg_class WHERE relname = 't') s \gdesc
-- Joins that have a name, and columns that get their type from another query of a union, or another row.
SELECT j.o::text, j.o || '!', j.relname FROM ((SELECT relowner::regrole AS o FROM pg_class WHERE relname = 't') a JOIN pg_class c ON a.o::text = 'r' AND c.relname = 't') j;
SELECT o::text, j.acl::text, j.list::text FROM ((SELECT relowner::regrole AS o, relacl AS list FROM pg_class WHERE relname = 't') a CROSS JOIN t) AS j;
SELECT j.o::text, k.o::text FROM (t CROSS JOIN (SELECT 1) one) j, ((SELECT relowner::regrole AS o FROM pg_class WHERE relname = 't') a JOIN (SELECT 'r'::regrole AS o) b USING (o)) k;
SELECT o::text FROM (SELECT NULL AS o UNION SELECT relowner::regrole FROM pg_class WHERE relname = 't') s ORDER BY o::text;
SELECT o::text, n FROM (SELECT 1 AS n, '0' AS o UNION ALL (SELECT 2, NULL UNION SELECT 3, relowner::regrole FROM pg_class WHERE relname = 't')) s ORDER BY n;
SELECT o::text, l::text FROM (SELECT relowner::regrole AS o, relacl AS l FROM pg_class WHERE relname = 't' INTERSECT SELECT relowner::regrole, relacl FROM pg_class) s;
SELECT o::text, l::text FROM (SELECT relowner::regrole, '{}' FROM pg_class WHERE relname = 't' EXCEPT ALL SELECT NULL, relacl FROM pg_class) s (o, l);
SELECT o::text, l::text FROM (SELECT relowner::regrole, min(l::text) FROM (SELECT relowner, relacl AS l FROM pg_class WHERE relname = 't' GROUP BY 1, 2) c GROUP BY 1) s (o, l);
SELECT o::text FROM (SELECT 0 AS o UNION SELECT relowner::regrole FROM pg_class WHERE relname = 't') s ORDER BY o::text;
SELECT o::text = 'r' FROM (SELECT relowner AS o FROM pg_class WHERE relname = 't' UNION SELECT relowner::regrole FROM pg_class WHERE relname = 't') s;
SELECT column1::text, column2::text, c::text FROM (VALUES (NULL, 'x'), ('r'::regrole, 'y')) v, (VALUES ('{}'), (ARRAY['r'::regrole])) w (c) ORDER BY 2, 3;
WITH RECURSIVE s (o, n) AS (SELECT NULL, 1 UNION ALL SELECT relowner::regrole, n + 1 FROM s, pg_class WHERE relname = 't' AND n < 3) SELECT o::text, n FROM s ORDER BY n;
WITH a AS (SELECT NULL AS o UNION TABLE b), b AS (SELECT 'r'::regrole AS o) SELECT o::text FROM a;
SELECT o::text FROM (SELECT *, 1 FROM (SELECT 'r'::regrole AS o) a UNION SELECT NULL, 2) s ORDER BY 1;
SELECT o::text = 'r' FROM (SELECT relowner::regrole AS o FROM pg_class WHERE relname = 't' UNION SELECT relowner FROM pg_class WHERE relname = 't') s;
-- Rows of subqueries, where nobody else says what is in them.
SELECT row_to_json(s) FROM (SELECT relowner::regrole AS o, relacl, 1 AS n FROM pg_class WHERE relname = 't') s WHERE s.n = 1 ORDER BY s.n;
SELECT json_agg(s ORDER BY s.relname) FROM (SELECT relname, relowner::regrole, relacl AS privileges FROM pg_class WHERE relname = 't' ORDER BY relname) s;
SELECT s::text FROM (SELECT relowner::regrole AS o, relacl AS list FROM pg_class WHERE relname = 't') s;
WITH c AS (SELECT relname, relowner::regrole AS own, relacl AS privileges FROM pg_class WHERE relname = 't') SELECT json_agg(to_jsonb(c)) FROM c;
SELECT row_to_json(s)->>'n', s.o = 'r'::regrole, s.o FROM (SELECT relowner::regrole AS o, 1 AS n FROM pg_class WHERE relname = 't') s;
SELECT json_agg(s)->0->'count' FROM (SELECT relowner::regrole AS o, count(*) FROM pg_class WHERE relname = 't' GROUP BY relowner::regrole) s;
SELECT json_agg(s)->0->'n' FROM (SELECT relowner::regrole AS o, 1 AS n FROM pg_class WHERE relname = 't' UNION ALL SELECT 10, 2 ORDER BY n) s;
SELECT count(to_json(s)) FROM (SELECT DISTINCT relowner::regrole AS o, 1 AS n FROM pg_class WHERE relname = 't' ORDER BY 1) s;
SELECT row_to_json(s)->'a', cardinality(s.b), x.privilege_type FROM (SELECT relname, relacl FROM pg_class WHERE relname = 't') AS s (a, b), aclexplode(s.b) x ORDER BY 3;
SELECT row_to_json(s)->'n' FROM (SELECT relowner::regrole AS o, 1 AS n FROM pg_class WHERE relname = 't') s JOIN (SELECT oid AS o FROM pg_roles) z USING (o);
SELECT row_to_json(s)->'n', aclexplode((s).list) IS NULL FROM (SELECT relacl AS list, 1 AS n FROM pg_class WHERE relname = 't') s;
WITH c AS (SELECT relacl AS list, 1 AS n FROM pg_class WHERE relname = 't') SELECT row_to_json(c)->'n', cardinality(d.y), aclexplode(d.y) IS NULL FROM c, c AS d (y);
DROP TABLE t;
DROP ROLE r, "Q q";
