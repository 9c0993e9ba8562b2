// Package pgtest starts private PostgreSQL clusters: for tests, benchmarks and the demo.
//
//	find.go       which PostgreSQL: $PGSCOPE_TEST_PG_BIN → PATH → installed packages → cache → fetch.go
//	cluster.go    Launch: initdb, configuration, start · Stop · Kill · Restart · Close
//	account.go    runs the server as somebody else when the process is root, as PostgreSQL demands
//	reaper.go     ends the server and removes its files when this process dies without doing it
//	cert.go       certificates for TLS
//	testing.go    Start, Shared, Psql, Await, Reload: the same for tests, where every error ends the test
//
// A cluster listens on a free port of 127.0.0.1 and on a Unix socket in its own directory, and gives up durability for
// speed. The package imports no testing: commands may use it too.
package pgtest
