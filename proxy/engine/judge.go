package engine

import (
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// judge asks the policy about the actions of one text, and keeps what it says.
type judge struct {
	engine *Engine
	view   *scope.View
	user   [2]scope.Cluster // whom the facts are about: the current role and the session's user
	facts  *policy.Facts
	wants  []Want
}

// judge returns one who knows what the answer to an inquiry says of the session.
func (e *Engine) judge(view *scope.View, asked policy.Need) judge {
	return judge{engine: e, view: view, user: [2]scope.Cluster{view.User, view.Session}, facts: e.facts(view, asked)}
}

func (e *Engine) facts(view *scope.View, asked policy.Need) *policy.Facts {
	f := &policy.Facts{ServerVersion: e.options.ServerVersion}
	if view.Actor != nil {
		f.Known, f.Attributes, f.MemberOf = asked, view.Actor.Attributes, view.Actor.Members
	}
	return f
}

func (j *judge) decide(a policy.Action) *scope.Error {
	facts := j.facts
	if j.user != [2]scope.Cluster{j.view.User, j.view.Session} { // who acts there in the text was not asked
		facts = &policy.Facts{ServerVersion: facts.ServerVersion}
	}
	d := j.engine.cfg.Host.Decide(facts, a)
	j.wants = append(j.wants, Want{a, d})
	return d.Err
}

// further is decide after so many actions that were allowed and one that was denied: these are not asked about again.
func (j *judge) further(allowed int, denied *scope.Error) func(policy.Action) *scope.Error {
	return func(a policy.Action) *scope.Error {
		switch allowed--; {
		case allowed >= 0:
			return nil
		case allowed == -1:
			return denied
		default:
			return j.decide(a)
		}
	}
}

// warnings are the messages that the client gets of a policy that warns.
func (j *judge) warnings() (frames []byte) {
	set := j.engine.options.Charset()
	for _, w := range j.wants {
		if w.Decision.Warning != nil {
			list := appendError([]field{{'S', wire.SeverityWarning}, {'V', wire.SeverityWarning}}, &rewrite.Error{Error: *w.Decision.Warning}, 0)
			encodeFields(list, set)
			frames = appendReport(frames, wire.NoticeResponse, list)
		}
	}
	return frames
}

// needs is what the policy asks of a session now, about all actions or about some kinds.
func (e *Engine) needs(kinds ...policy.Kind) policy.Need {
	return e.cfg.Host.Needs(e.options.ServerVersion, kinds...)
}

// mode is the mode that the session is in: the one that it asked for, if it may, else the configured one.
func (e *Engine) mode(view *scope.View, asked policy.Need) scope.Mode {
	want, ok := scope.ParseMode(string(view.Mode))
	if !ok || want == e.cfg.Mode {
		return e.cfg.Mode
	}
	if e.cfg.Host.Decide(e.facts(view, asked), policy.Action{Kind: policy.SetMode, Mode: want}).Err != nil {
		return e.cfg.Mode
	}
	return want
}
