package rewrite

import (
	"fmt"
	"slices"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// mapping maps one statement.
type mapping struct {
	*statement
	sql  string
	view *scope.View
	mode scope.Mode
	body bool // it stands in one
	// tracker knows what names go by at this statement; user is the role that the server was asked as.
	tracker *tracker
	user    scope.Cluster
	room    *int // for what stands for catalogs: see maxShown

	roles   []policy.Role // what names[i] means
	actions []policy.Action
	edits   Edits
	own     int           // how many of the edits are not in bodies
	inner   []replacement // in the bodies
	// commonplace are the texts of edits that may also stand elsewhere: Restore leaves them in what the server quotes.
	commonplace []string
	enrol       bool
	schemas     []scope.Schema // that get a role, and have no marker yet
}

// clientEdits runs the mapping, and returns its edits in the client's text.
func (m *mapping) clientEdits(src *source, decide func(policy.Action) *scope.Error) (Edits, *Error) {
	if err := m.tryRun(decide); err != nil {
		return nil, err
	}
	edits, err := src.clientEdits(m.edits)
	if err != nil {
		return nil, at(*err, m.sql, m.start)
	}
	return edits, nil
}

// tryRun is run. A fault of the proxy's own refuses the statement too.
func (m *mapping) tryRun(decide func(policy.Action) *scope.Error) (err *Error) {
	defer func() {
		if p := recover(); p != nil {
			err = faulty(p)
		}
	}()
	return m.run(decide)
}

// run is a statement's way: resolve its names, say what it wants, check, ask the policy, splice. An error refuses the
// statement; then its edits do not count and the view is as it was.
func (m *mapping) run(decide func(policy.Action) *scope.Error) *Error {
	err := m.refusal
	if err == nil {
		err = m.resolve()
	}
	m.act()
	if err == nil {
		err = m.check()
	}
	if err == nil && decide != nil {
		err = m.decide(decide)
	}
	if err == nil && m.mode == scope.Transparent {
		err = m.unmapped
	}
	if err != nil {
		return err
	}
	m.splice()
	if err := m.look(); err != nil {
		return err
	}
	m.own = len(m.edits)
	m.effect()
	return m.runBodies(decide)
}

// runBodies maps the statements in the statement's bodies. Where one is refused, the statement is; what those before it
// have done to the view then does no harm: the server runs nothing more of the text.
func (m *mapping) runBodies(decide func(policy.Action) *scope.Error) *Error {
	for _, b := range m.bodies {
		var edits Edits
		for i := range b.statements {
			inner := mapping{
				statement: b.statements[i], sql: b.layers[len(b.layers)-1].text, view: m.view, mode: m.mode, body: true,
				tracker: m.tracker, user: m.user, room: m.room,
			}
			err := inner.run(decide)
			m.actions = append(m.actions, inner.actions...)
			if err != nil {
				return b.layers.liftError(err, m.sql)
			}
			for _, e := range inner.edits[:inner.own] {
				if slices.Contains(inner.commonplace, e.text) {
					continue
				}
				m.inner = append(m.inner, replacement{e.text, inner.sql[e.start:e.end]})
			}
			m.inner = append(m.inner, inner.inner...)
			edits = append(edits, inner.edits...)
			m.enrol = m.enrol || inner.enrol
		}
		edits.sort()
		lifted, err := b.layers.lift(edits)
		if err != nil {
			return at(*notWritten(err), m.sql, m.start)
		}
		m.edits = append(m.edits, lifted...)
	}
	return nil
}

// bare reports whether the statement itself, without its bodies, means the same in every mode. A set_config of a setting
// whose name is computed does not count: most set no role, and where the mode is not known they are left as they are.
func (m *mapping) bare() bool {
	wants := slices.ContainsFunc(m.wants, func(w want) bool { return w.role.word != policy.UnknownRole })
	looks := slices.ContainsFunc(m.references, func(r reference) bool { return r.form != maybeRole && r.form != fixed })
	return !wants && !looks && m.users == nil && m.standard == nil && m.schemaOf.what == noExtra && m.allRoles == none
}

// act says what the statement wants.
func (m *mapping) act() {
	m.actions = make([]policy.Action, 0, len(m.wants))
	for _, w := range m.wants {
		m.actions = append(m.actions, policy.Action{
			Kind:       w.kind,
			Role:       m.party(w.role),
			Grantee:    m.party(w.grantee),
			Attributes: w.attributes,
			Object:     w.object,
			Mode:       w.mode,
		})
	}
}

func (m *mapping) party(p party) policy.Role {
	switch i := p.name - 1; {
	case i < 0:
		return policy.Role{Name: p.word}
	case i < len(m.roles):
		return m.roles[i]
	default: // not resolved
		return policy.Role{Name: m.names[i].full().Short()}
	}
}

// check refuses what would do harm, or nothing, to roles of a database.
func (m *mapping) check() *Error {
	if m.mode == "" && m.statement.mode == "" && !m.bare() {
		return at(unknownMode, m.sql, m.start)
	}
	if m.missesActor() {
		return at(unknownActor, m.sql, m.start)
	}
	if m.allRoles != none && m.mode == scope.Transparent {
		return at(scope.Error{
			Code:    scope.CodeInsufficientPriv,
			Message: "permission denied to alter settings of all roles of the cluster",
			Hint: fmt.Sprintf("Use ALTER ROLE ALL IN DATABASE %s, or connect to the server directly.",
				scope.QuoteIdent(m.view.DB.Name)),
		}, m.sql, m.allRoles)
	}
	for i := range m.roles {
		n, r := &m.names[i], m.roles[i]
		if r.Home != scope.Own {
			continue
		}
		switch {
		case m.database == "" || m.database == m.view.DB.Name:
		case m.view.NoDatabase(m.database):
			return at(scope.Error{Code: scope.CodeUndefinedDatabase, Message: fmt.Sprintf(`database "%s" does not exist`, m.database)}, m.sql, none)
		default:
			return at(scope.Error{
				Code:    scope.CodeInsufficientPriv,
				Message: fmt.Sprintf(`role "%s" does not belong to database "%s"`, r.Name, m.database),
				Detail:  fmt.Sprintf(`It is a role of database "%s", and can have settings in that one only.`, m.view.DB.Name),
			}, m.sql, n.from)
		}
		if i == 0 && m.md5 != none && (n.computed || m.mapped(i)) {
			return at(scope.Error{
				Code:    scope.CodeFeatureNotSupported,
				Message: fmt.Sprintf(`an MD5-hashed password cannot be set for role "%s"`, r.Name),
				Detail:  "It is hashed with the role's name, which is another one on the server.",
				Hint:    "Give the password in clear text, or hashed with SCRAM-SHA-256.",
			}, m.sql, m.md5)
		}
	}
	return nil
}

func (m *mapping) decide(decide func(policy.Action) *scope.Error) *Error {
	for i, action := range m.actions {
		err := decide(action)
		if err == nil {
			continue
		}
		for _, p := range []party{m.wants[i].role, m.wants[i].grantee} {
			if p.name > 0 {
				return at(*err, m.sql, m.names[p.name-1].from)
			}
		}
		return at(*err, m.sql, m.start)
	}
	return nil
}

func (m *mapping) splice() {
	for _, x := range m.blanked {
		for _, k := range x.words {
			end := k.end
			for x.kind == dbonly && end < len(m.sql) && blank(m.sql[end]) {
				end++
			}
			m.edits = append(m.edits, edit{k.start, end, ""})
		}
	}
	m.spliceUser()
	for i := range m.names {
		n, c := &m.names[i], m.roles[i].Cluster
		switch {
		case n.computed && m.roles[i].Home == scope.Own: // the part that it is sees to the name
		case !m.mapped(i):
			continue
		case n.constant:
			m.edits = append(m.edits, edit{n.start, n.end, c.Literal()})
		default:
			m.edits = append(m.edits, edit{n.start, n.end, c.Ident()})
		}
		switch n.extra.what {
		case extraMarker:
			m.insert(n.extra, m.marker(n).Ident())
		case extraShort:
			m.insert(n.extra, scope.QuoteIdent(string(n.name)))
		default: // the name alone
		}
	}
}

// insert puts an extra into the statement.
func (m *mapping) insert(x extra, text string) {
	m.edits = append(m.edits, edit{x.at, x.at, x.before + text + x.after})
}

// spliceUser puts the short name of the current role where the server would use the name that it has in the cluster: for
// "$user" in a search_path, and for a schema that is named after it.
func (m *mapping) spliceUser() {
	short, ok := m.view.Name(m.actor())
	if !ok {
		return
	}
	for _, s := range m.users {
		text := scope.QuoteIdent(string(short.Role))
		if s.constant {
			text = scope.QuoteLiteral(string(short.Role))
		}
		m.edits = append(m.edits, edit{s.start, s.end, text})
	}
	if m.schemaOf.what != noExtra && m.mode == scope.Transparent {
		m.insert(m.schemaOf, scope.QuoteIdent(string(short.Role)))
	}
	for _, s := range m.standard {
		if path, found := scope.ReplaceUser(m.view.DefaultPath, short.Role); found {
			m.edits = append(m.edits, edit{s.start, s.end, scope.PathConstants(path)})
		}
	}
}

// marker returns the marker of the scope that a new role belongs to.
func (m *mapping) marker(n *name) scope.Cluster {
	if n.schema == "" {
		return m.view.DB.Marker
	}
	return m.view.DB.Schema(n.schema).Marker
}

// effect makes the view see what the statement does. One in a body may run or not: what it makes can be named from then
// on, and so can what it drops, or else its name might come to mean a role of the whole cluster.
func (m *mapping) effect() {
	for i := range m.names {
		switch r := m.roles[i]; m.names[i].use {
		case creates:
			if m.names[i].computed {
				m.enrol = m.enrol || r.Home == scope.Own && !m.view.DB.Enrolled
				continue
			}
			m.created(&m.names[i], r)
		case drops:
			if !m.body {
				m.view.Dropped(r.Cluster)
			}
		case becomes:
			switch old := m.roles[i-1]; {
			case old.Home == scope.Missing:
			case m.body:
				m.view.Created(r.Cluster, r.Home)
			default:
				m.view.Renamed(old.Cluster, r.Cluster)
			}
		default: // a reference
		}
	}
	for i, a := range m.actions {
		m.follow(a, m.body || m.wants[i].maybe)
	}
}

// created makes the view see a new role, and notes which markers it needs.
func (m *mapping) created(n *name, r policy.Role) {
	m.enrol = m.enrol || r.Home == scope.Own && !m.view.DB.Enrolled
	if n.schema == "" {
		m.view.Created(r.Cluster, r.Home)
		return
	}
	m.view.CreatedIn(n.schema, r.Cluster)
	if s := m.view.DB.Schema(n.schema); !s.Enrolled {
		m.enrol = true
		m.schemas = append(m.schemas, s)
	}
}
