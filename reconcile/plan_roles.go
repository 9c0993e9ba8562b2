package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// enrolment makes the markers that own roles need, and, in mode adopt, the roles' memberships in them.
func (p *planner) enrolment() {
	db := p.state.Scope
	needed := false
	var schemas []scope.Schema
	for _, r := range p.desired.Roles {
		n := p.state.Names[r.Ref]
		if r.Kind != access.Own || n.Is == Impossible || !p.schemaIs(r.Name.Schema, r.Place) {
			continue
		}
		needed = true
		if name := r.Name.Schema; name != "" {
			s := db.Schema(name)
			if !s.Enrolled && !slices.ContainsFunc(schemas, func(o scope.Schema) bool { return o.Name == name }) {
				schemas = append(schemas, s)
				p.administer(db.Marker, r.Place)
			}
		}
		if n.Is == Stranger && p.mode == Adopt {
			p.administer(n.Marker, r.Place)
			p.change(Change{
				Step: EnrolRole, Subject: r.String(), Places: places(r.Place),
				Reason: fmt.Sprintf("role %s of the cluster becomes a role of database %s", n.Cluster, db.Name),
				SQL:    "GRANT " + n.Marker.Ident() + " TO " + n.Cluster.Ident(),
				Undo:   "REVOKE " + n.Marker.Ident() + " FROM " + n.Cluster.Ident(),
			})
		}
	}
	if needed && !db.Enrolled {
		p.change(Change{
			Step: Enrol, Subject: db.Name, Reason: "the database has no marker yet, which its roles are members of",
			SQL: db.EnrolSQL(), Undo: "DROP ROLE " + db.Marker.Ident(),
		})
		db.Enrolled = true
	}
	for _, s := range schemas {
		p.change(Change{
			Step: EnrolSchema, Subject: s.Name, Reason: "the schema has no marker yet, which its roles are members of",
			SQL: db.EnrolSQL(s), Undo: "DROP ROLE " + s.Marker.Ident(),
		})
	}
}

// attribute is one that ALTER ROLE sets by a word, or the word with NO before it.
type attribute struct {
	word string
	of   func(*RoleState) bool
	// super: before PostgreSQL 16 only a superuser may change it. own: from 16 on, only who has it (user.c).
	super, own bool
}

var attributes = []attribute{
	{"LOGIN", func(r *RoleState) bool { return r.Login }, false, false},
	{superAttribute, func(r *RoleState) bool { return r.Superuser }, true, true},
	{"CREATEDB", func(r *RoleState) bool { return r.CreateDB }, false, true},
	{"CREATEROLE", func(r *RoleState) bool { return r.CreateRole }, false, false},
	{"REPLICATION", func(r *RoleState) bool { return r.Replication }, true, true},
	{"BYPASSRLS", func(r *RoleState) bool { return r.BypassRLS }, true, true},
	{"INHERIT", func(r *RoleState) bool { return r.Inherit }, false, false},
}

const superAttribute = "SUPERUSER"

// fresh is a role as CREATE ROLE makes it.
var fresh = RoleState{Inherit: true, ConnectionLimit: -1}

func (p *planner) roles() {
	for i := range p.desired.Roles {
		r := &p.desired.Roles[i]
		c, ok := p.cluster(r.Ref, r.Place)
		if !ok || r.External {
			continue
		}
		have := p.state.role(c)
		if have == nil {
			p.createRole(r, c)
			continue
		}
		before := len(p.changes)
		p.alterRole(r, have)
		p.comment(r, have)
		p.parameters(r, have, false)
		if r.Password != nil && have.Password != PasswordMatches {
			reason := "the password is another"
			if have.Password == PasswordUnknown {
				reason = "the stored password may not be read"
			}
			p.password(r, c, false, have.Password == PasswordUnknown, reason)
		}
		if len(p.changes) > before && c != p.state.Executor.Name {
			p.administer(c, r.Place)
		}
	}
}

// administer tells beforehand that the executor may not alter a role, nor give it to others.
func (p *planner) administer(c scope.Cluster, place access.Place) {
	if !p.administers(c) {
		p.problem(place, "give it CREATEROLE and the admin option", "role %q may not administer role %q", p.state.Executor.Name, p.name(c))
	}
}

