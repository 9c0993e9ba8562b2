CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
CREATE ROLE auditor;
CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY, owner name DEFAULT current_user, txt text DEFAULT session_user, body text);
ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes USING (owner = current_user) WITH CHECK (owner = CURRENT_USER AND txt = session_user);
CREATE POLICY audit ON notes FOR SELECT TO auditor USING (true);
CREATE POLICY boss ON notes FOR SELECT USING (user = 'bob' OR upper(current_user) = 'X');
GRANT SELECT, INSERT, UPDATE ON notes TO alice, bob, auditor;
SET SESSION AUTHORIZATION alice;
INSERT INTO notes (body) VALUES ('by default');
INSERT INTO notes (owner, body) VALUES ('alice', 'by name');
INSERT INTO notes (owner, body) VALUES (current_user, 'by key word');
INSERT INTO notes (owner, body) VALUES ('bob', 'of another');
SELECT owner, txt, body FROM notes ORDER BY id;
SET SESSION AUTHORIZATION bob;
SELECT owner, txt, body FROM notes ORDER BY id;
UPDATE notes SET body = 'mine' WHERE true RETURNING body;
INSERT INTO notes (body) VALUES ('of bob');
SELECT owner FROM notes WHERE owner = current_user;
SET SESSION AUTHORIZATION auditor;
SELECT owner, body FROM notes ORDER BY id;
RESET SESSION AUTHORIZATION;
CREATE VIEW me AS SELECT current_user, session_user AS s, user::text AS u, upper(current_role) AS r WHERE current_user <> '';
CREATE MATERIALIZED VIEW mme AS SELECT current_user;
CREATE DOMAIN d AS name DEFAULT current_user CHECK (VALUE <> user);
CREATE FUNCTION f(a name DEFAULT current_user) RETURNS name LANGUAGE sql RETURN a || current_user;
CREATE RULE r AS ON DELETE TO notes DO INSTEAD UPDATE notes SET body = current_user WHERE owner = current_user;
ALTER TABLE notes ADD COLUMN who text DEFAULT 'by ' || current_user, ADD CHECK (owner <> user);
CREATE VIEW names AS SELECT user::text, (SELECT session_user), CAST(current_user AS varchar(10)), current_role UNION SELECT 'a', 'b', 'c', 'd' WHERE false;
CREATE VIEW parens AS SELECT (current_user), x.* FROM (SELECT session_user::varchar(10)) x (y);
\d+ names
\d+ parens
DROP VIEW names, parens;
GRANT SELECT ON me TO alice;
SET ROLE alice;
SELECT * FROM me;
SELECT f();
RESET ROLE;
\d notes
\d+ me
\dp notes
\dD d
\df f
\sf f
\sv me
SELECT policyname, roles, qual, with_check FROM pg_policies ORDER BY 1;
SELECT viewname, definition FROM pg_views WHERE viewname = 'me';
SELECT definition FROM pg_matviews;
SELECT definition FROM pg_rules WHERE rulename = 'r';
SELECT column_name, column_default FROM information_schema.columns WHERE table_name = 'notes' ORDER BY ordinal_position;
SELECT view_definition FROM information_schema.views WHERE table_name = 'me';
SELECT parameter_default FROM information_schema.parameters WHERE specific_schema = 'public' AND ordinal_position = 1;
SELECT domain_default FROM information_schema.domains WHERE domain_schema = 'public';
SELECT check_clause FROM information_schema.check_constraints WHERE check_clause ~ 'USER';
SELECT pg_get_expr(polqual, polrelid, true), pg_get_expr(polqual, polrelid) FROM pg_policy ORDER BY polname;
SELECT pg_get_viewdef('me'), pg_get_viewdef('me'::regclass, true);
SELECT pg_get_functiondef('f'::regproc);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tell BEFORE INSERT ON notes FOR EACH ROW WHEN (NEW.owner <> current_user) EXECUTE FUNCTION tell();
SELECT action_condition FROM information_schema.triggers;
SELECT pg_get_triggerdef(oid), pg_get_triggerdef(oid, true) FROM pg_trigger WHERE tgname = 'tell';
SELECT typdefault FROM pg_type WHERE typname = 'd';
SELECT pg_get_function_arguments('f'::regproc), pg_get_function_arg_default('f'::regproc, 1), pg_get_function_sqlbody('f'::regproc);
SELECT pg_get_constraintdef(oid), pg_get_constraintdef(oid, true) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY conname;
CREATE STATISTICS st ON (owner = current_user), id FROM notes;
SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext;
\d+ notes
CREATE POLICY p ON notes USING (nosuch = current_user);
CREATE TABLE t (a name DEFAULT current_user CHECK (nosuch));
DROP TABLE notes CASCADE;
GRANT pg_monitor TO alice;
CREATE TABLE docs (owner name DEFAULT current_user, body text DEFAULT 'by ' || pg_has_role(current_user, 'pg_monitor', 'member'));
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY monitor ON docs USING (pg_has_role(current_user, 'pg_monitor', 'member') OR owner = current_user);
CREATE POLICY reader ON docs FOR SELECT USING (has_table_privilege(user::text, 'notes', 'update') AND owner <> session_user);
CREATE POLICY admin ON docs FOR UPDATE USING (pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = 'docs'::regclass), 'member'));
GRANT SELECT, INSERT, UPDATE ON docs TO alice, bob, auditor;
CREATE VIEW mine AS SELECT has_table_privilege(current_user, 'docs', 'select'), quote_ident(current_user)::regrole::oid = to_regrole(quote_ident(user)) AS same, pg_has_role("current_user"(), 'pg_monitor', 'usage') AS monitor;
CREATE FUNCTION member(oid) RETURNS boolean LANGUAGE sql BEGIN ATOMIC SELECT pg_has_role(session_user, $1, 'member'); END;
CREATE PROCEDURE say(boolean) LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', $1; END';
GRANT SELECT ON mine TO alice, bob, auditor;
\d docs
\d+ mine
SET SESSION AUTHORIZATION alice;
INSERT INTO docs VALUES (DEFAULT);
SELECT * FROM docs;
SELECT *, member('pg_monitor'::regrole) FROM mine;
CALL say(has_table_privilege(current_user, 'docs', 'delete') OR upper(current_user) = 'ALICE');
SET SESSION AUTHORIZATION bob;
INSERT INTO docs VALUES (DEFAULT);
SELECT * FROM docs;
UPDATE docs SET body = 'x' RETURNING *;
SELECT *, member('pg_monitor'::regrole) FROM mine;
SET SESSION AUTHORIZATION auditor;
SELECT * FROM docs;
RESET SESSION AUTHORIZATION;
CREATE TABLE files (id int, owner text DEFAULT current_setting('role'), CHECK (owner <> current_setting('role', true) || 'x'));
ALTER TABLE files ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON files USING (owner = current_setting('role')) WITH CHECK (current_setting('Role'::text, false) IN ('alice', 'bob'));
CREATE POLICY boss ON files FOR SELECT USING (has_table_privilege(current_setting('role', true), 'notes', 'delete') AND pg_catalog.current_setting('session_authorization') = 'bob');
CREATE VIEW setting AS SELECT current_setting('role'), current_setting('role') AS role, upper(pg_catalog.current_setting('role', true)::varchar(10)), current_setting('work_mem') <> '' AS mem;
GRANT SELECT, INSERT ON files TO alice, bob;
GRANT SELECT ON setting TO alice;
\d files
\d+ setting
SET ROLE alice;
INSERT INTO files VALUES (1), (2) RETURNING *;
SELECT * FROM files;
SELECT * FROM setting;
SET ROLE bob;
INSERT INTO files VALUES (3, 'bob'), (4, 'alice');
INSERT INTO files VALUES (3, 'bob');
SELECT * FROM files ORDER BY id;
RESET ROLE;
INSERT INTO files VALUES (5);
TABLE files;
SELECT pg_get_expr(adbin, adrelid), pg_get_expr(adbin, adrelid, true) FROM pg_attrdef WHERE adrelid = 'files'::regclass;
EXPLAIN (COSTS OFF) SELECT * FROM files WHERE owner = 'x';
COPY files FROM STDIN WHERE owner = current_setting('role');
7	none
8	alice
\.
CALL say(current_setting('role') = 'none');
SET ROLE alice;
EXPLAIN (COSTS OFF) SELECT * FROM files;
EXPLAIN (COSTS OFF, FORMAT JSON) SELECT * FROM files;
RESET ROLE;
SELECT id FROM files ORDER BY id;
CREATE TABLE moved (id int, owner text, by text);
CREATE RULE moved AS ON DELETE TO moved DO INSTEAD UPDATE moved SET (owner, by) = (SELECT current_user, session_user), (id) = ROW(2);
INSERT INTO moved VALUES (1);
GRANT ALL ON moved TO alice;
SET ROLE alice;
DELETE FROM moved;
SELECT * FROM moved;
RESET ROLE;
\d+ moved
DROP TABLE moved;
DROP TABLE files;
DROP VIEW setting;
DROP TABLE docs;
DROP VIEW mine;
DROP MATERIALIZED VIEW mme;
DROP VIEW me;
DROP FUNCTION f;
DROP DOMAIN d;
DROP ROLE alice, bob, auditor;
-- As a dump with --quote-all-identifiers reads them.
CREATE TABLE kept (a text DEFAULT current_user, b text DEFAULT current_setting('role'), CHECK (a = session_user));
CREATE POLICY p ON kept USING (a = current_user AND b = current_setting('role', true));
CREATE VIEW keeps AS SELECT current_user, user AS u, current_setting('role') AS r;
SET quote_all_identifiers = on;
SELECT pg_get_viewdef('keeps'::regclass), pg_get_viewdef('keeps'::regclass, true);
\d kept
\d+ keeps
EXPLAIN (COSTS off) SELECT * FROM keeps;
RESET quote_all_identifiers;
DROP VIEW keeps;
DROP TABLE kept;
