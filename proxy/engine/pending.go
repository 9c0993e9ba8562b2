package engine

import "iter"

// pending is the queue of answers that the client (or the proxy itself) waits for, in the order of the messages that
// asked for them. It tells whose answer a message of the server is: so that errors find the text that they are about,
// and the proxy's own questions are answered to the proxy.
//
// Two things make a server answer less than it was asked. After an error in the extended protocol it discards what follows,
// up to the next Sync: see skipping. And while a COPY takes data, it ignores Syncs: see copyIn. A client may have sent such
// a Sync before it heard of the COPY. Whether the COPY ignores it, or fails before and leaves it to be answered, is not
// known at first; so it is taken for ignored, and if the COPY fails, for doubtful.
type pending struct {
	ring []awaited // a ring of a power of two; a byte for each answer, as pipelines wait for many
	head int
	n    int

	tracked     []followed    // of the entries that are about a tracked text, in order
	size        int           // what these take, in bytes
	assignments []*assignment // of the entries that make a name stand for something, in order
	syncs       uint64        // how many the server was sent; Queries count whose failure leaves what a name stands for

	own      int32 // how many of the entries are ownQuestion or ownClaim
	unsynced bool  // extended-protocol messages were sent since the last Sync, and no transaction has ended since
	worked   bool  // there is an Execute among them
	skipping bool  // the server discards everything until the next Sync
	copyIn   bool  // the server takes CopyData, and ignores Sync and Flush until CopyDone or CopyFail
	ignored  int   // how many Syncs are taken for ignored by the COPY that the first entry is about
	doubt    bool  // that COPY has failed: the next ReadyForQuery may answer one of them after all
}

// awaited is what the server still owes.
type awaited uint8

const (
	none         awaited = iota
	readyQuery           // Query: ends with ReadyForQuery
	readySync            // Sync: ReadyForQuery
	readyPart            // the first part of a Query: its ReadyForQuery is not for the client, if all goes well
	readyCall            // FunctionCall: ends with ReadyForQuery
	parsed               // Parse: ParseComplete
	bound                // Bind: BindComplete
	described            // Describe: RowDescription or NoData
	executed             // Execute: CommandComplete, EmptyQueryResponse or PortalSuspended
	closed               // Close: CloseComplete
	copyEnded            // CopyDone or CopyFail: no answer of its own; a mark
	ownQuestion          // the proxy's own question: see question.go
	ownDescribed         // the proxy's Describe of a statement: see rows.go
	ownClaim             // the proxy's own claim: see claim.go

	tracking  awaited = 1 << 7 // a flag of an entry of the ring: it has one of the tracked texts
	assigning awaited = 1 << 6 // likewise: one of the assignments
	flags             = tracking | assigning

	maxAwaited     = 1 << 16
	maxAwaitedSize = 4 << 20
)

// followed is a tracked text of an entry, with what it took when it was sent.
type followed struct {
	*tracked
	took int
}

type entry struct {
	awaits  awaited
	tracked *tracked // the text that an error would be about; nil where it is not tracked
}

// plain reports that all of the answers pass as they are: they are for the client, and about its own texts.
func (p *pending) plain() bool { return p.own == 0 && len(p.tracked) == 0 && !p.doubt }

// full reports that the client runs too far ahead of the server: by messages, or by the texts that are kept for the answers.
func (p *pending) full() bool { return p.n >= maxAwaited || p.n > 1 && p.size >= maxAwaitedSize }

// push notes that a message went to the server.
func (p *pending) push(a awaited, t *tracked) {
	switch a {
	case readySync:
		if p.copyIn {
			p.ignored++ // by CopyGetData (src/backend/commands/copyfromparse.c)
			return
		}
		p.unsynced, p.worked, p.skipping = false, false, false
		p.syncs++
	case copyEnded:
		if p.copyIn || p.n == 0 {
			p.copyIn = false
			return
		}
	case parsed, bound, described, executed, closed:
		p.unsynced, p.worked = true, p.worked || a == executed
	default: // a Query leaves the pipeline that it stands in as it is
	}
	if p.skipping {
		return // PostgresMain (src/backend/tcop/postgres.c) discards it unanswered
	}
	if p.n == len(p.ring) {
		p.grow()
	}
	if a.owned() {
		p.own++
	}
	if t != nil {
		f := followed{t, t.size() + t.wants()}
		p.tracked = append(p.tracked, f)
		p.size += f.took
		a |= tracking
	}
	p.n++
	*p.at(p.n - 1) = a
}

// assigns notes that the message that was pushed last, and not skipped, is an assignment.
func (p *pending) assigns(c *assignment) {
	p.assignments = append(p.assignments, c)
	*p.at(p.n - 1) |= assigning
}

// owned reports whether the proxy itself asked for the answer.
func (a awaited) owned() bool { return a == ownQuestion || a == ownClaim }

func (p *pending) grow() {
	ring := make([]awaited, max(8, 2*len(p.ring)))
	for i := range p.n {
		ring[i] = *p.at(i)
	}
	p.ring, p.head = ring, 0
}

