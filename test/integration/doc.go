// Package integration runs the proxy in front of real PostgreSQL servers.
//
// The oracle is a server: what a script prints through the proxy must be what it prints on a plain server where the roles
// really have the names that the script says (compat_test.go). The other tests look at what the cluster holds after a
// session, at what happens when a leg breaks, and at what one database can do to another.
package integration
