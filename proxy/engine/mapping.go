package engine

import (
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// rewrite maps the names in the held statement, unless it is remembered what it becomes.
func (e *Engine) rewrite(out *Out) {
	h := e.held
	h.judge = e.judge(h.view, h.needs)
	if h.recall() {
		e.hasMapped(out)
		return
	}
	h.view.Columns, h.view.DefaultPath = e.cfg.Directory.Columns(e.options.ServerVersion), e.userPath.standard
	if h.view.Census == nil {
		h.view.Census = e.cfg.Directory.Census()
	}
	if e.transaction.changesRoles() { // what names mean now, only this session sees
		h.view.Census = h.view.Census.Nameless()
	}
	e.work((*held).rewrite, (*Engine).hasMapped, out)
}

// recall reports whether it is remembered what the held statement becomes, and the policy still allows that.
func (h *held) recall() bool {
	r := h.known
	if r == nil || r.result == nil {
		h.decide = h.judge.decide
		return false
	}
	for i, a := range r.result.Actions {
		if denied := h.judge.decide(a); denied != nil {
			h.decide = h.judge.further(i, denied)
			h.view = r.view.DB.View()
			h.view.Created(r.claim.Role, scope.Own)
			return false
		}
	}
	h.mapped = r
	return true
}

// rewrite tells what the held statement becomes.
func (h *held) rewrite() {
	mapped := rewriting{view: h.view}
	if r := h.known; r != nil {
		mapped.claim, mapped.before = r.claim, r.before
	}
	mapped.result = h.analysis.Rewrite(h.view, h.mode, h.decide)
	if mapped.claim.Role != "" && len(mapped.result.Refusals) == 0 {
		_, local, _ := h.analysis.SetsRole()
		if sql, err := encode(mapped.claim.SetSQL(local), h.options); err == nil {
			claimed := *mapped.result
			claimed.SQL = sql
			mapped.claimed = &claimed
		}
	}
	mapped.names, mapped.parts = called(h.analysis, h.view), h.parts(h.written, mapped.result)
	if len(h.analysis.Changes()) > 0 { // of what follows from them there are records too
		h.redactText()
	}
	if h.memory != nil && len(mapped.result.Refusals) == 0 && len(mapped.result.SQL) <= maxBecome && Recurs(h.written, h.analysis) {
		h.memory.cache.Add(rewritingKey{h.analysis, h.mode}, &mapped)
	}
	h.mapped = &mapped
}

// called returns what the client calls the roles that a statement names, for messages of the server: roles of the database,
// and names that no role has.
func called(a *rewrite.Analysis, view *scope.View) map[scope.Cluster]scope.Short {
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

// hasMapped goes on with the held statement when its names are mapped: it is sent, unless something else comes first.
func (e *Engine) hasMapped(out *Out) {
	h := e.held
	result := h.mapped.result
	e.reportFaults(result.Refusals...)
	claims := h.step == awaitsClaim && len(result.Refusals) == 0
	switch {
	case result.Enrol && h.attempts < maxAttempts:
		h.step = asksMarker
		e.askHeld(h.view.DB.EnrolSQL(result.Schemas...), nil, out)
	case result.Enrol:
		e.refuseHeld(&rewrite.Error{Error: notEnrolled(h.view.DB, result.Schemas)}, out)
	case claims && h.mapped.claimed == nil: // which could not be written
		h.known, h.memory = nil, nil
		e.askNames(e.cfg.Directory.Database(), out)
	case claims:
		e.sendMapped(h.mapped.claimed, true, out)
	default:
		e.sendMapped(result, false, out)
	}
}

// sendMapped sends the held statement as what it became. One that claims something is held on: it may have to be mapped
// again.
func (e *Engine) sendMapped(result *rewrite.Result, claims bool, out *Out) {
	h := e.held
	t := &tracked{
		client: h.written, result: result, names: h.mapped.names, rows: h.lookAt(), claims: claims,
		notices: append(e.notices(result.Notices), h.judge.warnings()...), trail: h.judge.record(h.mapped),
	}
	e.fetches = e.fetches || h.analysis.Results().Kept
	t.deallocates = e.deallocates(h.analysis.Results())
	h.follow(t)
	if err := e.makeReady(h, t); err != nil {
		e.refuseHeld(&rewrite.Error{Error: *err}, out)
		return
	}
	if !claims {
		e.held = nil
		e.saw(t.client, result)
	}
	e.touch(h, result, t.follows())
	e.send(h.statement, t, result.SQL, out)
}

// makeReady does what must be done before a text that has consequences, or is recorded, is sent.
func (e *Engine) makeReady(h *held, t *tracked) *scope.Error {
	if (t.trail != nil || t.carried != nil || t.cleanups != nil) && !e.room() {
		return &unrecorded
	}
	e.vacate(h.analysis.Changes(), h.view.DB)
	if t.foreword == "" || h.typ != wire.Query {
		return nil
	}
	t.preceded = true
	return h.analysis.Precede(t.result, t.foreword)
}

// saw tells what became of a statement that named roles.
func (e *Engine) saw(client string, result *rewrite.Result) {
	if len(result.Actions) > 0 {
		e.cfg.Host.Saw(client, result)
	}
}
