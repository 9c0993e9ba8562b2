SET standard_conforming_strings = off;
SET escape_string_warning = off;
CREATE ROLE reader;
COMMENT ON ROLE reader IS 'it\'s; GRANT nobody TO reader';
SELECT shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolname LIKE '%reader';
CREATE ROLE writer PASSWORD 'a\\b'; GRANT reader TO writer;
SET ROLE '\162eader';
RESET ROLE;
DO 'BEGIN COMMENT ON ROLE reader IS ''\\''''; GRANT reader TO nobody; END';
COMMENT ON ROLE reader IS '\''; GRANT reader TO nobody;
COMMENT ON ROLE reader IS '\'; GRANT reader TO nobody nonsense
;
SET standard_conforming_strings = on;
COMMENT ON ROLE reader IS '\'; DROP ROLE reader, writer;
