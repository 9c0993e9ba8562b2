package engine

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// held is a statement that waits for the answer to a question of the proxy. Most need just one question, about their names.
// The steps that a statement can need, most of them rarely:
//
//	[endsFirstPart] ─▶ [saysSettings] ─▶ [asksReading] ─▶ [asksColumns] ─▶ asksNames ─▶ [asksScopes, for each]
//	         ─▶ [asksMarker ─▶ asksNames] ─▶ [saysForeword] ─▶ sent
type held struct {
	statement
	reading
	*apart   // how it is worked on, where it is long; else nil
	step     step
	written  string // its text
	redacted string // the same without secrets, where that is needed
	spoke    bool   // the session has spoken of its mode before

	// What is read in the text:
	analysis *rewrite.Analysis // nil as long as it is not known how the text is read
	refusal  *rewrite.Error    // why it could not be read

	// What the server is asked:
	inquiry     scope.Inquiry   // about its names
	named       []scope.Cluster // those of it that may be these names; others are in doubt
	needs       policy.Need     // what it asks of the session besides
	attempts    int
	view        *scope.View // the answer
	mode        scope.Mode
	scopes      []scope.Survey // what is still to be asked about the scopes that it changes; the first is being asked
	inventories map[scope.Survey]*scope.Inventory

	// What it becomes:
	judge  judge
	decide func(policy.Action) *scope.Error // the judge's; of what was allowed already, the judge is not asked again
	known  *rewriting                       // as far as it is known; nil where it is not
	memory *Rewritings                      // where that is remembered; nil where it is not to be
	mapped *rewriting

	tracked *tracked // of an Execute: what it runs; of what is to fail: what it is sent as
	frame   []byte   // the message itself: an Execute, or what awaits a name
}

// step is what the question is about that a held statement waits for.
type step uint8

const (
	saysSettings  step = iota // the session's database and mode, which it is told
	asksReading               // the settings that its text is read with
	asksColumns               // the columns of the catalogs that it reads
	asksNames                 // whose the names in it are
	asksScopes                // the databases and schemas that it changes as a whole
	asksMarker                // that markers be made; then the names must be asked about anew
	asksActor                 // who acts, before an Execute
	asksRoles                 // what the roles are called now, before an Execute whose rows may have their names
	saysForeword              // what must happen in the transaction of an Execute before it
	awaitsClaim               // nothing: it was sent already, see claim.go
	awaitsName                // nothing: what a Bind or an Execute is about, earlier answers tell
	awaitsWork                // nothing: it is read, or mapped, see apart.go
	endsFirstPart             // its own first part, which leaves a transaction; then the rest begins anew
)

// asks reports whether it is a question that the statement waits for.
func (s step) asks() bool { return s != awaitsClaim && s != awaitsName && s != awaitsWork }

// maxAttempts bounds how often the names of one statement are asked about: the first answer may tell that the database
// or a schema has another prefix than was believed, the next that it is not enrolled, and another that the marker's
// name is taken.
const maxAttempts = 5

// maxCandidates bounds how many roles are asked about for one text: each of its names may be one of each schema along
// the search_path. It bounds how many schemas are, too.
const maxCandidates = 100_000

// readOrAsk reads the held statement, or asks first how.
func (e *Engine) readOrAsk(out *Out) {
	if e.mustAsk(e.held.written) {
		e.held.step = asksReading
		e.askHeld(readingSQL, nil, out)
		return
	}
	e.read(out)
}

// read analyses the held statement.
func (e *Engine) read(out *Out) {
	e.held.reading = e.reading()
	e.held.options.OIDs = rewrite.DeclaredOIDs(e.held.declared())
	e.work((*held).read, (*Engine).hasRead, out)
}

func (h *held) read() { h.analysis, h.refusal = h.analyze(h.written, h.options) }

// hasRead goes on with what was read. Where that names no role after all, it goes as it is.
func (e *Engine) hasRead(out *Out) {
	switch h := e.held; {
	case h.refusal != nil:
		e.refuseHeld(h.refusal, out)
	case h.analysis == nil || !h.analysis.Maps():
		e.sendAsWritten(out)
	default:
		e.askFor(out)
	}
}

