package engine

import (
	"bytes"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// executePortal takes an Execute. One of a text with a record goes through the policy again.
func (e *Engine) executePortal(frame []byte, out *Out) (verdict, error) {
	portal, _, ok := cutString(frame[wire.HeaderSize:])
	if !ok {
		return drop, protocolViolation("invalid string", wire.Execute)
	}
	t, certain := e.registers().portals.get(key(portal), e.pending.syncs)
	switch {
	case !certain:
		return e.holdMessage(frame), nil
	case t == nil && e.fetches && len(portal) > 0:
		e.forward(e.madeBySQL('P', portal, out), bytes.Clone(frame), out)
	case t == nil:
		e.pending.push(executed, nil)
		return pass, nil
	case t.trail != nil:
		e.execute(t, bytes.Clone(frame), out)
	case t.looked() && e.status != wire.TxFailed && (e.transaction.changesRoles() || e.cfg.Directory.Stale()):
		e.askRoles(t, bytes.Clone(frame), out)
	default:
		e.forward(t, bytes.Clone(frame), out)
	}
	if e.held != nil {
		return hold, nil
	}
	return drop, nil
}

// execute lets the server run a portal of a text that is recorded, if the policy still allows it, and who acts now may.
func (e *Engine) execute(t *tracked, frame []byte, out *Out) {
	e.came = e.now()
	wants := t.trail.statements[0].Wants
	kinds := make([]policy.Kind, len(wants))
	for i, w := range wants {
		kinds[i] = w.Action.Kind
	}
	needs := e.needs(kinds...)
	if len(wants) == 0 || !needs.Standing && !needs.Members {
		e.executeAs(t, frame, t.trail.facts, out)
		return
	}
	h := &held{step: asksActor, tracked: t, frame: frame}
	h.inquiry = scope.Inquiry{Database: e.cfg.Directory.Database().Name, Standing: needs.Standing, Members: needs.Members}
	for _, w := range wants {
		if w.Action.Role.Cluster != "" {
			h.inquiry.Names = append(h.inquiry.Names, w.Action.Role.Cluster)
		}
	}
	e.held = h
	sql, params := h.inquiry.SQL()
	if err := e.ask(sql, params, out); err != nil {
		e.held = nil
		e.refuseMessage(executed, t, *err, out)
	}
}

// acted goes on with an Execute when it is known who acts.
func (e *Engine) acted(out *Out) error {
	h := e.held
	view, err := e.inquired(h.inquiry)
	if err != nil {
		return err
	}
	e.held = nil
	again, st := h.tracked.trail.again()
	for i := range st.Wants {
		r := &st.Wants[i].Action.Role
		r.Administered = view.Administers(r.Cluster, r.Home)
	}
	t := *h.tracked
	t.trail, t.notices = again, nil
	e.executeAs(&t, h.frame, e.facts(view, policy.Need{Standing: h.inquiry.Standing, Members: h.inquiry.Members}), out)
	return nil
}

func (e *Engine) executeAs(t *tracked, frame []byte, facts *policy.Facts, out *Out) {
	if !e.room() {
		e.refuseMessage(executed, t, unrecorded, out)
		return
	}
	again, st := t.trail.again()
	st.Came, st.Decided = e.came, e.now()
	var denied *scope.Error
	for i := range st.Wants {
		w := &st.Wants[i]
		if w.Decision = e.cfg.Host.Decide(facts, w.Action); w.Decision.Err != nil {
			denied = w.Decision.Err
			break
		}
	}
	now := *t
	now.trail, now.notices = again, nil // Parse has told them
	if denied != nil {
		e.refuseMessage(executed, &now, *denied, out)
		return
	}
	e.forward(&now, frame, out)
}

// forward lets an Execute go to the server, behind its foreword if it has one. t is what the text became, nil where that
// is as the client wrote it. The engine keeps the frame.
func (e *Engine) forward(t *tracked, frame []byte, out *Out) {
	if t == nil || t.foreword == "" {
		e.transmit(executed, t, frame, out)
		return
	}
	e.held = &held{step: saysForeword, tracked: t, frame: frame}
	e.tell(t.foreword, wire.Flush, out) // its transaction is the statement's
}
