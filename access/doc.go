// Package access is the vocabulary in which a manifest says what access should be, and the reconciler sees what it is:
// roles, objects, privileges, memberships, default privileges. It is data without behaviour; nothing here reads a file
// or talks to a server.
//
//	manifest ──▶ access.Desired ──▶ reconcile ──▶ SQL
//	manifest ◀── access.Desired ◀── reconcile (export)
package access
