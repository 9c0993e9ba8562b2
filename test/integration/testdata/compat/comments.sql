-- Comments where the grammar looks ahead.
CREATE ROLE reader;
CREATE ROLE writer;
CREATE TABLE t (a int);
SELECT rolname FROM pg_roles WHERE rolname NOT /* é */ LIKE 'pg_%' AND rolname NOT -- é
  IN ('postgres') ORDER BY rolname NULLS /**/ LAST;
SELECT rolname, nosuch FROM pg_roles WHERE rolname NOT /* é */ LIKE 'pg_%';
SELECT rolname, u.* FROM pg_roles, LATERAL unnest(ARRAY[1]) WITH /* c */ ORDINALITY u WHERE rolname NOT /* c */ BETWEEN 'a' AND 'q' AND rolvaliduntil::timestamp WITH /* c */ TIME ZONE IS NULL ORDER BY 1;
GRANT SELECT ON t TO U&"r!0065ader" /* é */ UESCAPE -- é
 '!', writer;
CREATE POLICY p ON t TO reader USING (a NOT /* é */ IN (1) AND current_user NOT -- é
  LIKE 'x');
CREATE POLICY q ON t TO nobody /* é */, reader USING (a NOT /* é */ IN (1));
CREATE POLICY q ON t TO reader /* é */ USING (a NOT /* é */ IN (1) 1);
DO $$ BEGIN IF 1 NOT /* é */ IN (2) THEN REVOKE SELECT ON t FROM writer; END IF; END $$;
\dp t
DROP TABLE t;
DROP ROLE reader, writer;
