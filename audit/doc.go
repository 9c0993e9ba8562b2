// Package audit keeps the records of what was done to roles: one line of JSON each, in a chain.
//
//	session ──▶ Log.Put ──▶ queue ──▶ one goroutine ──▶ file, with rotation
//	            (never blocks)           seq, prev, hash   standard output
//	                                                       syslog
//
// # The chain
//
// Each line has a number and the SHA-256 of the line before it, so that [Verify] finds a line that was removed, changed
// or moved. The chain goes on across rotation and restarts: the file's last line is read when it is opened. Whoever can
// write the file can also write a whole new chain, so keep a copy elsewhere of what syslog got, or of the number and hash
// that the proxy logs when it starts and stops.
//
// # When it cannot be written
//
// Records wait in the queue and are tried again. When there are too many, [Log.Room] says so, and the proxy refuses role
// statements (overflow: refuse); or records are dropped, and counted in the next one (overflow: drop).
package audit
