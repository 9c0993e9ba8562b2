// Package manifest reads what access should be from the files that people write, and writes it.
//
//	manifest.yaml ─────────────────────────┐
//	bundle.yaml ── its fragments ──────────┤ forms      compiler
//	estate.yaml ── a manifest or bundle ───┴─────▶ entries ─────▶ access.Desired, one for each database
//	                for each database                             and one for the cluster
//	                                  ◀──── Write ────
//
// The format is that of pgroles, whose manifests, bundles and Kubernetes resources are read as they are, with additions:
// docs/manifest.md. Unlike in pgroles, a misspelt key is an error.
//
// # Forms
//
// A [form] says what is allowed in one place of a file, and a table of keys what a mapping may contain. The reader, the
// JSON Schema for editors and the tables of the reference are all made from them (keys.go, and beside what they are
// about). Reading gives entries: what was said, each with its place.
//
// # Compiler
//
// A [compiler] finds out what the documents of one database mean together. First it declares every name: by roles, by
// profiles that are bound to schemas, by the estate. Then it resolves names to roles and patterns to privileges, and merges
// what is said twice. It does not stop at a mistake: all are reported at once, each with its place, and none twice.
//
// A name means, in this order,
//
//	PUBLIC            everyone, where something is granted
//	sales.customer    the role declared with name: customer, schema: sales
//	customer          the role that is declared so: of the database, or of the cluster if it is external or the estate's
//	pg_monitor        a predefined role
//
// and nothing else: a name that nobody declares is an error or, as a default_owner, a warning. So Desired.Roles has every
// role that is mentioned, except predefined ones; a role there that was not declared is external.
//
// Nothing here talks to a server or reads a password.
package manifest
