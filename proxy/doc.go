// Package proxy accepts PostgreSQL clients, logs them in to the server under the roles of their database, and relays
// their sessions.
//
// A session, and the files in reading order:
//
//	server.go     accepts, stops            Server.Listen, Server.Run
//	session.go    one client                session.serve; its login: session_login.go
//	admit.go        what does it want?        TLS, startup packet, cancel request
//	login_name.go   which role is it?         app, or orders_app
//	auth.go         who checks it?            the server, or the proxy (verify.go, package scram)
//	upstream.go     where is the server?      several hosts (target.go), TLS (dial.go)
//	login.go        is it let in?             attempts (login_attempt.go), authentication relayed (login_auth.go) or the
//	                                          proxy's own (login_proof.go); a kept connection (login_pool.go)
//	relay.go        its statements            two goroutines (blocking.go), or an event loop, around an engine.Engine
//	                                          (session_engine.go)
//	farewell.go     the end                   last words to both sides
//
// On Linux a session runs on the thread of an event loop (loop_linux.go), its login as a coroutine there
// (coroutine_linux.go). Elsewhere it runs in goroutines.
//
// pool.go keeps server connections whose clients have left; pool_link.go resets and checks them.
//
// Beside the sessions, cancel.go brings cancel requests to the server, admin.go asks it what must be known before a login,
// and directory.go keeps the answers for a while.
//
// What a statement means is not decided here. Package engine, below this one, is the protocol core, and does no I/O.
package proxy
