package rewrite

import (
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Some statements take a name from the role that is current when they run: "$user", CREATE SCHEMA AUTHORIZATION
// CURRENT_USER. The view tells which role that is before the text; the tracker follows it through the text.

// asksUser reports whether a name follows the current role.
func (s *statement) asksUser() bool {
	return s.users != nil || s.standard != nil || s.schemaOf.what != noExtra
}

// actor returns the role whose name the statement takes; empty where none is known.
func (m *mapping) actor() scope.Cluster {
	if m.schemaOf.what == extraSession {
		return m.view.Session
	}
	return m.view.User
}

// missesActor reports whether the statement needs that role, and it is not known.
func (m *mapping) missesActor() bool {
	needs := m.users != nil || m.schemaOf.what != noExtra || m.standard != nil && m.view.DefaultPath != ""
	return needs && m.actor() == "" && m.mode == scope.Transparent && m.view.DB.Enrolled
}

// follow makes the role current that an action sets; where it may have set it or not, none is known from then on.
func (m *mapping) follow(a policy.Action, maybe bool) {
	if a.Kind != policy.SetRole && a.Kind != policy.SetSessionAuth {
		return
	}
	role := a.Role.Cluster
	switch {
	case maybe:
		role = ""
	case a.Role.Name == roleNone:
		role = m.tracker.now.session
	}
	m.tracker.act(m.local && !maybe, a.Kind, role)
	m.tracker.show(m.view, m.user)
}

// unknownActor refuses a statement that takes the name of a role which is not known.
var unknownActor = scope.Error{
	Code:    scope.CodeFeatureNotSupported,
	Message: "the role that is current here is not known",
	Detail:  "It depends on what other statements of the same string go back to.",
	Hint:    "Send the statement by itself, or write the name.",
}
