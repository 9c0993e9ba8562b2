package engine

import (
	"fmt"
	"slices"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// consequences are what the proxy does around a statement that drops, renames or copies a scope as a whole. They belong to
// the message that runs it: Query, or Execute.
type consequences struct {
	foreword string           // what runs before it in its transaction: all or nothing
	carried  []scope.Affected // the roles that it renames
	preceded bool             // the foreword stands in the text of the Query itself, and is not answered yet
	cleanups []cleanup        // what is looked after when it has succeeded
	forget   []string         // the databases that are not what they were
	redacted string           // the client's text, for the record
}

// cleanup looks for markers whose database or schema is gone, and drops them and their roles. It goes by what it
// finds: where the statement was undone, nothing is gone.
type cleanup struct {
	survey   scope.Survey
	schemas  bool   // of the session's database; else the database
	redacted string // the client's text, for the record
}

func (c consequences) follows() bool { return c.foreword != "" || c.cleanups != nil || c.forget != nil }

// maxScopes bounds what the server is asked about for one text.
const maxScopes = 16

var tooManyScopes = scope.Error{
	Code:    scope.CodeProgramLimitExceeded,
	Message: fmt.Sprintf("a text cannot rename more than %d databases", maxScopes),
	Hint:    "Send it in parts.",
}

// surveyFor returns what must be known before a change; false where nothing must. db is the session's database.
//
// DROP and CREATE DATABASE among other statements fail at the server (PreventInTransactionBlock, xact.c).
func surveyFor(c rewrite.Change, db scope.Database) (scope.Survey, bool) {
	switch c.Kind {
	case rewrite.DropDatabase, rewrite.CopyDatabase:
		return scope.Survey{Database: c.Name}, c.Alone
	case rewrite.RenameDatabase:
		return scope.Survey{Database: c.Name}, true
	case rewrite.RenameSchema:
		return scope.Survey{Database: db.Name}, db.Enrolled || db.Contested != nil
	default:
		return scope.Survey{}, false
	}
}

// scopesToAsk returns what must be known before the changes, each once. Of too many it returns one too many.
func scopesToAsk(changes []rewrite.Change, db scope.Database) (list []scope.Survey) {
	for _, c := range changes {
		if q, ok := surveyFor(c, db); ok && !slices.Contains(list, q) {
			if list = append(list, q); len(list) > maxScopes {
				break
			}
		}
	}
	return list
}

// follow finds out the consequences of the held statement, and refuses what cannot have them: the first that cannot, since the
// server runs nothing behind it.
func (h *held) follow(t *tracked) {
	t.redacted = h.redacted
	for _, c := range h.analysis.Changes() {
		q, ok := surveyFor(c, h.view.DB)
		var inventory *scope.Inventory
		if ok {
			inventory = h.inventories[q]
		}
		var err *scope.Error
		switch {
		case c.Kind == rewrite.DropSchema && h.view.DB.Enrolled:
			t.cleanUp(cleanup{scope.Survey{Database: h.view.DB.Name}, true, t.redacted})
		case inventory == nil:
		case c.Kind == rewrite.DropDatabase:
			t.forget = append(t.forget, c.Name)
			if db, enrolled := inventory.Database(c.Name); enrolled {
				t.cleanUp(cleanup{scope.Survey{Database: c.Name, OID: db.OID}, false, t.redacted}) // a marker may have but one of them right
			}
		case c.Kind == rewrite.CopyDatabase:
			err = inventory.Copy(c.Name)
		case c.Kind == rewrite.RenameDatabase:
			t.forget = append(t.forget, c.Name, c.To)
			err = t.rename(c, inventory.Rename)
		case c.Kind == rewrite.RenameSchema:
			err = t.rename(c, inventory.RenameSchema)
		}
		if err != nil {
			h.analysis.Refuse(t.result, c, *err)
			return
		}
	}
}

// vacate tells of the databases that must have no other sessions, each once.
func (e *Engine) vacate(changes []rewrite.Change, db scope.Database) {
	told := make(map[string]bool)
	for _, c := range changes {
		switch _, surveyed := surveyFor(c, db); c.Kind {
		case rewrite.DropDatabase, rewrite.RenameDatabase, rewrite.CopyDatabase:
			if surveyed && !told[c.Name] {
				told[c.Name] = true
				e.cfg.Host.Vacate(c.Name)
			}
		case rewrite.DropSchema, rewrite.RenameSchema:
		}
	}
}

func (c *consequences) cleanUp(what cleanup) {
	if !slices.Contains(c.cleanups, what) {
		c.cleanups = append(c.cleanups, what)
	}
}

// rename makes the roles of a scope that gets another name follow it.
func (c *consequences) rename(change rewrite.Change, foreword func(name, to string) (scope.Work, *scope.Error)) *scope.Error {
	work, err := foreword(change.Name, change.To)
	if err == nil && work.SQL != "" && !change.Alone {
		err = &scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf(`"%s", which has roles of its own, cannot be renamed by one of several statements in a string`, change.Name),
			Hint:    "Send the statement by itself. It may stand in a transaction.",
		}
	}
	if err == nil {
		c.foreword, c.carried = work.SQL, work.Roles
	}
	return err
}

