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
// A rule matches where all its conditions do. A condition is a value or a list of values, any of which may be the case. What
// conditions there are stands in the table conditions, and for people in docs/policy.md.
//
// Rules that name the statement connect decide about logins, before the server has seen them; all others are about
// statements only.
//
// # What cannot be known
//
// The server is asked about the session ([Facts]) only where a rule needs it, for each statement anew. Where it was not, since SET ROLE
// stands in the same text in front of the statement say, it is not known.
//
// Of a role that does not exist (yet), and of CURRENT_USER, CURRENT_ROLE, SESSION_USER and ALL, the home is not known here;
// of the words the name is not known either. Such a condition holds for a rule that denies, and does not for one that allows or warns.
package policy
