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
// A rule matches where all its conditions do. A condition is a value or a list of values, any of which may be the case:
//
//	database, user    of the session, as the client wrote them: glob patterns
//	application       its application_name, which a client sets as it likes: glob patterns
//	client            its address: networks, addresses, or local for a Unix socket
//	when              days, hours and time zone, each of which may be left out: mon-fri 08:00-18:00 Europe/Berlin (else UTC)
//	member-of         the roles that the session's user is a member of, directly or not: glob patterns of their short names
//	user-attribute    the attributes of its current role: SUPERUSER, CREATEROLE …
//	administers       yes or no: its current role is a superuser, or has ADMIN on the role, or on the marker of its scope
//	server-before     the server's major version is less than that
//	statement         what is done: the values of [Kind]
//	role, home        on which role: glob patterns of its short name, sales.clerk for one of a schema; own (of the database and
//	                  its schemas) or global
//	grantee,          who gets it, and of a rename the new name: likewise
//	grantee-home
//	attribute         which attributes the statement turns on: SUPERUSER, LOGIN …
//	object            on which kind of object: table, schema …
//	mode              to which mode SET pgscope.mode switches
//	declared          yes or no: the access manifest declares the role, membership or grant ([Declared])
//
// A pattern is a name in which * stands for any characters, ? for one, and \ takes the next one as it is.
//
// Rules that name the statement connect decide about logins, before the server has seen them; all others are about
// statements only. A rule about logins asks for database, user, application, client and when.
//
// # What cannot be known
//
// The server is asked about the session ([Facts]) only where a rule needs it, for each statement anew. Where it was not, since SET ROLE
// stands in the same text in front of the statement say, it is not known.
//
// Of a role that does not exist (yet), and of CURRENT_USER, CURRENT_ROLE, SESSION_USER and ALL, the home is not known here;
// of the words the name is not known either. Such a condition holds for a rule that denies, and does not for one that allows or warns.
package policy
