// Package manifest reads what access should be from the files that people write, and writes it.
//
//	manifest.yaml ─────────────────────────┐
//	bundle.yaml ── its fragments ──────────┤ forms      compiler
//	estate.yaml ── a manifest or bundle ───┴─────▶ entries ─────▶ access.Desired, one for each database
//	                for each database                             and one for the cluster
//	                                  ◀──── Write ────
//
// The format is that of pgroles, of which manifests, bundles and Kubernetes resources are read as they are, and more:
// docs/manifest.md. Unlike there, what is misspelt is an error.
//
// # Forms
//
// A [form] says what may stand in one place; a table of keys, what a mapping has. The reader, the JSON Schema that editors
// complete by, and the tables of the reference are made from them (keys.go, and beside what they are about). What they give
// is entries: what was said, each with its place.
//
// # Compiler
//
// A [compiler] finds out what the documents of one database mean together. First every name is declared, by roles, by
// profiles that are bound to schemas, by the estate. Then names lead to roles, patterns to privileges, and what is said
// twice is put together. It does not stop at a mistake: all are told at once, each in its place, and none twice.
//
// A name means, in this order,
//
//	PUBLIC            everyone, where something is granted
//	sales.customer    the role declared with name: customer, schema: sales
//	customer          the role that is declared so: of the database, or of the cluster if it is external or the estate's
//	pg_monitor        a predefined role
//
// and nothing else: a name that nobody declares is an error, or, as a default_owner, a warning. So every role that something
// is said of, but the predefined ones, is in Desired.Roles; who stands there without being declared is external.
//
// Nothing here talks to a server or reads a password.
package manifest
