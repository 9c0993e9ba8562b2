// Package trace tells an OpenTelemetry collector, by OTLP over HTTP, how long logins, role statements and the reconciler's
// runs took, and each part of them. No other package knows OpenTelemetry.
//
// A [Tracer] begins traces; without one there are none, and they cost nothing. What is part of a trace finds it in the
// context: [Child].
//
// An application can have its own trace continued, by naming it in a comment of the statement, as sqlcommenter does
// ([InComment]), or when it connects. Then it also decides whether the trace is sampled.
package trace