// askFor asks what must be known for the held statement. A query of catalogs that are known goes at once: it says in SQL
// whose a name is.
func (e *Engine) askFor(out *Out) {
	h, d := e.held, e.cfg.Directory
	first, rest, cut := h.analysis.Leave()
	names := h.analysis.Asks()
	switch {
	case (e.status != wire.TxIdle || e.pending.n > 0) && cut && h.typ == wire.Query: // which may have failed, or may yet
		e.sendFirstPart(first, rest, out)
	case e.status == wire.TxFailed && !names: // the server would not answer, and it may be a ROLLBACK that comes first
		e.showWhatIsKnown(out)
	case h.analysis.ReadsCatalog() && d.Columns(e.options.ServerVersion) == nil:
		h.step = asksColumns
		sql, params := rewrite.ColumnsSQL()
		e.askHeld(sql, params, out)
	case names && e.claims(out):
	case names || d.Stale() || e.switching || e.transaction.changesRoles() && h.analysis.Results().Any():
		e.askNames(d.Database(), out)
	default:
		e.showWhatIsKnown(out)
	}
}

// showWhatIsKnown rewrites a held query by what the directory has.
func (e *Engine) showWhatIsKnown(out *Out) {
	h := e.held
	h.mode = e.cfg.Mode
	if !e.transaction.changesRoles() {
		h.memory = e.cfg.Directory.Rewritings()
		h.known = h.memory.recall(h.analysis, h.mode)
	}
	if h.known != nil {
		h.view = h.known.view
	} else {
		db := e.cfg.Directory.Database()
		db.Schemas = nil // those that another statement asked about
		h.view = db.View()
	}
	e.rewrite(out)
}

// askNames asks the server about the names of the held statement. db is the database as it is believed to be.
func (e *Engine) askNames(db scope.Database, out *Out) {
	h := e.held
	if len(h.analysis.Names())*(2+len(db.Schemas)) > maxCandidates {
		e.refuseHeld(&rewrite.Error{Error: tooManyCandidates()}, out)
		return
	}
	if h.inquiry = h.analysis.Inquire(db); len(h.inquiry.Schemas) > maxCandidates { // names with dots may be of very many
		e.refuseHeld(&rewrite.Error{Error: tooManyCandidates()}, out)
		return
	}
	h.named = h.inquiry.Names
	e.doubt(&h.inquiry)
	h.needs = e.needs()
	h.inquiry.Standing, h.inquiry.Members = h.needs.Standing, h.needs.Members
	h.attempts++
	h.step = asksNames
	sql, params := h.inquiry.SQL()
	e.askHeld(sql, params, out)
}

// doubt adds to an inquiry the roles that this transaction, or others, may have changed, if their names can be written in
// the session's character set.
func (e *Engine) doubt(q *scope.Inquiry) {
	asked := len(q.Names)
	e.cfg.Directory.Doubt(q)
	e.transaction.doubt(q)
	q.Names = append(q.Names[:asked], slices.DeleteFunc(q.Names[asked:], func(c scope.Cluster) bool {
		_, err := e.encode(string(c))
		return err != nil
	})...)
}

// askHeld asks something for the held statement. What cannot be asked in the session's character set refuses it.
func (e *Engine) askHeld(sql string, params []string, out *Out) {
	if err := e.ask(sql, params, out); err != nil {
		e.refuseHeld(&rewrite.Error{Error: *err}, out)
	}
}

