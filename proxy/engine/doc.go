// Package engine is the protocol core of one session: a state machine from bytes in to bytes out. It does no I/O, starts
// no goroutine and reads no clock but one that it is given, so that goroutines, an event loop, a table test and a fuzzer drive the same code.
//
//	            Engine.Client(in, out)                          out.Server
//	client ──▶  stream ─▶ frontend.go ─▶ statement.go  ────────────────────▶  server
//	                          │              │ rewrite, question.go              │
//	                          ▼              ▼                                   │
//	                       pending.go: the answers that the client waits for     │
//	                          ▲                                                  │
//	client ◀──────────────────────── backend.go ◀─ stream  ◀───────────────────  server
//	            out.Client                          Engine.Server(in, out)
//
// Reading order: [Engine] and its two entry points, stream.go (bytes to messages), frontend.go (one switch over what
// clients send), statement.go (what enters and leaves: a text that may name a role), held.go (what happens to it meanwhile),
// question.go (the proxy's own question in the client's session), claim.go and rewriting.go (what goes without one), reading.go
// (the settings that texts are read and written with), startrole.go (what is to be done before the client may begin),
// fastpath.go (functions called by OID), rows.go (values with role names), pending.go (whose answer is this), backend.go (one
// switch over what servers send), report.go (errors and notices in the client's words).
//
// # Refusing a statement
//
// A statement that must not reach the server is replaced, in its place in the text, by one that is certain to fail
// there (see [rewrite.RefusalSQL]), and the server's error by the proxy's own. So what follows an error (skipping to
// Sync, the failed transaction, the undone neighbours in a string of many statements, the status in ReadyForQuery) is
// the server's behaviour, and nothing here imitates it.
//
// # Asking the server
//
// Whose a name is, only the server knows, and only the client's own session knows what its open transaction did. So
// the engine asks there, between two messages of the client, which is held meanwhile (see [Engine.Client]). The
// question ends in Sync where the client's messages are at a Sync too, and in Flush inside a pipeline, where a Sync
// would commit the client's statements too early.
//
// # What is done around a statement
//
// A statement that renames a scope has a foreword in its transaction; one that drops a scope has an aftermath, before
// the client gets the ReadyForQuery: consequence.go.
package engine
