package engine

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// transaction is what the session's open transaction does to roles and access. Until it ends only this session sees that,
// so others are told of it then.
type transaction struct {
	roles         []scope.Cluster // that it changes, and those named with them
	anyRole       bool            // it changes some that are not known
	changesAccess bool            // it ran statements that change roles or access, successfully or not
}

// changesRoles reports whether the transaction changes roles.
func (t *transaction) changesRoles() bool { return t != nil && (t.anyRole || len(t.roles) > 0) }

// doubt adds to an inquiry the roles that the transaction changes.
func (t *transaction) doubt(q *scope.Inquiry) {
	if t != nil {
		q.Own = q.Own || t.anyRole
		q.Ask(t.roles...)
	}
}

// opened is the open transaction, of which there is something to note.
func (e *Engine) opened() *transaction {
	if e.transaction == nil {
		e.transaction = new(transaction)
	}
	return e.transaction
}

// maxTouched bounds how many roles of a transaction are remembered.
const maxTouched = 256

// touch notes which roles a held statement changes that became result. others says that it changes roles that it does not
// name. Where schemas have roles, it is not known either which are changed: only a list of all roles tells which schemas
// have any.
func (e *Engine) touch(h *held, result *rewrite.Result, others bool) {
	if !others && !slices.ContainsFunc(result.Actions, changesRole) {
		return
	}
	t := e.opened()
	for _, c := range h.named {
		if len(t.roles) <= maxTouched && !slices.Contains(t.roles, c) {
			t.roles = append(t.roles, c)
		}
	}
	t.anyRole = t.anyRole || others || slices.ContainsFunc(result.Actions, changesAny) ||
		len(h.inquiry.Schemas)+len(h.view.DB.Marked) > 0 || len(t.roles) == 0 || len(t.roles) > maxTouched
	if t.anyRole {
		t.roles = nil
	}
}

// transactionEnded does what waits for the end of a transaction.
func (e *Engine) transactionEnded() {
	if e.prepared != nil && e.pending.n == 0 {
		e.prepared.portals = register{} // they end with it
	}
	t := e.transaction
	if t == nil {
		return
	}
	e.transaction = nil
	if t.changesRoles() {
		e.cfg.Directory.Changed(t.roles...)
	}
	if t.changesAccess {
		e.cfg.Host.AccessChanged()
	}
}

// changesRole reports whether the action changes a role itself, not what it may do.
func changesRole(a policy.Action) bool {
	switch a.Kind {
	case policy.CreateRole, policy.AlterRole, policy.RenameRole, policy.DropRole:
		return true
	default:
		return false
	}
}

// changesAny reports whether the action changes a role that is not known.
func changesAny(a policy.Action) bool {
	return changesRole(a) && a.Role.Name == policy.UnknownRole && a.Role.Cluster == ""
}