func (p *planner) createRole(r *access.Role, c scope.Cluster) {
	if !p.state.Executor.Superuser && !p.state.Executor.CreateRole {
		p.problem(r.Place, "give it CREATEROLE", "role %q may not create roles", p.state.Executor.Name)
	}
	options := ""
	if n := p.state.Names[r.Ref]; n.Marker != "" {
		options = " IN ROLE " + n.Marker.Ident()
		if p.state.Executor.CreateRole {
			p.administer(n.Marker, r.Place)
		}
	}
	sets, _ := p.options(r, &fresh)
	step := CreateRole
	if r.Name.Schema != "" {
		step = CreateSchemaRole // its marker, and so the schema, must be there
	}
	p.change(Change{
		Step: step, Subject: r.String(), Places: places(r.Place), Reason: "it does not exist",
		SQL: "CREATE ROLE " + c.Ident() + options + sets, Undo: "DROP ROLE " + c.Ident(),
	})
	if r.Password != nil {
		p.password(r, c, true, false, "it is new")
	}
	if r.Comment != "" {
		p.change(Change{
			Step: CommentRole, fresh: true, Subject: r.String(), Places: places(r.Place), Reason: "it is new",
			SQL: commentSQL(c, r.Comment), Undo: commentSQL(c, ""),
		})
	}
	p.parameters(r, &RoleState{Name: c}, true)
}

// options returns what CREATE ROLE or ALTER ROLE say to make the role what it shall be, and what takes it back.
func (p *planner) options(r *access.Role, have *RoleState) (sets, undo string) {
	until, err := parseTime(r.ValidUntil)
	if err != nil {
		p.problem(r.Place, "write it as 2027-01-31T00:00:00Z", "role %q: valid until %q is not a time", r.Ref, r.ValidUntil)
		until = have.ValidUntil
	}
	want := &RoleState{
		Login: r.Login, Superuser: r.Superuser, CreateDB: r.CreateDB, CreateRole: r.CreateRole, Replication: r.Replication,
		BypassRLS: r.BypassRLS, Inherit: r.Inherit, ConnectionLimit: r.ConnectionLimit, ValidUntil: until,
	}
	for _, a := range attributes {
		if executor := p.state.Executor; a.of(want) != a.of(have) && !executor.Superuser {
			own := p.state.role(executor.Name)
			switch {
			case a.super && p.state.Version < 16 || a.word == superAttribute:
				p.problem(r.Place, "managed servers do not have it at all", "only a superuser may change %s of role %q", a.word, r.Ref)
			case a.own && p.state.Version >= 16 && own != nil && !a.of(own):
				p.problem(r.Place, "give it "+a.word+" too", "role %q, which has no %s, may not change that of role %q", executor.Name, a.word, r.Ref)
			}
		}
	}
	return optionsSQL(want, have), optionsSQL(have, want)
}

// optionsSQL returns what CREATE ROLE or ALTER ROLE say to make of a role another; nothing where they are the same.
func optionsSQL(to, from *RoleState) (sql string) {
	for _, a := range attributes {
		switch has := a.of(to); {
		case has == a.of(from):
		case has:
			sql += " " + a.word
		default:
			sql += " NO" + a.word
		}
	}
	if to.ConnectionLimit != from.ConnectionLimit {
		sql += " CONNECTION LIMIT " + strconv.Itoa(to.ConnectionLimit)
	}
	if !to.ValidUntil.Equal(from.ValidUntil) {
		sql += " VALID UNTIL " + timeSQL(to.ValidUntil)
	}
	return sql
}

func parseTime(s string) (time.Time, error) {
	if s == "" || strings.EqualFold(s, "infinity") {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse("2006-01-02 15:04:05Z07", s)
	}
	return t.Truncate(time.Second).UTC(), err
}

func timeSQL(t time.Time) string {
	if t.IsZero() {
		return "'infinity'"
	}
	return scope.QuoteLiteral(t.UTC().Format(time.RFC3339))
}

func (p *planner) alterRole(r *access.Role, have *RoleState) {
	if p.mode == Additive {
		return
	}
	if sets, undo := p.options(r, have); sets != "" {
		p.change(Change{
			Step: AlterRole, Subject: r.String(), Places: places(r.Place), Reason: "attributes differ",
			SQL: alterRole(have.Name, strings.TrimSpace(sets)), Undo: alterRole(have.Name, strings.TrimSpace(undo)),
		})
	}
}

