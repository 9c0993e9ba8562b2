package rewrite

import (
	"fmt"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// resolve finds out what the names mean. The names after one that cannot be resolved are left as they are written.
func (m *mapping) resolve() *Error {
	m.roles = make([]policy.Role, 0, len(m.names))
	for i := range m.names {
		n := &m.names[i]
		if n.computed {
			r := policy.Role{Name: policy.UnknownRole}
			if n.use == creates && m.scoped(n) {
				r.Home = scope.Own
			}
			m.roles = append(m.roles, r)
			continue
		}
		r, err := m.resolveName(n)
		if err != nil {
			return at(*err, m.sql, m.place(err, n))
		}
		m.roles = append(m.roles, r)
	}
	return nil
}

// place returns where an error about a name points to: nowhere if the server has the same
// error, which has no position there.
func (m *mapping) place(err *scope.Error, n *name) int {
	switch err.Code {
	case scope.CodeUndefinedObject, scope.CodeUndefinedSchema, scope.CodeDuplicateObject, scope.CodeReservedName:
		return none
	default:
		return n.from
	}
}

// scoped reports whether a name is one of this database's roles, not of the cluster's as they are.
func (m *mapping) scoped(n *name) bool { return n.dbonly || n.schema != "" || m.mode != scope.Explicit }

func (m *mapping) resolveName(n *name) (policy.Role, *scope.Error) {
	var c scope.Cluster
	var home scope.Home
	var err *scope.Error
	switch {
	case n.use == creates && n.schema != "":
		c, err = m.view.CreateIn(n.schema, n.name)
		home = scope.Own
	case n.use == creates && m.scoped(n):
		c, err = m.view.Create(n.name)
		home = scope.Own
	case n.use == creates:
		c, err = m.view.CreatePlain(n.name)
		home = scope.Global
	case n.use == becomes:
		return m.resolveNewName(n)
	case n.schema != "":
		c, home, err = m.view.ResolveIn(n.schema, n.name)
		if n.lax && c != "" && err != nil && err.Code == scope.CodeUndefinedSchema {
			err = nil
		}
	case n.dbonly:
		c, home, err = m.view.ResolveOwn(n.name)
	case m.scoped(n):
		c, home, err = m.view.Resolve(n.name)
	default:
		c, home, err = m.view.ResolvePlain(n.name)
	}
	return m.role(n.full(), c, home), err
}

// resolveNewName resolves the new name of a role: it stays where the role is, in its schema, in the database or in the
// cluster.
func (m *mapping) resolveNewName(n *name) (policy.Role, *scope.Error) {
	old := m.roles[0]
	in := m.names[0].schema
	if now, ok := m.view.Name(old.Cluster); ok {
		in = now.Schema // it may have been found along the search_path
	}
	if n.schema != "" && n.schema != in {
		return policy.Role{}, &scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf(`role "%s" cannot be moved to schema "%s"`, old.Name, n.schema),
			Hint:    "Rename it within its scope, or create another role.",
		}
	}
	if in != "" && (m.scoped(n) || m.scoped(&m.names[0])) {
		name := n.full()
		if n.schema == "" {
			name = scope.InSchema(in, n.name)
		}
		c, err := m.view.CreateIn(in, name.Role)
		return m.role(name, c, scope.Own), err
	}
	if old.Home != scope.Global && (m.scoped(n) || m.scoped(&m.names[0])) {
		c, err := m.view.Create(n.name)
		return m.role(n.full(), c, scope.Own), err
	}
	c, err := m.view.RenamePlain(old.Cluster, n.name)
	if err == nil && old.Home == scope.Own {
		name, ok := m.view.Within(old.Cluster, c)
		if !ok {
			now, _ := m.view.Name(old.Cluster)
			err = &scope.Error{
				Code:    scope.CodeFeatureNotSupported,
				Message: fmt.Sprintf(`role "%s" of database "%s" cannot be renamed to "%s"`, old.Cluster, m.view.DB.Name, c),
				Hint:    fmt.Sprintf("Use ALTER DBONLY ROLE %s RENAME TO ….", now.Ident()),
			}
		}
		return m.role(name, c, scope.Own), err
	}
	return m.role(n.full(), c, scope.Global), err
}

// role is a role as the policy knows it: one of this database has its short name, even where a session in explicit
// mode writes the other one.
func (m *mapping) role(name scope.Name, c scope.Cluster, home scope.Home) policy.Role {
	short := name.Short()
	if home == scope.Own {
		if known, ok := m.view.Localize(c); ok {
			short = known
		}
	}
	return policy.Role{Name: short, Cluster: c, Home: home, Administered: m.view.Administers(c, home)}
}

// mapped reports whether name i is another one on the server.
func (m *mapping) mapped(i int) bool {
	return !m.names[i].computed && m.roles[i].Cluster != scope.Cluster(m.names[i].name)
}
