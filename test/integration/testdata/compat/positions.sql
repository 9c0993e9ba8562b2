CREATE ROLE reader;
CREATE TABLE t (a int);
/* é ü */ CREATE POLICY p ON t TO reader USING (nosuch = 1);
GRANT reader TO "no one", reader; SELECT nosuch;
CREATE SCHEMA s AUTHORIZATION reader CREATE TABLE u (a nosuchtype);
ALTER ROLE reader
  CONNECTION LIMIT -5;
CREATE ROLE "public";
CREATE ROLE none;
SELECT 'a' FROM nosuch; -- reader
DROP TABLE t;
DROP ROLE reader;
