// Package twins runs PostgreSQL's own regression scripts about roles at the same time in two databases of one cluster,
// through the proxy: what PostgreSQL alone cannot do, as both make roles of the same names.
//
//	psql ──▶ plain cluster one: database ann ─────────▶ what ann must print ──┐
//	psql ──▶ plain cluster two: database bob ─────────▶ what bob must print ──┤ compared, line by line, with
//	psql ──▶ proxy ──▶ one cluster: database ann ─────▶ what ann prints ──────┤ testdata/expected.txt
//	psql ──▶    "                   database bob ─────▶ what bob prints ──────┘
//
// What the scripts must print is not taken from the source's expected files but from the same binaries, run directly:
// nothing has to be normalised then. Each line that differs must be in testdata/expected.txt, with its reason, and each
// line of that file must match one.
//
// The scripts are not part of this repository: `make twins` fetches them, by fetch.sh, and runs the test, which the build
// tag twins keeps out of the others.
package twins
