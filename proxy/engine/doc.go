// Package engine is the protocol core of one session: a state machine from bytes in to bytes out. It does no I/O, starts
// no goroutine and has no clock of its own, so that goroutines, an event loop, a table test and a fuzzer can all drive it.
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
// The files, in reading order:
//
//	engine.go       Engine, and its two entry points
//	stream.go       bytes to messages                         out.go: what is to be written
//	frontend.go     one switch over what clients send         fastpath.go: functions called by OID
//	statement.go    a text that may name a role: how it is held, and how it is sent
//	held.go         what is asked in between                  reading.go: the settings that it is read with
//	mapping.go      what it becomes                           rewriting.go: the same, remembered for later texts
//	refuse.go       how it is refused
//	apart.go        what is done elsewhere, where it is long
//	question.go     the proxy's own question in the client's session
//	claim.go        SET ROLE without a question
//	tracked.go      a text that was sent, and is followed until it is answered
//	prepared.go     the prepared statements and portals that stand for such texts
//	execute.go      what runs them again, and goes through the policy again
//	transaction.go  what the open transaction does, and others are told when it ends
//	pending.go      whose answer is this?
//	backend.go      one switch over what servers send         parameter.go: ParameterStatus
//	report.go       errors and notices in the client's words  rows.go: values with role names
//	judge.go        what the policy is asked
//	trail.go        what the audit log is told
//	consequence.go  what follows from a dropped or renamed database or schema
//	beginning.go    before the client may begin               startrole.go, userpath.go: what is to be set then
//
// # Words
//
//	held         a statement of the client that is not sent yet: something must be known first
//	question     what the server is asked for it, by a statement of the proxy's own
//	claim        what is believed of a role, sent along with SET ROLE for the server to check
//	text         the SQL of a Query or a Parse; a Query may have several statements in it
//	tracked      a text that the server has in another form than the client, or whose answer matters
//	trail        the record of a text for the audit log, until its result is known
//	foreword     what runs before a statement in its transaction: renaming a database's roles, say
//	aftermath    what runs behind one: dropping the roles of a database that is gone
//
// # Refusing a statement
//
// A statement that must not reach the server is replaced by one that is certain to fail there ([rewrite.RefusalSQL]), and
// the server's error is replaced by the proxy's own. So what follows an error (skipping to Sync, the failed transaction,
// the undone neighbours in a string of many statements, the status in ReadyForQuery) is the server's behaviour, and
// nothing here imitates it.
//
// # Asking the server
//
// Only the server knows whose a name is, and only the client's own session sees what its open transaction has done. So
// the engine asks there, between two messages of the client, which is held meanwhile (see [Engine.Client]). The question
// ends in Sync, but inside a pipeline in Flush, since a Sync would commit the client's statements too early.
//
// # What is done around a statement
//
// Renaming a scope has a foreword, which runs in the same transaction before it. Dropping a scope has an aftermath, which
// runs before the client gets its ReadyForQuery. Both are in consequence.go.
package engine
