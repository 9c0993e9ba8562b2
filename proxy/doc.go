// Package proxy accepts PostgreSQL clients, logs them in to the server under the roles of their database, and relays
// their sessions.
//
// A session, and the files in reading order:
//
//	server.go     accepts, stops            Server.Listen, Server.Run
//	session.go    one client's story        session.serve:
//	admit.go        what does it want?        TLS, startup packet, cancel request
//	login_name.go   who is it?                app, or orders_app
//	auth.go         by which rule?            relayed to the server, or checked here (verify.go, package scram)
//	upstream.go     to the server             TLS, several hosts (target.go)
//	login.go        is it let in?             attempts (login_attempt.go); authentication: relayed (login_auth.go), or the proxy's own (login_proof.go)
//	relay.go        its statements            two goroutines, or a loop, around an engine.Engine (session_engine.go)
//	farewell.go     the end                   last words to both sides
//
// On Linux it is told on the thread of an event loop (loop_linux.go), as a coroutine (story_linux.go); elsewhere in goroutines.
//
// What a statement means is not decided here: package engine, below this one, is the protocol core, and does no I/O.
// cancel.go brings cancel requests to the server, admin.go asks it what must be known before a login, directory.go keeps
// the answers for a while.
package proxy
