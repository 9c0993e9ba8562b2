package engine

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// text is a text that the server did not get as the client wrote it, or that has a record, consequences, or results to map.
type text struct {
	client string
	result *rewrite.Result
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
	consequences
}

// fails reports whether it is certain to fail.
func (t *text) fails() bool {
	return t.substitute != nil || t.result != nil && len(t.result.Refusals) > 0
}

// notify gives the client the notices about the text, once.
func (t *text) notify(out *Out) {
	if t.notices != nil {
		out.Client.write(t.notices)
		t.notices = nil
	}
}

// acts reports whether its execution is recorded, or has consequences.
func (t *text) acts() bool { return t != nil && (t.trail != nil || t.follows()) }

// size is about what it takes, in bytes.
func (t *text) size() (n int) {
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

// maxRewritten bounds how many prepared statements and portals are remembered; maxRewrittenSize bounds, in bytes, what
// there is when one more comes. Beyond these, positions in errors that come after Parse point into the text that the
// server has, and rows pass as they are. What has a trail is refused instead.
const (
	maxRewritten     = 1 << 10
	maxRewrittenSize = 1 << 20
)

// rewritten remembers prepared statements and portals whose texts are not the client's: utility statements are analysed
// at Execute, and their errors have positions then. Most sessions have none.
type rewritten struct{ statements, portals register }

func (e *Engine) registers() *rewritten {
	if e.rewritten == nil {
		e.rewritten = new(rewritten)
	}
	return e.rewritten
}

func (r *rewritten) any() bool { return r != nil && (r.statements.any() || r.portals.any()) }

// acts reports whether one of them is more than shown otherwise: a statement about roles.
func (r *rewritten) acts() bool { return r.statements.acts() || r.portals.acts() }

// settled reports whether all is answered that was sent before the last Sync.
func (r *rewritten) settled(syncs uint64) bool {
	return r.statements.settled(syncs) && r.portals.settled(syncs)
}

// register has the texts of prepared statements, or of portals, by name. A Parse, a Bind or a Close
// changes what a name stands for if the server does it, and does not if the server skips it behind an
// error; which of the two, the answers tell later.
type register struct {
	known   map[string]*text
	changes []*change // that the server has not answered, in order
	size    int       // of the texts of both
}

// change is what a message makes of a name.
type change struct {
	name    string
	text    *text  // nil where it stands for nothing any more, or for a text that is the client's
	syncs   uint64 // sent before it
	outcome progress
}

type progress uint8

const (
	open progress = iota
	done
	undone
)

// key is what the server knows a name by: it ends names where its own end (NAMEDATALEN; dynahash.c).
func key(name []byte) string { return string(name[:min(len(name), 63)]) }

func (r *register) any() bool {
	r.settle()
	return len(r.known)+len(r.changes) > 0
}

func (r *register) acts() bool {
	r.settle()
	for _, t := range r.known {
		if t.acts() {
			return true
		}
	}
	return slices.ContainsFunc(r.changes, func(c *change) bool { return c.text.acts() })
}

// full reports that there is no room for one more, what that name stands for now aside. The changes are
// bounded by the answers that are awaited.
func (r *register) full(name string) bool {
	r.settle()
	n, size := len(r.known), r.size
	if t := r.known[name]; t != nil {
		n, size = n-1, size-t.size()
	}
	return n >= maxRewritten || size >= maxRewrittenSize
}

// settle makes what was answered known.
func (r *register) settle() {
	for len(r.changes) > 0 && r.changes[0].outcome != open {
		switch c := r.changes[0]; {
		case c.outcome == undone:
			r.size -= c.text.size()
		case c.text == nil:
			r.size -= r.known[c.name].size()
			delete(r.known, c.name)
		default:
			if r.known == nil {
				r.known = make(map[string]*text)
			}
			r.size -= r.known[c.name].size()
			r.known[c.name] = c.text
		}
		r.changes[0] = nil
		r.changes = r.changes[1:]
	}
}

func (r *register) settled(syncs uint64) bool {
	r.settle()
	return len(r.changes) == 0 || r.changes[0].syncs == syncs
}

// last returns the last change of a name that is not known; nil where there is none.
func (r *register) last(name string) *change {
	r.settle()
	for _, c := range slices.Backward(r.changes) {
		if c.name == name {
			return c
		}
	}
	return nil
}

// get returns the text of a name. certain is false where that depends on an answer that is still to come: a change before
// the last Sync may have been skipped; one after it is skipped only together with the message that asks.
func (r *register) get(name string, syncs uint64) (t *text, certain bool) {
	if c := r.last(name); c != nil {
		return c.text, c.syncs == syncs
	}
	return r.known[name], true
}

// alter notes that the message that was sent last makes a name stand for a text, if it is not skipped.
func (e *Engine) alter(r *register, name string, t *text) {
	if e.pending.skipping {
		return
	}
	if last := r.last(name); t == nil && (last == nil && r.known[name] == nil || last != nil && last.text == nil && last.syncs == e.pending.syncs) {
		return // it stands for nothing as it is, or where the message before this one was done
	}
	c := &change{name: name, text: t, syncs: e.pending.syncs}
	e.pending.alters(c)
	r.changes = append(r.changes, c)
	r.size += t.size()
}
