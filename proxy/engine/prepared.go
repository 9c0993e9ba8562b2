package engine

import (
	"maps"
	"slices"

	"github.com/pgscope/pgscope-proxy/rewrite"
)

// maxPrepared bounds how many prepared statements and portals are remembered. maxPreparedSize bounds, in bytes, what they
// take already when one more comes. Of those beyond, positions in errors that come after Parse point into the text that
// the server has, and rows pass as they are. One with a trail is refused instead.
const (
	maxPrepared     = 1 << 10
	maxPreparedSize = 1 << 20
)

// registers know the prepared statements and portals whose texts are tracked. The server looks at a utility statement when
// it is executed, so its errors have positions then, long after Parse. Most sessions have none of these.
type registers struct{ statements, portals register }

func (e *Engine) registers() *registers {
	if e.prepared == nil {
		e.prepared = new(registers)
	}
	return e.prepared
}

func (r *registers) any() bool { return r != nil && (r.statements.any() || r.portals.any()) }

// acts reports whether one of them is more than shown otherwise: a statement about roles.
func (r *registers) acts() bool { return r.statements.acts() || r.portals.acts() }

// settled reports whether all is answered that was sent before the last Sync.
func (r *registers) settled(syncs uint64) bool {
	return r.statements.settled(syncs) && r.portals.settled(syncs)
}

// register has the texts of prepared statements, or of portals, by name. A Parse, a Bind, a Close or a DEALLOCATE changes
// what a name stands for if the server does it, and does not if the server skips it behind an error. Which of the two, the
// answers tell later. What functions deallocate is not seen.
type register struct {
	known       map[string]*tracked
	assignments []*assignment          // that the server has not answered, in order
	latest      map[string]*assignment // the last of them for each name that has one behind latestAll
	latestAll   *assignment            // the last that is about all names; nil for none
	size        int                    // of the texts of known, and of assignments
}

// assignment is a message, or a statement in one, that makes a name stand for something.
type assignment struct {
	name    string
	all     bool     // every name but that of the unnamed, instead
	tracked *tracked // nil where it stands for nothing any more, or for a text that is not tracked
	syncs   uint64   // sent before it
	outcome progress
}

// progress is how far an assignment has come.
type progress uint8

const (
	open   progress = iota // it may still be skipped
	done                   // the server has done it
	undone                 // it was skipped, or has failed
)

// key is what the server knows a name by: it ends names where its own end (NAMEDATALEN; dynahash.c).
func key(name []byte) string { return string(name[:min(len(name), 63)]) }

func (r *register) any() bool {
	r.settle()
	return len(r.known)+len(r.assignments) > 0
}

func (r *register) acts() bool {
	r.settle()
	for _, t := range r.known {
		if t.acts() {
			return true
		}
	}
	return slices.ContainsFunc(r.assignments, func(c *assignment) bool { return c.tracked.acts() })
}

// full reports that there is no room for one more, what that name stands for now aside. The
// assignments are bounded by the answers that are awaited.
func (r *register) full(name string) bool {
	r.settle()
	n, size := len(r.known), r.size
	if t := r.known[name]; t != nil {
		n, size = n-1, size-t.size()
	}
	return n >= maxPrepared || size >= maxPreparedSize
}

// settle makes what was answered known.
func (r *register) settle() {
	for len(r.assignments) > 0 && r.assignments[0].outcome != open {
		switch c := r.assignments[0]; {
		case c.outcome == undone:
			r.size -= c.tracked.size()
		case c.all:
			maps.DeleteFunc(r.known, func(name string, t *tracked) bool {
				gone := name != ""
				if gone {
					r.size -= t.size()
				}
				return gone
			})
		case c.tracked == nil:
			r.size -= r.known[c.name].size()
			delete(r.known, c.name)
		default:
			if r.known == nil {
				r.known = make(map[string]*tracked)
			}
			r.size -= r.known[c.name].size()
			r.known[c.name] = c.tracked
		}
		r.forgetFirst()
	}
}

// add notes an assignment.
func (r *register) add(c *assignment) {
	r.assignments = append(r.assignments, c)
	r.size += c.tracked.size()
	if c.all {
		maps.DeleteFunc(r.latest, func(name string, _ *assignment) bool { return name != "" })
		r.latestAll = c
		return
	}
	if r.latest == nil {
		r.latest = make(map[string]*assignment)
	}
	r.latest[c.name] = c
}

// forgetFirst forgets the first assignment, which is settled.
func (r *register) forgetFirst() {
	c := r.assignments[0]
	r.assignments[0] = nil
	r.assignments = r.assignments[1:]
	if r.latestAll == c {
		r.latestAll = nil
	}
	if r.latest[c.name] == c {
		delete(r.latest, c.name)
	}
	if len(r.assignments) == 0 {
		r.assignments, r.latest = nil, nil // there may have been many
	}
}

func (r *register) settled(syncs uint64) bool {
	r.settle()
	return len(r.assignments) == 0 || r.assignments[0].syncs == syncs
}

// last returns the last assignment of a name that is not settled; nil where there is none.
func (r *register) last(name string) *assignment {
	r.settle()
	if c := r.latest[name]; c != nil || name == "" {
		return c
	}
	return r.latestAll
}

// get returns the text of a name. certain is false where that depends on an answer that is still to come: an assignment
// before the last Sync may have been skipped; one after it is skipped only together with the message that asks.
func (r *register) get(name string, syncs uint64) (t *tracked, certain bool) {
	if c := r.last(name); c != nil {
		return c.tracked, c.syncs == syncs
	}
	return r.known[name], true
}

// assign notes that the message that was sent last makes a name stand for a text, if it is not skipped.
func (e *Engine) assign(r *register, name string, t *tracked) {
	if e.pending.skipping {
		return
	}
	if last := r.last(name); t == nil && (last == nil && r.known[name] == nil || last != nil && last.tracked == nil && last.syncs == e.pending.syncs) {
		return // it stands for nothing as it is, or where the message before this one was done
	}
	c := &assignment{name: name, tracked: t, syncs: e.pending.syncs}
	e.pending.assigns(c)
	r.add(c)
}

// deallocates are the names, as the client has them in other messages, of what a text deallocates.
func (e *Engine) deallocates(r rewrite.Results) (names []string) {
	for _, name := range r.Deallocates {
		if encoded, err := e.encode(name); err == nil {
			name = encoded
		}
		names = append(names, name)
	}
	return names
}

// deallocating notes that a text which deallocates is sent to be run, and returns what is awaited for this run. Where that
// is a Query, its failure does not let the server skip what follows: so this is not certain before it is answered.
func (e *Engine) deallocating(awaits awaited, t *tracked) *tracked {
	if e.pending.skipping {
		return t
	}
	run := *t
	r := &e.registers().statements
	for _, name := range t.deallocates {
		c := &assignment{name: key([]byte(name)), all: name == rewrite.AllStatements, syncs: e.pending.syncs}
		run.deallocations = append(run.deallocations, c)
		r.add(c)
	}
	if awaits == readyQuery {
		e.pending.syncs++
	}
	return &run
}