func (p *planner) comment(r *access.Role, have *RoleState) {
	if r.Comment != have.Comment {
		p.change(Change{
			Step: CommentRole, Subject: r.String(), Places: places(r.Place), Reason: "the comment is another",
			SQL: commentSQL(have.Name, r.Comment), Undo: commentSQL(have.Name, have.Comment),
		})
	}
}

func (p *planner) password(r *access.Role, c scope.Cluster, fresh, blind bool, reason string) {
	p.change(Change{
		Step: SetPassword, fresh: fresh, Subject: r.String(), Places: places(r.Password.Place), Reason: reason,
		SQL: alterRole(c, "PASSWORD "+hidden), role: c, password: r.Password, blind: blind,
	})
}

// parameters makes the configuration parameters of a role what they shall be.
func (p *planner) parameters(r *access.Role, have *RoleState, fresh bool) {
	compare := func(a, b access.Setting) int {
		flag := func(s access.Setting) int {
			if s.InDatabase {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(flag(a), flag(b)), cmp.Compare(a.Name, b.Name))
	}
	find := func(list []access.Setting, s access.Setting) (access.Setting, bool) {
		i := slices.IndexFunc(list, func(o access.Setting) bool {
			return o.InDatabase == s.InDatabase && strings.EqualFold(o.Name, s.Name)
		})
		if i < 0 {
			return access.Setting{}, false
		}
		return list[i], true
	}
	sql := func(s access.Setting, set bool) string { return p.parameter(have.Name, s, set) }
	wanted := slices.SortedFunc(slices.Values(r.Settings), compare)
	for _, s := range wanted {
		if strings.EqualFold(s.Name, "role") {
			s.Value = p.roleSetting(s.Value)
		}
		old, ok := find(have.Settings, s)
		if ok && sameSetting(old, s) {
			continue
		}
		p.change(Change{
			Step: SetParameter, fresh: fresh, Subject: r.String(), Places: places(s.Place), Reason: "parameter " + s.Name + " shall be another",
			SQL: sql(s, true), Undo: sql(cmp.Or(old, s), ok),
		})
	}
	for _, s := range have.Settings {
		if _, ok := find(wanted, s); !ok {
			p.change(Change{
				Step: SetParameter, Subject: r.String(), Places: places(r.Place), Reason: "parameter " + s.Name + " shall not be set",
				SQL: sql(s, false), Undo: sql(s, true),
			})
		}
	}
}

// parameter sets a parameter of a role, or resets it.
func (p *planner) parameter(role scope.Cluster, s access.Setting, set bool) string {
	in, verb := "", "RESET "+parameterSQL(s.Name)
	if s.InDatabase {
		in = "IN DATABASE " + scope.QuoteIdent(p.state.Scope.Name) + " "
	}
	if set {
		verb = "SET " + parameterSQL(s.Name) + " TO " + settingSQL(s)
	}
	return alterRole(role, in+verb)
}

// roleSetting returns what the server calls the role that a setting of parameter role names.
func (p *planner) roleSetting(value string) string {
	for _, r := range p.desired.Roles {
		if r.String() == value {
			if n := p.state.Names[r.Ref]; n.Cluster != "" {
				return string(n.Cluster)
			}
		}
	}
	return value
}

// listParameters are those whose value is a list of names, each to be quoted by itself
// (GUC_LIST_QUOTE; variable_is_guc_list_quote, src/bin/pg_dump/dumputils.c).
var listParameters = map[string]bool{
	"local_preload_libraries": true, "search_path": true, "session_preload_libraries": true, "shared_preload_libraries": true,
	"temp_tablespaces": true, "unix_socket_directories": true,
}

func settingSQL(s access.Setting) string {
	if !listParameters[strings.ToLower(s.Name)] {
		return scope.QuoteLiteral(s.Value)
	}
	list := splitList(s.Value)
	if len(list) == 0 {
		return "''"
	}
	for i := range list {
		list[i] = scope.QuoteLiteral(list[i])
	}
	return strings.Join(list, ", ")
}

func sameSetting(a, b access.Setting) bool {
	if listParameters[strings.ToLower(a.Name)] {
		return slices.Equal(splitList(a.Value), splitList(b.Value))
	}
	return a.Value == b.Value
}

// splitList splits a list of names, in double quotes or not (SplitIdentifierString, src/backend/utils/adt/varlena.c).
func splitList(s string) (list []string) {
	var name strings.Builder
	quoted, inside := false, false
	end := func() {
		text := name.String()
		if !quoted {
			text = strings.ToLower(strings.TrimSpace(text))
		}
		if text != "" {
			list = append(list, text)
		}
		name.Reset()
		quoted = false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && inside && i+1 < len(s) && s[i+1] == '"':
			name.WriteByte(c)
			i++
		case c == '"':
			inside = !inside
			if inside {
				name.Reset()
			}
			quoted = true
		case c == ',' && !inside:
			end()
		case quoted && !inside: // blanks after the closing quote
		default:
			name.WriteByte(c)
		}
	}
	end()
	return list
}

