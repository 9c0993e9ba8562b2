// Package provision does an administrator's work on a cluster, outside of clients' sessions: it enrols databases, lists
// their roles, and sweeps up what direct connections, crashes and restores have left behind.
//
//	pgscope-proxy init ──────┐
//	pgscope-proxy roles ─────┤──▶ provision ──▶ scope (what to ask, what to do) ──▶ server
//	the proxy, at its start ─┘
//
// What is asked and what is to be done about the answer, package scope knows; here it is only run.
package provision