// resume goes on with the held statement, or with what another has left to do, when the proxy's question was answered.
func (e *Engine) resume(out *Out) error {
	h := e.held
	switch {
	case e.aftermath != nil && e.aftermath.ready:
		e.askAftermath(out)
		return nil
	case h == nil || !e.answered():
		return nil
	case h.step == asksReading && e.question.sync && e.question.failure != nil: // the transaction has: of it all is told by now
		e.read(out)
		return nil
	case h.step.asks() && (e.question.skipped || e.question.failure != nil):
		e.unanswered(out)
		return nil
	}
	switch h.step {
	case awaitsClaim:
		e.claimed(out)
	case awaitsName:
		return e.nameKnown(out)
	case awaitsWork:
		e.workDone(out)
	case endsFirstPart:
		e.holdStatement(h.statement, out)
	case saysSettings:
		e.readOrAsk(out)
	case asksReading:
		if err := e.takeReading(); err != nil {
			return err
		}
		e.read(out)
	case asksColumns:
		e.cfg.Directory.LearnColumns(e.options.ServerVersion, rewrite.ReadColumns(e.question.rows))
		e.askFor(out)
	case asksNames:
		return e.named(out)
	case asksScopes:
		return e.surveyed(out)
	case asksMarker:
		e.askNames(e.cfg.Directory.Database(), out)
	case asksActor:
		return e.acted(out)
	case asksRoles:
		return e.rolesKnown(out)
	case saysForeword:
		e.held = nil
		e.transmit(executed, h.tracked, h.frame, out)
	}
	return nil
}

// unanswered lets the held statement fail, since the question that it waits for has failed, or was skipped.
func (e *Engine) unanswered(out *Out) {
	h, q := e.held, e.question
	if !q.skipped && h.tracked == nil { // the failure is the answer to the statement
		e.failHeld(&tracked{substitute: q.failure}, out)
		return
	}
	e.held = nil
	switch {
	case q.skipped && q.failure != nil: // by an error of its own: the server discards what follows, up to Sync
		e.endSkipping(h.typ, out)
	case q.skipped: // by an error before it
	default: // the failure is the answer to the Execute
		e.failMessage(executed, h.tracked, tracked{substitute: q.failure}, out)
	}
}

// endSkipping ends, after an error that was the answer to a Query, what the server does up to Sync: none will come.
func (e *Engine) endSkipping(typ byte, out *Out) {
	if typ == wire.Query {
		e.pending.push(readySync, nil)
		out.Server.write(wire.AppendHeader(nil, wire.Sync, 0))
	}
}

// named goes on when the names of the held statement were answered for.
func (e *Engine) named(out *Out) error {
	h := e.held
	view, err := e.inquired(h.inquiry)
	if err != nil {
		return err
	}
	if !view.Knows(h.analysis.Names()...) {
		if h.attempts == maxAttempts {
			e.refuseHeld(&rewrite.Error{Error: unsettled(view.DB)}, out)
			return nil
		}
		e.askNames(view.DB, out)
		return nil
	}
	e.cfg.Directory.Learn(view)
	mode := e.mode(view, h.needs)
	if mode == scope.Off && !h.analysis.SetsMode() {
		e.sendAsWritten(out)
		return nil
	}
	if view.DB.Contested != nil && len(h.analysis.Names()) > 0 {
		e.refuseHeld(&rewrite.Error{Error: *view.DB.Contested}, out)
		return nil
	}
	view.InBlock, view.ModeSet = e.status != wire.TxIdle || e.pending.unsynced, h.spoke
	if view.Resets != nil {
		view.Resets["session_authorization"] = string(e.cfg.Login)
	}
	h.view, h.mode = view, mode
	if h.inventories == nil {
		h.scopes = scopesToAsk(h.analysis.Changes(), view.DB)
		if len(h.scopes) > maxScopes {
			e.refuseHeld(&rewrite.Error{Error: tooManyScopes}, out)
			return nil
		}
		h.inventories = make(map[scope.Survey]*scope.Inventory, len(h.scopes))
	}
	e.askScopes(out)
	return nil
}

// askScopes asks about the next scope that the held statement changes. When all are known, the statement is rewritten.
func (e *Engine) askScopes(out *Out) {
	h := e.held
	if len(h.scopes) == 0 {
		e.rewrite(out)
		return
	}
	h.step = asksScopes
	sql, params := h.scopes[0].SQL()
	e.askHeld(sql, params, out)
}

// surveyed goes on when a scope was answered for.
func (e *Engine) surveyed(out *Out) error {
	h := e.held
	inventory, err := h.scopes[0].Answer(e.question.rows)
	if err != nil {
		return serverViolation(err.Error(), wire.DataRow)
	}
	h.inventories[h.scopes[0]] = inventory
	h.scopes = h.scopes[1:]
	e.askScopes(out)
	return nil
}
