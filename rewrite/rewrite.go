package rewrite

import (
	"slices"
	"strings"
	"sync"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Result is what becomes of one text in one session.
type Result struct {
	SQL      string          // what to send
	Edits    Edits           // how it differs from the client's text
	Refusals []*Error        // Refusals[i] answers the failure of the statement RefusalSQL(i)
	Notices  []*Error        // what the client shall be told of the text: names in it that could not be seen
	Actions  []policy.Action // what the forwarded and the refused statements want, in order
	Parts    []Part          // the statements that have to do with roles, in order
	Enrol    bool            // markers must exist before SQL is sent: the database or a schema is not enrolled, and gets a role
	Schemas  []scope.Schema  // those of schemas, beside the database's own
	Makes    bool            // a block of it makes roles whose names are computed: errors may speak of them
	Quotes   bool            // a block of it may raise the message of an error of the server: see [Localizer]
	Tried    bool            // SQL is the client's behind the RefusalSQL: where the server cannot read that, its error is the answer

	source *source
	inner  []replacement            // in bodies
	back   func() *strings.Replacer // undoes these; nil for none
	lines  counter                  // of the text, for notices
}

// Part is one statement of a text.
type Part struct {
	Actions int  // how many of the text's actions are its
	Decided int  // how many of those the policy was asked about
	Refused bool // by whom, its decisions tell

	start, end int // bytes of the client's text
}

// Show returns a part as the client wrote it, and as it is sent.
func (r *Result) Show(p Part) (written, sent string) {
	var own Edits
	for _, e := range r.Edits {
		if p.start <= e.start && e.end <= p.end {
			own = append(own, edit{e.start - p.start, e.end - p.start, e.text})
		}
	}
	written = r.source.client[p.start:p.end]
	return written, own.apply(written)
}

// Rewrite maps the names of the text for one session: v answers for all of [Analysis.Names], mode is the session's, and
// decide, if not nil, is the policy. Each statement sees what those before it do to roles and to the mode; v is changed
// accordingly. While the mode is off, statements stay as they are. A text that is no SQL is refused as a whole.
func (a *Analysis) Rewrite(v *scope.View, mode scope.Mode, decide func(policy.Action) *scope.Error) *Result {
	src := a.source
	res := &Result{SQL: src.client, source: src}
	if s := a.malformed(mode); s != nil {
		end := len(src.client)
		res.refuse(0, end, src.clientError(s.refusal))
		if res.Tried = s.tried; s.tried {
			res.Edits = Edits{{text: RefusalSQL(0) + "; "}}
		}
		res.SQL, res.Parts = res.Edits.apply(src.client), []Part{{Refused: true, end: end}}
		return res
	}
	decided, asked, room := 0, decide, maxShown
	if decide != nil {
		asked = func(a policy.Action) *scope.Error { decided++; return decide(a) }
	}
	tracker, user := newTracker(v, mode), v.User
	for i := range a.statements {
		s := a.statements[i]
		for _, t := range s.earlier {
			tracker.apply(t, v)
		}
		if mode = tracker.now.mode; mode == scope.Off {
			if s = s.modeAlone(); s == nil {
				continue
			}
		}
		tracker.show(v, user)
		m := mapping{statement: s, sql: src.text, view: v, mode: mode, tracker: tracker, user: user, room: &room}
		before := decided
		edits, err := m.clientEdits(src, asked)
		res.Actions = append(res.Actions, m.actions...)
		part := Part{
			Actions: len(m.actions), Decided: decided - before, Refused: err != nil,
			start: src.layers.outer(s.start), end: src.layers.outer(s.end),
		}
		if part.Actions > 0 || part.Refused {
			res.Parts = append(res.Parts, part)
		}
		if err != nil {
			res.refuse(part.start, part.end, src.clientError(err))
			continue
		}
		res.accept(&m, edits)
		for _, t := range s.transitions {
			tracker.apply(t, v)
		}
	}
	if res.inner != nil {
		res.back = sync.OnceValue(res.backwards)
	}
	res.Edits.sort()
	res.SQL = res.Edits.apply(src.client)
	return res
}

// modeAlone is what of a statement counts while the mode is off: that it sets the mode. Nil for nothing.
func (s *statement) modeAlone() *statement {
	if !s.setsMode() {
		return nil
	}
	return &statement{
		start: s.start, end: s.end, mode: s.mode, transitions: s.transitions, allRoles: none, md5: none,
		wants: slices.DeleteFunc(slices.Clone(s.wants), func(w want) bool { return w.kind != policy.SetMode }),
	}
}

// accept takes in what a statement became. The edits are in the client's text.
func (r *Result) accept(m *mapping, edits Edits) {
	r.Edits = append(r.Edits, edits...)
	r.inner = append(r.inner, m.inner...)
	r.Enrol = r.Enrol || m.enrol
	for _, schema := range m.schemas {
		if !slices.Contains(r.Schemas, schema) {
			r.Schemas = append(r.Schemas, schema)
		}
	}
	r.Quotes, r.Makes = r.Quotes || m.quotes, r.Makes || m.makes
	if m.mode == scope.Transparent {
		for _, u := range m.unseen {
			r.Notices = append(r.Notices, r.source.clientError(u.notice(m.sql, &r.lines)))
		}
	}
}

// malformed returns the statement for which the text is refused as a whole; nil where there is none, or not in that mode.
func (a *Analysis) malformed(mode scope.Mode) *statement {
	for i := range a.statements {
		switch s := a.statements[i]; {
		case mode == scope.Off:
			return nil
		case s.malformed:
			return s
		case s.mode != "":
			mode = s.mode
		}
	}
	return nil
}

// refuse replaces a statement of the client's text by one that fails.
func (r *Result) refuse(start, end int, err *Error) {
	r.Edits = append(r.Edits, edit{start, end, RefusalSQL(len(r.Refusals))})
	r.Refusals = append(r.Refusals, err)
}

// Position maps a position that the server reports, a 1-based character in the text that was sent (the P field of an
// ErrorResponse), to the client's text. A position inside a replacement maps to the replacement's start.
func (r *Result) Position(p int) int {
	if p <= 0 || len(r.Edits) == 0 {
		return p
	}
	return r.Edits.position(r.source.charset, r.source.client, r.SQL, p)
}
