package rewrite

import (
	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Some statements take a name from the role that is current where they run: "$user", CREATE SCHEMA AUTHORIZATION CURRENT_USER. The view
// tells which one that is before the text; this file follows it through the text.

// lapse is what is not known of who acts, behind a statement that goes back to what was before the text, or before the session.
type lapse int

const (
	noLapse   lapse = iota
	roleLapse       // the current role
	userLapse       // the session's user neither
)

func lapseOf(stmt *pg.Node) lapse {
	switch n := stmt.GetNode().(type) {
	case *pg.Node_VariableSetStmt:
		set := n.VariableSetStmt
		if set.Kind != pg.VariableSetKind_VAR_RESET && set.Kind != pg.VariableSetKind_VAR_SET_DEFAULT {
			return noLapse
		}
		switch kind, ok := settingKind(set.Name); {
		case kind == policy.SetRole: // ALTER ROLE … SET role may have given it another default than NONE
			return roleLapse
		case ok:
			return userLapse
		}
	case *pg.Node_DiscardStmt:
		if n.DiscardStmt.Target == pg.DiscardMode_DISCARD_ALL {
			return userLapse
		}
	case *pg.Node_TransactionStmt:
		if leaves[n.TransactionStmt.Kind] {
			return userLapse
		}
	}
	return noLapse
}

// noteLapses notes in each statement of a text what the other statements between it and the one before it leave unknown.
func noteLapses(list []statement, pieces []piece) {
	for _, p := range pieces {
		for _, raw := range p.tree.GetStmts() {
			for len(list) > 0 && list[0].start < p.base+int(raw.StmtLocation) {
				list = list[1:]
			}
			if len(list) > 0 {
				list[0].lapse = max(list[0].lapse, lapseOf(raw.Stmt))
			}
		}
	}
}

// asksUser reports whether a name follows the current role.
func (s *statement) asksUser() bool {
	return s.users != nil || s.standard != nil || s.schemaOf.what != noExtra
}

// forget makes the view forget what is not known any more.
func (m *mapping) forget() {
	if m.lapse >= roleLapse {
		m.view.User = ""
	}
	if m.lapse >= userLapse {
		m.view.Session = ""
	}
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

// follow makes the view see who acts from here on. A statement in a body may run or not.
func (m *mapping) follow(a policy.Action) {
	role := a.Role.Cluster
	switch {
	case m.body:
		role = ""
	case a.Role.Name == roleNone:
		role = m.view.Session
	}
	if a.Kind == policy.SetSessionAuth {
		m.view.Session = role
	}
	if a.Kind == policy.SetSessionAuth || a.Kind == policy.SetRole {
		m.view.User = role
	}
}

// unknownActor refuses a statement that takes the name of a role which is not known.
var unknownActor = scope.Error{
	Code:    scope.CodeFeatureNotSupported,
	Message: "the role that is current here is not known",
	Detail:  "It depends on what other statements of the same string go back to.",
	Hint:    "Send the statement by itself, or write the name.",
}
