package engine

import (
	"bytes"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// statement is a message of the client that carries a text: Query, or Parse with the prepared statement's name and the
// parameter types behind the text. The slices are the reader's.
type statement struct {
	typ       byte
	name, sql []byte
	types     []byte
}

func (s statement) clone() statement {
	s.name, s.sql, s.types = bytes.Clone(s.name), bytes.Clone(s.sql), bytes.Clone(s.types)
	return s
}

// held is a statement that waits: the server is being asked whose the names in it are.
type held struct {
	statement
	analysis *rewrite.Analysis // nil as long as it is not known how the text is read
	inquiry  scope.Inquiry     // what was asked
	enrolled bool              // the question was about making markers; the names must be asked about anew
	attempts int
}

// maxAttempts bounds how often the names of one statement are asked about: the first answer may tell that the database
// or a schema has another prefix than was believed, the next that it is not enrolled, and another that the marker's
// name is taken.
const maxAttempts = 5

// maxCandidates bounds how many roles are asked about for one text: each of its names may be one of each schema along
// the search_path.
const maxCandidates = 100_000

// statement decides about a text of the client. Most name no role, and pass.
func (e *Engine) statement(s statement, out *Out) (verdict, error) {
	if e.pending.skipping {
		return drop, nil // as the server would
	}
	if e.cfg.Mode == scope.Off && !e.switching {
		e.switching = mentionsSettings(s.sql)
	}
	if e.cfg.Mode == scope.Off && !e.switching || !rewrite.MayNameRole(s.sql) {
		e.pending.push(asks[s.typ], nil)
		return pass, nil
	}
	if e.mustAsk(string(s.sql)) {
		e.held = &held{statement: s.clone()}
		e.askHeld(readingSQL, nil, out)
		return hold, nil
	}
	analysis, err := rewrite.Analyze(string(s.sql), e.options)
	switch {
	case err != nil:
		e.refuse(s, err, out)
		return drop, nil
	case analysis == nil:
		e.pending.push(asks[s.typ], nil)
		return pass, nil
	}
	e.held = &held{statement: s.clone(), analysis: analysis}
	if !e.askNames(e.cfg.Directory.Database(), out) {
		return drop, nil
	}
	return hold, nil
}

// mentionsSettings reports whether a text may set one of the session's pgscope.* settings.
func mentionsSettings(sql []byte) bool {
	const word = "pgscope"
	for i := 0; i+len(word) <= len(sql); i++ {
		if sql[i]|0x20 == word[0] && strings.EqualFold(string(sql[i:i+len(word)]), word) {
			return true
		}
	}
	return false
}

// askNames asks the server about the names of the held statement. db is the database as it is believed to be. A statement
// that asks for too much, or cannot be asked about in the session's character set, is refused, and no longer held.
func (e *Engine) askNames(db scope.Database, out *Out) (asked bool) {
	h := e.held
	if len(h.analysis.Names())*(2+len(db.Schemas)) > maxCandidates {
		e.held = nil
		e.refuse(h.statement, &rewrite.Error{Error: tooManyCandidates()}, out)
		return false
	}
	h.inquiry = db.Inquire(h.analysis.Names()...)
	h.inquiry.Own = e.cfg.Directory.Stale()
	h.inquiry.User = h.analysis.AsksUser()
	h.attempts++
	h.enrolled = false
	sql, params := h.inquiry.SQL()
	return e.askHeld(sql, params, out)
}

// askHeld asks something for the held statement.
func (e *Engine) askHeld(sql string, params []string, out *Out) (asked bool) {
	if err := e.ask(sql, params, out); err != nil {
		h := e.held
		e.held = nil
		e.refuse(h.statement, &rewrite.Error{Error: *err}, out)
		return false
	}
	return true
}

// resume goes on with the held statement when the proxy's question was answered.
func (e *Engine) resume(out *Out) error {
	h := e.held
	if h == nil || !e.question.done {
		return nil
	}
	switch {
	case e.question.skipped: // an error before it: the server discards what follows, up to Sync
		e.held = nil
		if e.question.failure != nil && h.typ == wire.Query { // … but the error is the Query's, and no Sync will come
			e.pending.push(readySync, nil)
			out.Server.write(wire.AppendHeader(nil, wire.Sync, 0))
		}
		return nil
	case e.question.failure != nil: // it is the answer to the statement
		e.held = nil
		e.sendToFail(h.statement, &text{client: string(h.sql), instead: e.question.failure}, out)
		return nil
	case h.analysis == nil:
		return e.readHeld(out)
	case h.enrolled:
		e.askNames(e.cfg.Directory.Database(), out)
		return nil
	}
	view, err := e.inquired(h.inquiry)
	if err != nil {
		return err
	}
	if !view.Knows(h.analysis.Names()...) {
		if h.attempts == maxAttempts {
			e.held = nil
			e.refuse(h.statement, &rewrite.Error{Error: unsettled(view.DB)}, out)
			return nil
		}
		e.askNames(view.DB, out)
		return nil
	}
	e.cfg.Directory.Learn(view)
	mode := e.mode(view)
	if mode == scope.Off {
		e.held = nil
		e.send(h.statement, nil, string(h.sql), out)
		return nil
	}
	result := h.analysis.Rewrite(view, mode, e.cfg.Decide)
	if result.Enrol && h.attempts < maxAttempts {
		h.enrolled = true
		e.askHeld(view.DB.EnrolSQL(result.Schemas...), nil, out)
		return nil
	}
	e.held = nil
	if result.Enrol {
		e.refuse(h.statement, &rewrite.Error{Error: notEnrolled(view.DB, result.Schemas)}, out)
		return nil
	}
	if e.cfg.Saw != nil {
		e.cfg.Saw(string(h.sql), result)
	}
	e.changing = e.changing || slices.ContainsFunc(result.Actions, changesRoles)
	e.send(h.statement, &text{
		client: string(h.sql), result: result, names: named(h.analysis, view), notices: e.notices(result.Notices),
	}, result.SQL, out)
	return nil
}

// readHeld reads the held statement when the server has told how.
func (e *Engine) readHeld(out *Out) error {
	if err := e.takeReading(); err != nil {
		return err
	}
	h := e.held
	var refusal *rewrite.Error
	h.analysis, refusal = rewrite.Analyze(string(h.sql), e.options)
	switch {
	case refusal != nil:
		e.held = nil
		e.refuse(h.statement, refusal, out)
	case h.analysis == nil:
		e.held = nil
		e.send(h.statement, nil, string(h.sql), out)
	default:
		e.askNames(e.cfg.Directory.Database(), out)
	}
	return nil
}

func changesRoles(a policy.Action) bool {
	switch a.Kind {
	case policy.CreateRole, policy.AlterRole, policy.RenameRole, policy.DropRole:
		return true
	default:
		return false
	}
}

// named tells what a statement's names became, where the server may mention them: roles of the database, and names that
// no role has.
func named(a *rewrite.Analysis, view *scope.View) map[scope.Cluster]scope.Short {
	names := make(map[scope.Cluster]scope.Short)
	for _, name := range a.Names() {
		resolve := view.ResolveOwn
		if name.Schema != "" {
			resolve = func(role scope.Short) (scope.Cluster, scope.Home, *scope.Error) {
				return view.ResolveIn(name.Schema, role)
			}
		}
		c, home, err := resolve(name.Role)
		switch {
		case err != nil:
		case home == scope.Own:
			names[c], _ = view.Localize(c)
		case home == scope.Missing:
			names[c] = name.Short()
		}
	}
	return names
}

// mode is the mode that the session is in: the one that it asked for, if it may, else the configured one.
func (e *Engine) mode(view *scope.View) scope.Mode {
	want, ok := scope.ParseMode(string(view.Mode))
	if !ok || want == e.cfg.Mode {
		return e.cfg.Mode
	}
	if e.cfg.Decide(policy.Action{Kind: policy.SetMode, Mode: want}) != nil {
		return e.cfg.Mode
	}
	return want
}

// send lets a statement go to the server with sql for its text. t is nil where that is what the client wrote.
func (e *Engine) send(s statement, t *text, sql string, out *Out) {
	if t != nil && t.client == sql && t.instead == nil && t.notices == nil {
		t = nil
	}
	if s.typ == wire.Parse && t != nil {
		e.rewritten.prepare(string(s.name), t)
	}
	e.pending.push(asks[s.typ], t)
	frame := wire.Begin(make([]byte, 0, wire.HeaderSize+len(s.name)+len(sql)+len(s.types)+2), s.typ)
	if s.typ == wire.Parse {
		frame = append(append(frame, s.name...), 0)
	}
	frame = append(append(frame, sql...), 0)
	frame = wire.End(append(frame, s.types...), 0)
	out.Server.write(frame)
}

// refuse answers a statement with an error, in the way that the package's doc tells.
func (e *Engine) refuse(s statement, err *rewrite.Error, out *Out) {
	e.sendToFail(s, &text{client: string(s.sql), result: &rewrite.Result{Refusals: []*rewrite.Error{err}}}, out)
}

func (e *Engine) sendToFail(s statement, t *text, out *Out) {
	if s.typ == wire.Parse {
		s.types = []byte{0, 0}
	}
	e.send(s, t, rewrite.RefusalSQL(0), out)
}