// transmit sends a message whose answer is awaited, about the text t where that is tracked.
func (e *Engine) transmit(awaits awaited, t *tracked, frame []byte, out *Out) {
	e.expect(awaits, t)
	out.Server.write(frame)
}

// expect notes that a message goes to the server.
func (e *Engine) expect(awaits awaited, t *tracked) {
	if t != nil && t.deallocates != nil && runs(awaits) {
		t = e.deallocating(awaits, t)
	}
	e.pending.push(awaits, t)
	if t != nil && t.cleanups != nil && runs(awaits) && e.aftermath == nil {
		e.aftermath = new(aftermath)
	}
}

// runs reports whether a message that is answered so runs a text.
func runs(awaits awaited) bool { return awaits == readyQuery || awaits == executed }

// aftermath is what is left to do behind a statement. There is one as soon as a statement is sent that may leave something
// to do. When the server is ready, its ReadyForQuery is withheld, and the client waits:
//
//	for each cleanup that is due: survey what is gone ─▶ for each work that follows: do it
//
// The ReadyForQuery of the last of these is what the client gets.
type aftermath struct {
	due       []cleanup    // of statements that have been executed; the first is surveyed next
	todo      []scope.Work // what the last survey has told to do; the first is done next, or is being done
	redacted  string       // the client's text that it is done for
	said      []string     // what the server has told of todo[0]
	surveying bool         // the question under way is a survey
	ready     bool         // the next question can be put
}

// cleaningUp reports whether the client must wait for an aftermath.
func (e *Engine) cleaningUp() bool {
	return e.aftermath != nil && !e.pending.unsynced && !e.pending.copyIn
}

// completed notes that a statement has been executed, and reports whether it was the client's, not a foreword.
func (e *Engine) completed() bool {
	t := e.pending.first().tracked
	switch {
	case t == nil:
		return true
	case t.preceded:
		t.preceded = false
		return false
	case e.pending.first().awaits == readyQuery:
		t.completed++
	}
	for _, c := range t.cleanups {
		if !slices.Contains(e.aftermath.due, c) {
			e.aftermath.due = append(e.aftermath.due, c)
		}
	}
	e.followed(t.redacted, t.foreword, policy.RenameRole, t.carried)
	return true
}

// over gives away the record of a text that has run to its end, and tells of the databases that may be others now.
func (e *Engine) over(t *tracked, result string) {
	e.done(t.trail, result)
	for _, database := range t.forget {
		e.cfg.Host.Forget(database)
	}
}

// withheld decides about a ReadyForQuery that an aftermath may come before.
func (e *Engine) withheld() bool {
	if !e.cleaningUp() || e.pending.n > 0 {
		return false
	}
	a := e.aftermath
	if len(a.due) == 0 || e.status == wire.TxFailed {
		e.aftermath = nil
		return false
	}
	a.ready = true
	return true
}

// askAftermath puts the next question of an aftermath: what there is to do, or that it be done.
func (e *Engine) askAftermath(out *Out) {
	a := e.aftermath
	a.ready = false
	if a.surveying = len(a.todo) == 0; a.surveying {
		sql, params := a.due[0].survey.SQL()
		e.put(sql, params, e.endOfQuestion(), out)
		return
	}
	a.said = nil
	e.tell(a.todo[0].SQL, e.endOfQuestion(), out)
}

// followed keeps a record of what the proxy has done to roles in consequence of the client's text.
func (e *Engine) followed(written, sent string, kind policy.Kind, roles []scope.Affected) {
	if len(roles) == 0 {
		return
	}
	st := Statement{Written: written, Sent: sent, Came: e.now(), Decided: e.now()}
	for _, r := range roles {
		st.Wants = append(st.Wants, Want{Action: policy.Action{
			Kind: kind, Role: policy.Role{Name: r.Name, Cluster: r.Cluster, Home: scope.Own},
			Grantee: policy.Role{Name: scope.Short(r.To), Cluster: r.To},
		}})
	}
	e.done(&trail{statements: []Statement{st}}, Succeeded)
}

// dropped are the roles of which the server has not said that they stay.
func (a *aftermath) dropped() []scope.Affected {
	return slices.DeleteFunc(slices.Clone(a.todo[0].Roles), func(r scope.Affected) bool { return slices.Contains(a.said, r.Stays) })
}

// answerAftermath takes the whole answer to a question of an aftermath, and tells whether that was the last.
func (e *Engine) answerAftermath() (last bool, err error) {
	a, q := e.aftermath, e.question
	if !a.surveying {
		if q.failure == nil {
			e.followed(a.redacted, a.todo[0].SQL, policy.DropRole, a.dropped())
		}
		a.todo = a.todo[1:]
	} else {
		c := a.due[0]
		a.due, a.redacted = a.due[1:], c.redacted
		if q.failure == nil {
			inventory, err := c.survey.Answer(q.rows)
			if err != nil {
				return false, serverViolation(err.Error(), wire.DataRow)
			}
			if a.todo = inventory.Dropped(); c.schemas {
				a.todo = inventory.DroppedSchemas()
			}
		}
	}
	if len(a.todo)+len(a.due) > 0 && e.status != wire.TxFailed {
		a.ready = true
		return false, nil
	}
	e.aftermath = nil
	e.cfg.Directory.Changed()
	return true, nil
}
