// Package rewrite finds the role names in a client's SQL, maps them to the cluster's and maps the answers' texts back.
// It is the only package that knows PostgreSQL's grammar, and the only one with cgo in it.
//
//	sql ──▶ MayNameRole ──no──▶ forwarded as it is (no allocation, no parse)
//	             │ may
//	             ▼
//	          Analyze      scan, parse, walk: which names stand where, what each statement wants   (by text: cache it)
//	             │ Names() ──▶ scope.Inquiry ──▶ scope.View
//	             ▼
//	          Rewrite      resolve, ask the policy, splice                                         (by session)
//	             │
//	             ▼
//	          Result       the text to send, the edits, the refusals, the actions
//
// # What is rewritten, what is refused, what is left alone
//
//	role names in role DDL, privileges, memberships, ownership,    spliced: only the name's own bytes change
//	policies, user mappings, comments, labels, SET ROLE and the
//	like, in whatever nesting
//	PUBLIC, CURRENT_USER, CURRENT_ROLE, SESSION_USER, NONE, ALL    left alone
//	CREATE ROLE in a scope                                         spliced, and the marker joins its IN ROLE list
//	CREATE SCHEMA AUTHORIZATION r                                  spliced, and the schema gets the short name
//	DBONLY                                                         understood and taken out
//	a name that cannot be resolved or located with certainty,      that statement is refused in place, see [RefusalSQL]
//	what the policy forbids, md5 passwords of scoped roles,
//	ALTER ROLE ALL of the whole cluster
//	DROP, RENAME and copy of a database, DROP and RENAME of a      left alone, and told: [Analysis.Changes]
//	schema
//	a text that does not parse and may name a role                 refused whole: [Analyze] returns an [Error]
//	a text that does not parse and names none                      forwarded: the server gives its own error
//
// Why the text is spliced and never deparsed: docs/adr/0002-splice-by-location-and-token.md.
package rewrite
