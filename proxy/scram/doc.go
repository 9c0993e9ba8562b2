// Package scram is SCRAM-SHA-256 (RFC 5802, RFC 7677), with and without channel binding, as PostgreSQL speaks it, at both
// ends, and without a password at either. It does no I/O: messages in, messages out.
//
//	client                        proxy                              server
//	   │                            │ ◀── pg_authid.rolpassword ─────── │   ParseVerifier
//	   │ ── client-first ──────────▶│                                   │
//	   │ ◀────────── server-first ──│   Server                          │
//	   │ ── proof of the ClientKey ▶│                                   │
//	   │ ◀───────── server's proof ─│   Keys: what the client has shown │
//	   │                            │ ── client-first ────────────────▶ │
//	   │                   Client   │ ◀────────────────── server-first ─│
//	   │                            │ ── proof of the ClientKey ──────▶ │
//
// A stored verifier is enough to check a client, and not enough to log in. A client that proves that it knows the password
// gives away its ClientKey to whoever holds the verifier, and with that key one can log in where the same verifier is
// stored: the two exchanges have channel bindings of their own, each to the TLS connection that it goes over.
package scram
