// Package trace tells an OpenTelemetry collector, by OTLP over HTTP, how long logins, role statements and the reconciler's runs
// took, and what of them. Nobody else knows OpenTelemetry.
//
// A [Tracer] begins traces; without one there are none, and nothing is spent. What belongs to a trace that is under way finds it
// in the context: [Child].
//
// An application's trace is gone on with where it says which: in a comment of the statement, as sqlcommenter writes it
// ([InComment]), or when it connects. Whether it is sampled, the application then says too.
package trace
