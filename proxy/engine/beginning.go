package engine

import (
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// beginning is what the proxy has to settle with the server before the client may begin:
//
//	whose is the role that logged in?  →  the role of the startup packet  →  "$user" in the search_path
//
// The client's first ReadyForQuery waits meanwhile.
type beginning struct {
	step     startStep
	role     startRole
	inquiry  scope.Inquiry // what was asked first
	needs    policy.Need   // what of the session
	attempts int
	user     string // that the server has told, and the client is to be told; empty for none
}

// startStep is what the question is about that the client's first ReadyForQuery waits for.
type startStep uint8

const (
	asksLogin startStep = iota // whose the role is that logged in, and whose those of the startup packet are
	asksPath                   // the search_path alone: the rest is known
	setsRole                   // the role of the startup packet
	setsPath                   // the search_path, without "$user"
)

// scoped reports whether the role that logged in has another name on the server than the client has for it.
func (e *Engine) scoped() bool { return string(e.cfg.Login) != string(e.cfg.LoginName) }

// asksFirst reports whether there is something to settle.
func (e *Engine) asksFirst() bool {
	return e.asksNames() || e.scoped()
}

// asksNames reports whether roles are in question, and not the search_path alone.
func (e *Engine) asksNames() bool {
	d := e.cfg.Directory
	return d.Stale() || !d.Admitted(e.cfg.Login, e.cfg.LoginName) || e.beginning.role.pending()
}

// firstNames are the names that must be known.
func (e *Engine) firstNames() []scope.Name {
	names := []scope.Name{{Role: e.cfg.LoginName}}
	for _, role := range e.beginning.role.names {
		names = append(names, scope.Name{Role: role})
	}
	return names
}

// askFirst asks about the roles of the database, whose the role is that logged in, and for the search_path.
func (e *Engine) askFirst(db scope.Database, out *Out) error {
	b := e.beginning
	if b.attempts == 0 && !e.asksNames() {
		b.step = asksPath
		return e.askAtStart(readPath(e.cfg.LoginName), out)
	}
	b.attempts++
	b.inquiry = db.Inquire(e.firstNames()...)
	b.inquiry.Names = append(b.inquiry.Names, e.cfg.Login)
	e.doubt(&b.inquiry)
	b.needs = e.needs()
	b.inquiry.Standing, b.inquiry.Members = b.needs.Standing, b.needs.Members
	return e.askAtStart(b.inquiry, out)
}

func (e *Engine) askAtStart(q interface{ SQL() (string, []string) }, out *Out) error {
	sql, params := q.SQL()
	if err := e.ask(sql, params, out); err != nil {
		return notAtStart(*err)
	}
	return nil
}

// start goes on when a question was answered. That the list of roles could not be learned anew, or the search_path not be
// set, is no reason to refuse a session: its statements ask for themselves. But whose the role is must be known (a
// client can make the question fail, by a statement_timeout say), and what the client wants to begin with must be done.
func (e *Engine) start(out *Out) error {
	failed := e.question.failure != nil
	known := e.cfg.Directory.Admitted(e.cfg.Login, e.cfg.LoginName) && !e.beginning.role.pending()
	switch step := e.beginning.step; {
	case step == setsRole:
		return e.roleSet(out)
	case step == setsPath:
	case failed && !known:
		return e.startFailure()
	case failed:
	case step == asksPath:
		return e.settlePath(out)
	default:
		return e.settle(out)
	}
	e.begin(out)
	return nil
}

// settle takes the answer to the first question.
func (e *Engine) settle(out *Out) error {
	b := e.beginning
	view, err := e.inquired(b.inquiry)
	if err != nil {
		return err
	}
	if !view.Knows(e.firstNames()...) {
		if b.attempts == maxAttempts {
			return notAtStart(unsettled(view.DB))
		}
		return e.askFirst(view.DB, out)
	}
	e.cfg.Directory.Learn(view)
	if err := e.mayLogin(view); err != nil {
		return err
	}
	e.cfg.Directory.Admit(e.cfg.Login, e.cfg.LoginName)
	if path, found := scope.ReplaceUser(view.SearchPath, e.cfg.LoginName); found && e.scoped() {
		e.userPath = userPath{standard: view.SearchPath, replaced: path}
	}
	if err := e.startMode(view); err != nil {
		return err
	}
	if done, err := e.setRole(view, out); !done {
		return err
	}
	return e.setUserPath(out)
}

// readPath asks for the search_path, and replaces "$user" in it at once where it is what most servers have.
type readPath scope.Short

// commonPath is the search_path that PostgreSQL comes with.
const commonPath = `"$user", public`

func (p readPath) SQL() (sql string, params []string) {
	replaced, _ := scope.ReplaceUser(commonPath, scope.Short(p))
	return `SELECT pg_catalog.current_setting('search_path'),` +
		` CASE WHEN pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.=) $1::pg_catalog.text` +
		` THEN pg_catalog.set_config('search_path', $2, false) END`, []string{commonPath, replaced}
}

// settlePath takes the answer to readPath.
func (e *Engine) settlePath(out *Out) error {
	rows := e.question.rows
	if len(rows) != 1 || len(rows[0]) != 2 {
		return serverViolation("unexpected answer", wire.DataRow)
	}
	standard, ok := e.options.Charset().Decode(rows[0][0], nil)
	path, found := scope.ReplaceUser(standard, e.cfg.LoginName)
	if !ok || !found {
		e.begin(out)
		return nil
	}
	e.userPath = userPath{standard: standard, replaced: path}
	if rows[0][1] != "" { // done
		e.begin(out)
		return nil
	}
	return e.setUserPath(out)
}

// setUserPath puts the short name in the place of "$user", which on the server stands for the cluster name.
func (e *Engine) setUserPath(out *Out) error {
	if e.userPath.standard == "" {
		e.begin(out)
		return nil
	}
	e.beginning.step = setsPath
	return e.askAtStart(setPath(e.userPath.replaced), out)
}

type setPath string

func (p setPath) SQL() (sql string, params []string) {
	return "SELECT pg_catalog.set_config('search_path', $1, false)", []string{string(p)}
}

// begin lets the client begin.
func (e *Engine) begin(out *Out) {
	e.begun()
	out.Client.write(append(wire.AppendHeader(nil, wire.ReadyForQuery, 1), e.status))
}

// begun lets go of the beginning. Where the server may have given the session a mode, its texts are asked about.
func (e *Engine) begun() {
	e.beginning, e.question = nil, nil
	if c := e.cfg.Directory.Census(); c != nil && c.Modes {
		e.switching = true
	}
}
