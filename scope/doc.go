// Package scope is the one place that knows how role names map.
//
// A cluster has one set of roles; a client of the proxy sees the roles of its database. Two types keep the two
// apart, so that mixing them does not compile:
//
//	Short     what a client says          customer
//	Cluster   what the server stores      orders_customer     (prefix + "_" + short name)
//
// # Which role belongs to which database
//
// The prefix makes names unique; it does not say whose a role is: database a with role b_c and database a_b with
// role c both ask for a_b_c. What decides is membership in the database's marker, a NOLOGIN role:
//
//	pgscope_db_orders   comment: {"oid":16384,"database":"orders","prefix":"orders","version":1}
//	  ├── orders_customer
//	  └── orders_reader
//
// A role belongs to a database iff it is a member of the marker and carries its prefix; a member without the prefix
// is a person who administers the roles of that database. The server keeps that fact in the same transaction as the
// role itself (CREATE ROLE … IN ROLE marker), and drops it with the role.
//
// # How a name is resolved
//
// [Inquiry] asks the server about a handful of names, [View] holds the answer and applies the rules to it:
// predefined roles (pg_*) → a role of this database → a global role, one that belongs to no database → does not exist.
// Roles of other databases, and the markers themselves, do not exist under any spelling.
//
// # When a database or schema is dropped, renamed or copied
//
// [Survey] asks the server for markers and what is left of what they are for; [Estate] holds the answer and tells what is to
// be done about it, as SQL: docs/adr/0005-database-life-cycle.md.
//
// The package does no I/O and imports nothing but the standard library.
package scope
