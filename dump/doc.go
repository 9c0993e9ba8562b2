// Package dump writes the roles of databases as SQL, and joins them with what pg_dump writes, so that one file carries a
// database with its roles.
//
//	server ──▶ Database, Globals ──▶ Roles ──▶ Write ──────────▶ the preamble: CREATE DBONLY ROLE …
//	pg_dump, through a proxy of its own ──▶ Join(roles, …) ──▶ preamble and dump, each thing when it can be made
//
// Names are short, and those of a database's own roles are written with DBONLY or with their schema, so a
// file can be restored through the proxy into any database, in any mode. It takes psql, since the database's
// name is a psql variable in the file: nothing in it depends on where it came from, and the dump of a copy
// equals the dump that the copy was made of.
package dump
