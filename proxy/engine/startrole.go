package engine

import (
	"errors"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// StartRole is what the client's startup packet says of roles beside the user. It was taken out of the packet for the
// server, since its names can only be mapped when the session can be asked.
type StartRole struct {
	Role          string // the setting "role"; empty is no name, and Set says whether it was there
	Set           bool
	Authorization string // the setting session_authorization: the server overwrites it by the user, if such a role exists
	Authorized    bool
	Mode          string // the setting pgscope.mode, which stays in the packet; empty where it was not there
}

// startRole is the way from there to a SET ROLE, before the client may begin.
type startRole struct {
	StartRole
	analysis *rewrite.Analysis // of the SET
	refusal  *rewrite.Error
	names    []scope.Short // whose roles must be known
	trail    *trail
}

// read makes the statement of the settings. The packet is in no client_encoding: the server reads it as it is.
func (s StartRole) read() (r startRole) {
	r.StartRole = s
	if s.Authorized {
		r.names = append(r.names, scope.Short(s.Authorization))
	}
	if s.Set && s.Role != "none" {
		r.analysis, r.refusal = rewrite.Analyze("SET role TO "+scope.QuoteLiteral(s.Role), startOptions)
		r.names = append(r.names, scope.Short(s.Role))
	}
	return r
}

var startOptions = rewrite.Options{StandardStrings: true, Encoding: "UTF8"}

// pending reports whether something is still to be done.
func (r *startRole) pending() bool { return len(r.names) > 0 || r.Mode != "" }

// startMode refuses what SET would: a mode that is none, or that the session may not be in.
func (e *Engine) startMode(view *scope.View) error {
	said := e.beginning.role.Mode
	if said == "" {
		return nil
	}
	e.beginning.role.Mode = ""
	written := "SET " + scope.ModeSetting + " TO " + scope.QuoteLiteral(said)
	analysis, refusal := rewrite.Analyze(written, startOptions)
	if refusal != nil {
		return notAtStart(refusal.Error)
	}
	j := e.judge(view, e.beginning.needs)
	result := analysis.Rewrite(view, e.cfg.Mode, j.decide)
	e.cfg.Host.Saw(written, result)
	if !e.room() {
		return notAtStart(unrecorded)
	}
	code := Succeeded
	if len(result.Refusals) > 0 {
		code = result.Refusals[0].Code
	}
	e.done(j.recordOf(written, result), code)
	if len(result.Refusals) > 0 {
		return notAtStart(result.Refusals[0].Error)
	}
	return nil
}

// setRole sets the role that the session begins with. done is false where the server was asked to.
func (e *Engine) setRole(view *scope.View, out *Out) (done bool, err error) {
	mode := e.mode(view, e.beginning.needs)
	if e.beginning.role.Authorized {
		if _, home, err := e.resolveStart(view, mode, scope.Short(e.beginning.role.Authorization)); err != nil || home == scope.Missing {
			return false, notAtStart(roleMissing(e.beginning.role.Authorization))
		}
	}
	switch r := &e.beginning.role; {
	case r.refusal != nil:
		return false, notAtStart(r.refusal.Error)
	case r.analysis == nil:
		return true, nil
	case e.beginning.role.Role == "": // no role has that name, and with the prefix it would be one
		return false, notAtStart(roleMissing(""))
	}
	written := "SET role TO " + scope.QuoteLiteral(e.beginning.role.Role)
	j := e.judge(view, e.beginning.needs)
	result := e.beginning.role.analysis.Rewrite(view, mode, j.decide)
	e.cfg.Host.Saw(written, result)
	e.beginning.role.trail = j.recordOf(written, result)
	if !e.room() {
		return false, notAtStart(unrecorded)
	}
	if len(result.Refusals) > 0 {
		refusal := result.Refusals[0].Error
		e.done(e.beginning.role.trail, refusal.Code)
		if refusal.Code == scope.CodeUndefinedObject {
			refusal.Code = scope.CodeInvalidParameter // check_role, src/backend/commands/variable.c
		}
		return false, notAtStart(refusal)
	}
	e.beginning.step = setsRole
	if err := e.ask(result.SQL, nil, out); err != nil {
		return false, notAtStart(*err)
	}
	return false, nil
}

// roleSet goes on when the server has set the role, or has refused to.
func (e *Engine) roleSet(out *Out) error {
	failure := e.question.failure
	if failure != nil {
		e.done(e.beginning.role.trail, string(wire.Field(failure, 'C')))
		return e.startFailure()
	}
	e.done(e.beginning.role.trail, Succeeded)
	return e.setUserPath(out)
}

func (e *Engine) resolveStart(view *scope.View, mode scope.Mode, name scope.Short) (scope.Cluster, scope.Home, *scope.Error) {
	if mode == scope.Transparent {
		return view.Resolve(name)
	}
	return view.ResolvePlain(name)
}

func roleMissing(name string) scope.Error {
	return scope.Error{Code: scope.CodeInvalidParameter, Message: `role "` + name + `" does not exist`}
}

// notAtStart ends a session that cannot begin as its client wants.
func notAtStart(reason scope.Error) error { return &Error{Report: reason} }

// startFailure makes of the server's refusal to do what the session must begin with the end of the session.
func (e *Engine) startFailure() error {
	list, ok := fields(wire.Body(e.question.failure))
	if !ok {
		return serverViolation("invalid field", wire.ErrorResponse)
	}
	t := &tracked{names: make(map[scope.Cluster]scope.Short)}
	for _, name := range e.beginning.role.names { // of one that does not exist, too
		if c, err := e.cfg.Directory.Database().Qualify(name); err == nil {
			t.names[c] = name
		}
	}
	list, _ = e.localize(list, t)
	reason := scope.Error{Code: get(list, 'C'), Message: get(list, 'M'), Detail: get(list, 'D'), Hint: get(list, 'H')}
	if reason.Code == "" {
		return errors.New("engine: an error without a code")
	}
	return notAtStart(reason)
}
