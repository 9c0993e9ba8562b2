package rewrite

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// What a name means depends on settings of the session: the mode, the search_path, the current role. Statements of
// a text may change them before later statements of it run. The server was asked before the text; this file
// follows the settings through the text, statement by statement. Where a statement goes back to a state that is
// not known, what depends on it is refused.

// sessionState is what names depend on at one place of a text.
type sessionState struct {
	mode          scope.Mode // empty where it is not known
	path          scope.Path
	user, session scope.Cluster // empty where they are not known
}

var unknownState = sessionState{path: scope.Path{Unknown: true}}

// tracker follows the state along a text.
type tracker struct {
	now   sessionState
	kept  sessionState // what COMMIT leaves: without what is set for the transaction only
	began sessionState // what ROLLBACK goes back to
	saved []saved
	reset sessionState // what RESET goes back to, but for the search_path
	path  []string     // the search_path that RESET goes back to; nil where it is not known
}

// saved is a savepoint.
type saved struct {
	name      string
	now, kept sessionState
}

// newTracker returns the tracker of a text, at its beginning: v is what the server has answered before it.
func newTracker(v *scope.View, mode scope.Mode) *tracker {
	tr := &tracker{now: sessionState{mode, v.Path, v.User, v.Session}, reset: unknownState}
	tr.kept, tr.began = tr.now, tr.now
	if v.InBlock {
		tr.kept, tr.began = unknownState, unknownState
	}
	if !v.ModeSet {
		tr.kept.mode, tr.began.mode, tr.reset.mode = mode, mode, mode
	}
	if v.Resets != nil {
		tr.path = scope.SplitPath(v.Resets[settingPath])
		tr.reset.session = scope.Cluster(v.Resets[settingSession])
		tr.reset.user = scope.Cluster(v.Resets[settingRole]) // roleNone for the session's user
	}
	return tr
}

// pathOf returns a search_path of those elements. user is what "$user" means; where that is not known, neither is the path.
func pathOf(elements []string, user string) scope.Path {
	p := scope.Path{}
	for _, e := range elements {
		if scope.NamesUser(e) {
			if user == "" {
				return unknownState.path
			}
			e = user
		}
		p.Schemas = append(p.Schemas, e)
	}
	return p
}

// resetPath is what RESET makes of the search_path. Until the client's next message "$user" in
// it means what it does on the server.
func (tr *tracker) resetPath(v *scope.View) scope.Path {
	if _, own := v.Name(tr.now.user); tr.path == nil || own && slices.ContainsFunc(tr.path, scope.NamesUser) {
		return unknownState.path
	}
	return pathOf(tr.path, string(tr.now.user))
}

// apply makes a transition.
func (tr *tracker) apply(t transition, v *scope.View) {
	switch t.kind {
	case setsMode:
		tr.set(t.local, func(s *sessionState) { s.mode = t.mode })
	case setsPath:
		tr.set(t.local, func(s *sessionState) { s.path = pathOf(t.path, tr.userSchema(v)) })
	case losesPath:
		tr.set(false, func(s *sessionState) { s.path = unknownState.path })
	case losesRole:
		tr.set(false, func(s *sessionState) { s.user, s.session = "", "" })
	case losesMode:
		tr.set(false, func(s *sessionState) {
			if s.mode != tr.reset.mode {
				s.mode = ""
			}
		})
	case losesSetting:
		if tr.now.mode == scope.Explicit { // where the call stays as it is
			tr.apply(transition{kind: losesAll}, v)
			return
		}
		tr.apply(transition{kind: losesPath}, v)
		tr.apply(transition{kind: losesRole}, v)
	case losesAll:
		tr.now, tr.kept, tr.began, tr.saved = unknownState, unknownState, unknownState, nil
	case resetsMode:
		tr.set(t.local, func(s *sessionState) { s.mode = tr.reset.mode })
	case resetsPath:
		tr.set(t.local, func(s *sessionState) { s.path = tr.resetPath(v) })
	case resetsSession, resetsRole:
		if t.kind == resetsSession {
			tr.act(t.local, policy.SetSessionAuth, tr.reset.session)
		}
		role := tr.reset.user
		if role == roleNone {
			role = tr.now.session
		}
		tr.act(t.local, policy.SetRole, role)
	case commits:
		tr.now, tr.began, tr.saved = tr.kept, tr.kept, nil
	case rollsBack:
		tr.now, tr.kept, tr.saved = tr.began, tr.began, nil
	case saves:
		tr.saved = append(tr.saved, saved{t.save, tr.now, tr.kept})
	case rollsBackTo:
		tr.rollBackTo(t.save)
	}
}

func (tr *tracker) rollBackTo(savepoint string) {
	i := len(tr.saved) - 1
	for i >= 0 && tr.saved[i].name != savepoint {
		i--
	}
	if i < 0 {
		tr.now, tr.kept = tr.afterUnknownSavepoint(), tr.afterUnknownSavepoint()
		return
	}
	tr.now, tr.kept, tr.saved = tr.saved[i].now, tr.saved[i].kept, tr.saved[:i+1]
}

// afterUnknownSavepoint is what is known after ROLLBACK TO a savepoint from before the text:
// the mode, if the text never set it.
func (tr *tracker) afterUnknownSavepoint() sessionState {
	s := unknownState
	if tr.kept.mode == tr.began.mode && tr.now.mode == tr.began.mode {
		s.mode = tr.began.mode
	}
	return s
}

// set changes the state; with local only up to the end of the transaction.
func (tr *tracker) set(local bool, change func(*sessionState)) {
	change(&tr.now)
	if !local {
		change(&tr.kept)
	}
}

// act makes another role the current one.
func (tr *tracker) act(local bool, kind policy.Kind, role scope.Cluster) {
	tr.set(local, func(s *sessionState) {
		if kind == policy.SetSessionAuth {
			s.session = role
		}
		s.user = role
	})
}

// userSchema is the schema that "$user" means, as the text is sent.
func (tr *tracker) userSchema(v *scope.View) string {
	if name, ok := v.Name(tr.now.user); ok {
		return string(name.Role)
	}
	return string(tr.now.user)
}

// show puts the state into the view. user is the role that the server was asked as: another role may use other schemas.
func (tr *tracker) show(v *scope.View, user scope.Cluster) {
	v.User, v.Session, v.Path = tr.now.user, tr.now.session, tr.now.path
	if tr.now.user == user {
		return
	}
	v.Path.Unknown = v.Path.Unknown || v.Path.Told
	v.Path.Unsure = true
}

// unknownMode refuses a statement of which it is not known how its names are read.
var unknownMode = scope.Error{
	Code:    scope.CodeFeatureNotSupported,
	Message: `the value of parameter "` + scope.ModeSetting + `" is not known here`,
	Detail:  "It depends on what other statements of the same string go back to.",
	Hint:    "Send the statement by itself.",
}