// schemata makes the schemas that are declared, and gives them their owners.
func (p *planner) schemata() {
	for _, s := range p.desired.Schemas {
		owner := scope.Cluster("")
		if s.Owner != (access.Ref{}) {
			var ok bool
			if owner, ok = p.cluster(s.Owner, s.Place); !ok {
				continue
			}
		}
		have := p.state.object(access.Schema, "", s.Name)
		switch ident := scope.QuoteIdent(s.Name); {
		case have == nil:
			if !p.state.Executor.Schemas {
				p.problem(s.Place, "grant it CREATE on the database", "role %q may not create schemas in database %q", p.state.Executor.Name, p.state.Scope.Name)
			}
			create := Change{
				Step: CreateSchema, Subject: s.Name, Places: places(s.Place), Reason: "it does not exist",
				SQL: "CREATE SCHEMA " + ident, Undo: "DROP SCHEMA " + ident,
			}
			made := &Object{Kind: access.Schema, Name: s.Name, Owner: p.state.Executor.Name}
			switch {
			case owner == "":
				made.ACL = p.state.newSchema(made.Owner)
			case p.state.role(owner) == nil && s.Owner.Name.Schema != "": // a schema's role, which comes after its schema
				p.change(Change{
					Step: OwnSchema, fresh: true, Subject: s.Name, Places: places(s.Place), Reason: "it is new",
					SQL: "ALTER SCHEMA " + ident + " OWNER TO " + owner.Ident(), Undo: "ALTER SCHEMA " + ident + " OWNER TO " + made.Owner.Ident(),
					lent: []scope.Cluster{p.borrow(owner, sets, s.Place, "give schemas to")},
				})
				made.ACL, made.Owner = p.state.newSchema(made.Owner).transfer(made.Owner, owner), owner
			default:
				create.SQL += " AUTHORIZATION " + owner.Ident()
				create.lent = []scope.Cluster{p.borrow(owner, sets, s.Place, "make schemas for")}
				made.ACL, made.Owner = p.state.newSchema(owner), owner
			}
			p.change(create)
			p.virtual = append(p.virtual, made)
		case owner != "" && owner != have.Owner:
			had := loss{grantee: owner, grantor: have.Owner} // becomes the owner's own, and its successor's
			for _, e := range have.ACL.Entries {
				if e.Grantee == owner {
					had.privileges |= e.Privileges
					had.options |= e.Options
				}
			}
			undo := []string{"ALTER SCHEMA " + ident + " OWNER TO " + have.Owner.Ident()}
			p.change(Change{
				Step: OwnSchema, Subject: s.Name, Places: places(s.Place),
				Reason: fmt.Sprintf("its owner is %s, and shall be %s", p.name(have.Owner), s.Owner),
				SQL:    "ALTER SCHEMA " + ident + " OWNER TO " + owner.Ident(),
				Undo:   strings.Join(append(undo, againOf(have, "", had, 0).grants(" ON SCHEMA "+ident, owner.Ident())...), "; "),
				lent: []scope.Cluster{
					p.borrow(have.Owner, uses, s.Place, "give away schemas of"), p.borrow(owner, sets, s.Place, "give schemas to"),
				},
			})
		}
	}
}
