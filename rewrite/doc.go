// Package rewrite finds the role names in a client's SQL and maps them to the cluster's, and maps the texts of answers
// back. It is the only package that knows PostgreSQL's grammar, and the only one with cgo in it.
//
//	sql ──▶ MayNameRole, MayReadRoles ──no──▶ forwarded as it is (no allocation, no parse)
//	             │ may
//	             ▼
//	          Analyze      decode, scan, parse, walk: where the names are, what each statement wants   (per text: cache it)
//	             │ Inquire ──▶ scope.Inquiry ──▶ the server ──▶ scope.View
//	             ▼
//	          Rewrite      resolve, ask the policy, splice                                             (per session)
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
//	DBONLY, and the schema before a role's name                    understood and taken out: extension.go
//	"$user" in a search_path that is set for the session           becomes the short name of the current role
//	a name that cannot be resolved or located with certainty,      that statement is refused in place, see [RefusalSQL]
//	what the policy forbids, md5 passwords of scoped roles,
//	ALTER ROLE ALL of the whole cluster
//	queries that read or say names by means of SQL: catalogs,      spliced: a subselect or an expression that speaks short
//	current_user, has_…_privilege, regrole, access lists           names stands in their place, see [lens]
//	access lists and regroles in results, SHOW of a role           left alone, and told: [Analysis.Results]; their values are
//	                                                               mapped in the rows, [Localizer.Value]
//	CURRENT_USER in what the server keeps: views, policies,        spliced: an expression without a subquery, which is taken
//	defaults                                                       out again where the text is read
//	static SQL of DO blocks, constant strings of EXECUTE in them,  as statements outside, the whole DO being one; queries
//	also those that format puts names of other objects into        in it show short names
//	bodies of functions, EXECUTE of a computed string              left alone, with a notice where they speak of roles
//	DROP, RENAME and copy of a database, DROP and RENAME of a      left alone, and told: [Analysis.Changes]
//	schema
//	a text with a statement that does not parse, and may name a    refused, all of it, as the server refuses what is no SQL; of a
//	role; with DBONLY or a schema where no role's name is          server that may read more, its own error is the answer
//	a statement that does not parse and names none                 forwarded: the server gives its own error
//	a query that cannot be read: too deep, of unknown characters   forwarded, unless it may call set_config
//
// # The files, in reading order
//
//	prefilter.go       may a text name a role?                        wordset.go; catalog_prefilter.go: or read roles?
//	analyze.go         Analyze: the statements of a text              parse.go, token.go: trees, and tokens beside them; unreadable.go
//	statement.go       what is known of one                           reader.go: how it is found; tree.go: how trees are walked
//	nodes.go           what each kind of statement wants              node_role.go, node_set.go, change.go
//	extension.go       what PostgreSQL's grammar does not know        standin.go: nor the parser's, of newer servers'
//	body.go            texts in strings                               block.go, plpgsql.go, format.go; mention.go: what is not mapped there
//	rewrite.go         Rewrite: the statements for one session        mapping.go: one of them; resolve.go: whose its names are
//	session_state.go   what names depend on, along a text             transition.go, current_role.go, leave.go
//	edits.go           how the sent text differs                      source.go, layer.go, literal.go, escapes.go: texts in texts
//	localize.go        short names in errors and notices              restore.go: in the SQL that the server quotes
//	results.go         which results have names in them               value.go: those names
//	redact.go          texts for the record, without secrets          error.go: what answers a statement that is refused
//
// Queries of the catalogs have files of their own:
//
//	catalog.go, _from, _rows, _call,       find the references in the tree; catalog_table.go says what is one
//	_config, _expression, _stored
//	catalog_text, _derived         which values become texts with names, by what expressions and subqueries are made of
//	catalog_parameter                      which parameters are OIDs, and name no role
//	catalog_place                          finds in the text where they stand; column_name.go: what a column is called there
//	catalog_lens, _relation, _wrap, _acl   make the SQL that stands in for them, of the parts in catalog_sql.go
//	catalog_constant                       makes shorter SQL for a name that is a constant
//	catalog_splice                         puts it there
//
// # Words
//
//	name, want     a role's name in a statement, and what the statement does with it: a policy.Action before names are resolved
//	piece          a part of a text that is parsed by itself
//	body           a text in a string that runs with its statement; unseen: one that is not read, and may speak of roles
//	extension      what no grammar knows: DBONLY, and the schema before a role's name
//	transition     what a statement does to the settings that names depend on
//	reference      where a query reads or says a role's name by means of SQL
//	form, lens     what stands there instead, and what writes that for a database
//	layer          a text made of another, which knows where its bytes come from
//
// # How texts lie in each other
//
// The parser reads UTF-8, and strings as with standard_conforming_strings on. Any other text is read as a converted copy,
// and so is SQL inside a string. Each copy is a layer that knows where its bytes come from. Edits are made in the
// innermost text and lifted, layer by layer, into the client's bytes, escaped and encoded on the way:
//
//	client's bytes ──charset──▶ UTF-8 ──escapes.go──▶ E'…' for '…' ──literal.go──▶ a DO block ──literal.go──▶ a string in it
//
// Why the text is spliced and never deparsed: docs/adr/0002-splice-by-location-and-token.md.
package rewrite
