// Package policy decides what a session may do to roles. It knows no SQL and does no I/O but reading its file.
//
//	rewrite ──▶ Action ──▶ Policy.Decide ──▶ allow │ warn │ deny (42501)
//	                          │
//	         the file's rules, in order; the first that matches decides
//	         then the built-in rules (default.yaml); the last of them allows
//
// # The file
//
//	rules:
//	  - name: no logins by hand
//	    statement: [create role, alter role]
//	    attribute: [LOGIN]
//	    user: ["dev_*"]
//	    action: deny
//	    hint: Logins stand in the manifest.
//	  - client: [10.1.0.0/16, local]
//	    action: allow
//
// A rule matches if all of its conditions do. A condition is a value, or a list of values of which any may match. The table
// conditions has all of them, and docs/policy.md explains them.
//
// Rules with the statement connect decide about logins, before the server has seen them; all other rules are about
// statements only.
//
// # What cannot be known
//
// The server is asked about the session ([Facts]) only where a rule needs it, for each statement anew. Where it could not
// be asked, for example because SET ROLE comes before the statement in the same text, the facts are not known.
//
// The home of a role that does not exist (yet) is not known, nor are home and name of CURRENT_USER, CURRENT_ROLE,
// SESSION_USER and ALL. A condition on what is not known matches in a rule that denies, and does not in one that allows or
// warns.
package policy
