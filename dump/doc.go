// Package dump writes the roles of databases as SQL, and joins them with what pg_dump writes, so that one file carries a
// database with its roles.
//
//	server ──▶ Read ──▶ Roles ──▶ WriteTo ───────────────────────────▶ the preamble: CREATE DBONLY ROLE …
//	pg_dump, through a proxy of its own ──▶ Join(roles, …) ──▶ preamble and dump, each thing when it can be made
//
// Names are short, and those of a database's own roles are said with DBONLY or with their schema: a file is restored by
// psql through the proxy, into any database, in any mode. psql because the name of the database is a variable of psql's
// there: nothing in a file depends on where it came from, so that the dump of a copy equals the dump that it was made of.
package dump
