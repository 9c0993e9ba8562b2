// Package wire is the PostgreSQL frontend/backend protocol, version 3, as far as the bytes go: what a message is called,
// where it ends, and the few messages that the proxy reads or makes by itself.
//
//	before a session     ┌────────────┬──────┬──────────────┐
//	(startup.go)         │ length  4B │ code │ body         │   SSLRequest, CancelRequest, StartupMessage …
//	                     └────────────┴──────┴──────────────┘
//	in a session         ┌──────┬────────────┬──────────────┐
//	(message.go)         │ type │ length  4B │ body         │   Query, DataRow, ReadyForQuery …
//	                     └──────┴────────────┴──────────────┘
//	                            └─ length counts itself and what follows
//
// A whole message with its header is called a frame. Readers take exactly the bytes of one frame from a connection, so
// that whoever reads next loses nothing, and allocate no more than the limit they were given, whatever a peer claims.
package wire