func (p *pending) at(i int) *awaited { return &p.ring[(p.head+i)&(len(p.ring)-1)] }

// all returns the entries in order.
func (p *pending) all() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		tracked := p.tracked
		for i := range p.n {
			e := entry{awaits: *p.at(i)}
			if e.awaits&tracking != 0 {
				e.tracked, tracked = tracked[0].tracked, tracked[1:]
			}
			e.awaits &^= flags
			if !yield(e) {
				return
			}
		}
	}
}

// first returns what the server's next answer is about. Marks that nothing waits for are passed over.
func (p *pending) first() entry {
	for p.n > 0 && *p.at(0) == copyEnded {
		p.pop()
	}
	if p.n == 0 {
		return entry{}
	}
	a := *p.at(0)
	if a&tracking == 0 {
		return entry{awaits: a &^ flags}
	}
	return entry{a &^ flags, p.tracked[0].tracked}
}

// keepRing bounds the ring of a session at rest: a pipeline of 64 statements finds room in it.
const keepRing = 256

// pop removes the first entry, and returns what it awaited. Where it was not answered, the server has not done it.
func (p *pending) pop() awaited { return p.settle(undone) }

func (p *pending) settle(o progress) awaited {
	a := *p.at(0)
	if a.owned() {
		p.own--
	}
	if a&tracking != 0 {
		p.tracked[0].answered()
		p.size -= p.tracked[0].took
		p.tracked[0] = followed{} // let go of it
		p.tracked = p.tracked[1:]
	}
	if a&assigning != 0 {
		p.assignments[0].outcome = o
		p.assignments[0] = nil
		p.assignments = p.assignments[1:]
	}
	p.head = (p.head + 1) & (len(p.ring) - 1)
	p.n--
	if p.n == 0 && len(p.ring) > keepRing {
		p.ring, p.head = nil, 0
	}
	return a &^ flags
}

// answered pops the first entry if it awaits a.
func (p *pending) answered(a awaited) {
	if p.first().awaits == a {
		p.settle(done)
	}
}

// ready accounts for ReadyForQuery: everything up to the message that it ends is answered. idle reports that no
// transaction is open: a Query has ended the one of the messages before it.
func (p *pending) ready(idle bool) {
	if !p.surplus() {
		for p.n > 0 {
			if a := p.pop(); a == readyQuery || a == readySync || a == readyCall || a == readyPart {
				break
			}
		}
		p.doubt, p.ignored = p.doubt || p.ignored > 0, 0
		p.first() // marks
	} else if p.n == 0 {
		p.skipping = false
	}
	if idle && p.n == 0 && !p.skipping {
		p.unsynced, p.worked = false, false
	}
}

// surplus reports whether a ReadyForQuery that comes now answers a Sync that was taken for ignored. It does, unless it is
// a Sync whose answer is awaited first: everything else has another answer before its ReadyForQuery.
func (p *pending) surplus() bool { return p.doubt && p.first().awaits != readySync }

// failed accounts for ErrorResponse. After an error in the extended protocol the server discards what it was sent up
// to the next Sync; own reports that among that was what a held statement waits for.
func (p *pending) failed() (own bool) {
	p.copyIn = false
	if a := p.first().awaits; a == none || a == readyQuery || a == readyCall || a == readyPart {
		return false // asynchronous, or ReadyForQuery follows
	}
	p.doubt, p.ignored = p.ignored > 0, 0
	for p.n > 0 && *p.at(0) != readySync {
		a := p.pop()
		own = own || a == ownQuestion || a == readyPart
	}
	if p.n > 0 {
		return own
	}
	p.skipping = true
	return own
}

// copying accounts for CopyInResponse. The Syncs behind the COPY that the client has sent already are taken for ignored,
// up to its CopyDone if that was sent too. If the COPY fails before it reads them, the server answers them: only the number
// of its answers tells which of the two happened. Any other message in a COPY ends the session, unless the COPY has failed
// before it came to that.
func (p *pending) copying() {
	p.first()
	p.ignored = 0
	for 1+p.ignored < p.n && *p.at(1 + p.ignored) == readySync {
		p.ignored++
	}
	taken := p.ignored // and the CopyDone: none of them has an entry of its own any more
	switch p.copyIn = 1+p.ignored >= p.n; {
	case p.copyIn:
	case *p.at(1 + p.ignored) == copyEnded:
		taken++
	default:
		p.ignored = 0
		return
	}
	if taken > 0 { // the COPY comes forward
		*p.at(taken) = *p.at(0)
		p.head = (p.head + taken) & (len(p.ring) - 1)
		p.n -= taken
	}
	if p.ignored > 0 && p.n == 1 && p.first().awaits == executed {
		p.unsynced, p.worked = true, true
	}
}

// notCopying is called when the client sends what a COPY does not take: if the session goes on, the
// COPY has failed before it read anything.
func (p *pending) notCopying() {
	syncs := p.ignored
	p.copyIn, p.ignored = false, 0
	for range syncs {
		p.push(readySync, nil)
	}
}
