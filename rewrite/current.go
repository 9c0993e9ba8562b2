package rewrite

import (
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Some statements take a name from the role that is current where they run: "$user", CREATE SCHEMA AUTHORIZATION CURRENT_USER. The view
// tells which one that is before the text; this file follows it through the text.

// asksUser reports whether a name follows the current role.
func (s *statement) asksUser() bool {
	return s.users != nil || s.standard != nil || s.schemaOf.what != noExtra
}

// actor returns the role whose name the statement takes; empty where that is not known.
func (m *mapping) actor() scope.Cluster {
	if m.schemaOf.what == extraSession {
		return m.view.Session
	}
	return m.view.User
}

// missesActor reports whether the statement needs to know who acts, and cannot.
func (m *mapping) missesActor() bool {
	needs := m.users != nil || m.schemaOf.what != noExtra || m.standard != nil && m.view.DefaultPath != ""
	return needs && m.actor() == "" && m.mode == scope.Transparent && m.view.DB.Enrolled
}

// follow has the role act that the statement sets, or one that is not known where it may have set it or not.
func (m *mapping) follow(a policy.Action, maybe bool) {
	if a.Kind != policy.SetRole && a.Kind != policy.SetSessionAuth {
		return
	}
	role := a.Role.Cluster
	switch {
	case maybe:
		role = ""
	case a.Role.Name == roleNone:
		role = m.course.now.session
	}
	m.course.act(m.local && !maybe, a.Kind, role)
	m.course.show(m.view, m.user)
}

// unknownActor refuses a statement that takes the name of a role which is not known.
var unknownActor = scope.Error{
	Code:    scope.CodeFeatureNotSupported,
	Message: "the role that is current here is not known",
	Detail:  "It depends on what other statements of the same string go back to.",
	Hint:    "Send the statement by itself, or write the name.",
}
