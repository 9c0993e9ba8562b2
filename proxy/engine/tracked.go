package engine

import (
	"unsafe"

	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// tracked is a text that was sent, and that the engine follows until it is answered: the server did not get it as the
// client wrote it, or it has a record, consequences, or results to map. Of all others nothing is kept. It hangs on the
// answers that are awaited ([pending]), and on the prepared statements and portals that stand for it ([registers]).
type tracked struct {
	client string                        // what the client wrote
	result *rewrite.Result               // what it became; nil where only its results are looked at
	names  map[scope.Cluster]scope.Short // what the client calls the roles in it

	// substitute are the fields of an error that answers the failure of a text that was sent to fail: the server's own
	// answer to a question of the proxy, which the client's statement could not go without.
	substitute []byte
	notices    []byte // messages that the client shall get with the first answer to the text
	trail      *trail // the record of it; nil where it has nothing to do with roles
	claims     bool   // it sets a role if a claim is true, and it is not known yet whether that is: see claim.go

	rows      *rows   // what is known of its results; nil where they pass
	formats   []int16 // of a portal: the format codes of its results, where not all are texts
	completed int     // of a Query: how many of its statements have been

	deallocates   []string      // the prepared statements that are gone when it was executed: see [rewrite.Results]
	deallocations []*assignment // the same while it is: those that the server has not answered
	consequences
}

// ordinary reports whether there is nothing to track about a text that is sent as sql.
func (t *tracked) ordinary(sql string) bool {
	return t == nil || t.client == sql && t.substitute == nil && t.notices == nil && t.trail == nil && t.rows == nil && t.deallocates == nil && !t.follows()
}

// fails reports whether it is certain to fail.
func (t *tracked) fails() bool {
	return t != nil && (t.substitute != nil || t.result != nil && len(t.result.Refusals) > 0)
}

// notify gives the client the notices about the text, once.
func (t *tracked) notify(out *Out) {
	if t.notices != nil {
		out.Client.write(t.notices)
		t.notices = nil
	}
}

// deallocated takes note of a tag of its DEALLOCATE statements, in order.
func (t *tracked) deallocated() {
	t.deallocations[0].outcome = done
	t.deallocations = t.deallocations[1:]
}

// answered takes note that there will be no more answers to it.
func (t *tracked) answered() {
	for _, c := range t.deallocations {
		c.outcome = undone
	}
}

// acts reports whether its execution is recorded, or has consequences.
func (t *tracked) acts() bool { return t != nil && (t.trail != nil || t.follows()) }

// size is about what it takes, in bytes.
func (t *tracked) size() (n int) {
	if t == nil {
		return 0
	}
	n = len(t.client) + len(t.foreword)
	if t.result != nil {
		n += len(t.result.SQL)
	}
	if t.trail != nil {
		for i := range t.trail.statements {
			n += len(t.trail.statements[i].Written) + len(t.trail.statements[i].Sent)
		}
	}
	return n
}

// wants is about what its record has beside the texts, in bytes.
func (t *tracked) wants() (n int) {
	if t.trail == nil {
		return 0
	}
	for i := range t.trail.statements {
		n += len(t.trail.statements[i].Wants) * int(unsafe.Sizeof(Want{}))
	}
	return n
}
