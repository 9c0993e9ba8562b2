package engine

import "github.com/pgscope/pgscope-proxy/proxy/wire"

// State is what a session does, as its server tells.
type State uint8

// The states.
const (
	Active        State = iota // the server works, or what it said is not all told
	Idle                       // nothing happens until the client says more, outside of a transaction
	InTransaction              // likewise inside of one, or of a pipeline
)

// State returns what the session does.
func (e *Engine) State() State {
	switch {
	case !e.Started(), e.Waiting(), !e.server.between():
		return Active
	case e.status == wire.TxIdle && !e.pending.unsynced:
		return Idle
	default:
		return InTransaction
	}
}
