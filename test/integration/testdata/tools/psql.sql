-- What psql sends beside its commands of the script catalog_psql: completion of names, and commands that it does not have.
CREATE ROLE reader;
CREATE ROLE writer LOGIN;
CREATE VIEW v AS SELECT current_user AS who;
ALTER VIEW v OWNER TO reader;
ALTER ROLE writer SET work_mem = '3MB';
SELECT pg_catalog.quote_ident(rolname) FROM pg_catalog.pg_roles WHERE substring(pg_catalog.quote_ident(rolname), 1, 2) = 'wr';
SELECT rolname FROM pg_catalog.pg_roles WHERE rolname LIKE 'wr%' ORDER BY 1;
SELECT pg_catalog.split_part(pg_catalog.unnest(rolconfig), '=', 1) FROM pg_catalog.pg_roles WHERE rolname LIKE 'writer';
SELECT pg_catalog.quote_ident(usename) FROM pg_catalog.pg_user_mappings WHERE usename LIKE 'w%';
\sv v
\dRs
\dAc+ btree bool
\dconfig+ work_mem
\dFt simple
\dF+ simple
\dC int4
\l orders
\dn+ public
\da reader
DROP VIEW v;
DROP ROLE reader, writer;
