package engine

import (
	"cmp"
	"strings"
	"time"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Statement is a statement that had to do with roles, and what became of it: each of a Query, or that of a portal, each
// time it was executed, or was to be.
type Statement struct {
	// Of is how many such statements the client sent in one text, and Number which of them this is, from 1 on. Zero
	// where it is the only one.
	Number, Of int
	Written    string // by the client, in UTF-8, without secrets
	Sent       string // to the server, likewise; empty where nothing of it was
	Wants      []Want // what it wanted of roles, in order; of one statement, what stands behind a refused one is not in it
	Refused    bool   // by the proxy itself, not by the policy: it could not be mapped
	// Result is the SQLSTATE that the client got for the text: 00000 where the server did what it was told. Empty where
	// the session ended before the answer came.
	Result string
	// Came and Decided are when the client sent it and when it was known what is to become of it. Zero without a clock.
	Came, Decided time.Time
}

// Want is one action of a statement, and what the policy says of it.
type Want struct {
	Action   policy.Action
	Decision policy.Decision // the zero Decision where it was not asked
}

// trail is the record of a text, as long as it has no result.
type trail struct {
	statements []Statement   // at least one; of a prepared statement just one
	facts      *policy.Facts // that their wants were decided by
}

// recordOf returns the record of a text that was decided about; nil where it has nothing to do with roles.
func (j *judge) recordOf(client string, result *rewrite.Result) *trail {
	r := j.engine.reading()
	return j.record(&rewriting{result: result, parts: r.parts(client, result)})
}

// record is recordOf for what a text became.
func (j *judge) record(r *rewriting) *trail {
	if len(r.result.Parts) == 0 {
		return nil
	}
	t := &trail{facts: j.facts}
	parts := recorded(r.result)
	wants, actions := j.wants, r.result.Actions
	for i, p := range parts {
		decided := min(p.Decided, len(wants))
		st := Statement{Wants: wants[:decided:decided], Refused: p.Refused, Came: j.engine.came, Decided: j.engine.now()}
		if i < len(r.parts) {
			st.Written, st.Sent = r.parts[i].written, r.parts[i].sent
		}
		if len(parts) > 1 {
			st.Number, st.Of = i+1, len(parts)
		}
		for _, w := range st.Wants {
			if w.Decision.Verdict == policy.Deny {
				st.Refused = false
			}
		}
		if len(st.Wants) == 0 {
			for _, a := range actions[:p.Actions] {
				st.Wants = append(st.Wants, Want{Action: a})
			}
		}
		wants, actions = wants[decided:], actions[p.Actions:]
		t.statements = append(t.statements, st)
	}
	return t
}

// redacted is a statement without secrets, as it was written and as it was sent.
type redacted struct{ written, sent string }

// maxRecords bounds how many records a text has: where more of its statements are about roles, they have one together.
const maxRecords = 1000

// recorded are the parts of a text that have a record each.
func recorded(result *rewrite.Result) []rewrite.Part {
	if len(result.Parts) <= maxRecords {
		return result.Parts
	}
	var whole rewrite.Part
	for _, p := range result.Parts {
		whole.Actions += p.Actions
		whole.Decided += p.Decided
		whole.Refused = whole.Refused || p.Refused
	}
	return []rewrite.Part{whole}
}

// parts returns the parts of a text that are recorded.
func (r *reading) parts(client string, result *rewrite.Result) (parts []redacted) {
	if !r.recorded {
		return nil
	}
	list := recorded(result)
	for _, p := range list {
		written, sent := strings.TrimLeft(client, " "), strings.TrimLeft(result.SQL, " ") // which may stand for a part that was sent before
		if len(list) > 1 {
			written, sent = result.Show(p)
		}
		parts = append(parts, redacted{r.redact(written), r.redact(sent)})
	}
	return parts
}

// refused is the record of a text that is not sent; written is the text without secrets.
func (e *Engine) refused(written string) *trail {
	if !e.cfg.Recorded {
		return nil
	}
	return &trail{statements: []Statement{{Written: written, Refused: true, Came: e.came, Decided: e.now()}}}
}

// now is the time, where somebody wants to know it.
func (e *Engine) now() time.Time {
	if !e.cfg.Recorded {
		return time.Time{}
	}
	return e.cfg.Host.Now()
}

// done gives away the record of a text.
func (e *Engine) done(t *trail, result string) {
	if t == nil {
		return
	}
	for _, st := range t.statements {
		if st.changesAccess() {
			e.opened().changesAccess = true
		}
		if e.cfg.Recorded {
			st.Result = result
			e.cfg.Host.Done(st)
		}
	}
}

// again is a copy of the record of a prepared statement, for one more execution of it.
func (t *trail) again() (*trail, *Statement) {
	st := t.statements[0]
	st.Wants = append([]Want(nil), st.Wants...)
	c := &trail{statements: []Statement{st}, facts: t.facts}
	return c, &c.statements[0]
}

// changesAccess reports whether the statement was let through, and is one that changes roles or what they may do. Whether
// it succeeded is no matter: of a text with several, some may have.
func (st *Statement) changesAccess() bool {
	changes := false
	for _, w := range st.Wants {
		switch w.Action.Kind {
		case policy.SetRole, policy.SetSessionAuth, policy.SetMode, policy.NameRole, policy.Connect:
		default:
			changes = true
		}
		if w.Decision.Err != nil {
			return false
		}
	}
	return changes && !st.Refused
}

// Succeeded is the SQLSTATE of what did.
const Succeeded = "00000" // successful_completion

// failedWith gives away the record of a text that the server's error is about. code is what the client was told.
func (e *Engine) failedWith(t *tracked, code string) {
	if t == nil {
		return
	}
	e.done(t.trail, cmp.Or(code, "XX000"))
	if e.pending.first().awaits == readyQuery { // its ReadyForQuery is still to come
		t.trail = nil
	}
}

// Abandon gives away the records of what the server was told to do and has not answered. It is to be called when the
// session has ended.
func (e *Engine) Abandon() {
	for p := range e.pending.all() {
		if p.tracked != nil && runs(p.awaits) {
			e.over(p.tracked, "")
		}
	}
	e.pending = pending{}
}

// room reports whether a record of one more statement can be kept.
func (e *Engine) room() bool { return !e.cfg.Recorded || e.cfg.Host.Room() }

// unrecorded refuses a statement of which no record could be kept.
var unrecorded = scope.Error{
	Code:    "53000", // insufficient_resources
	Message: "the audit log cannot keep up",
	Detail:  "No role statement runs without a record of it.",
	Hint:    "Try again. If it stays so, see the proxy's log: the audit log cannot be written, perhaps.",
}

// tooManyPrepared refuses a statement of which there could be no record when it is executed.
var tooManyPrepared = scope.Error{
	Code:    scope.CodeProgramLimitExceeded,
	Message: "this session has prepared too many statements with role names",
	Hint:    "DEALLOCATE those that are not needed any more, or close them.",
}
