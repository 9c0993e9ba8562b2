// Package scope is the one place that knows how role names map.
//
// A cluster has one set of roles; a client of the proxy sees the roles of its database. Two types keep the two
// apart, so that mixing them does not compile:
//
//	Short     what a client says          customer
//	Cluster   what the server stores      orders_customer     (prefix + "_" + short name)
//
// # Which role belongs to which scope
//
// A scope is a database, or a schema of a database. The prefix makes names unique; it does not say whose a role is:
// database a with role b_c and database a_b with role c both ask for a_b_c. What decides is membership in the scope's
// marker, a NOLOGIN role with a comment:
//
//	pgscope_db_orders                 {"oid":16384,"database":"orders","prefix":"orders","version":1}
//	  ├── orders_customer             customer
//	  ├── orders_reader               reader
//	  └── pgscope_schema_orders_sales {"oid":16384,"database":"orders","prefix":"orders","schema":"sales","schemaoid":30000,"version":1}
//	        └── orders_sales_customer sales.customer
//
// A role belongs to a scope iff it is a member of the marker and carries its prefix; a member without the prefix
// is a person who administers the roles of that scope. The server keeps that fact in the same transaction as the
// role itself (CREATE ROLE … IN ROLE marker), and drops it with the role. Where two scopes want the same cluster name, the
// first one gets it, and the other is told whose it is.
//
// A marker is found by its comment, not by its name: by the OIDs in the comment or, where nothing has these
// OIDs (after a dump was restored, or a schema dropped and made again), by the names in it. A marker whose
// name would be too long or, because of underscores, ambiguous, has numbers in its name:
// pgscope_schema_16384_30000. A renamed schema keeps its prefix.
//
// # How a name is resolved
//
// [Database.Inquire] says what to ask the server about a handful of names, [Inquiry] asks, [View] holds the answer and
// applies the rules to it:
//
//	pg_monitor         a predefined role
//	sales.customer     the role of that schema; DROP ROLE finds it even if the schema is gone
//	customer           a role of a schema along the search_path, as the server reports it: schemas without USAGE are skipped
//	                   → a role of this database
//	                   → a global role, one that belongs to no scope
//	                   → does not exist
//
// CREATE ROLE customer makes a role of the database, wherever the search_path leads. Roles of other databases, and the
// markers themselves, do not exist under any spelling. A role of a schema is shown as sales.customer, as the server shows
// tables, without quotes; it cannot log in.
//
// # When a database or schema is dropped, renamed or copied
//
// [Survey] asks the server for all markers, and which of their databases and schemas still exist. [Inventory] holds the answer
// and says, as SQL, what is to be done about it: docs/adr/0005-database-life-cycle.md.
//
// The package does no I/O and imports nothing but the standard library.
package scope
