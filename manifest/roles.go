package manifest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
	"github.com/pgscope/pgscope-proxy/scope"
)

// role makes a role of an entry.
func (c *compiler) role(d *document, e *roleEntry) {
	external := or(e.external, false)
	if external {
		theirs(e)
	}
	if i := slices.IndexFunc(c.globals, func(r access.Role) bool { return r.String() == e.name.s }); external && i >= 0 {
		// The estate declares what the manifest takes for given.
		c.desired.Roles[i].PreserveGrants = c.desired.Roles[i].PreserveGrants || or(e.preserve, false)
		return
	}
	ref, ok := c.declare(d, e.schema, e.name, external, e.at)
	if f := d.fragment; f != nil && e.name.s != "" && !f.claimsRole(dotted(e.schema, e.name)) {
		e.name.at.Errorf(`role "%s" is not in the scope.roles of fragment "%s"`, dotted(e.schema, e.name), f.name)
	}
	if !ok {
		return
	}
	if ref.Name.Schema != "" && or(e.login, false) {
		c.warn(e.at, fmt.Sprintf(`role "%s" is of a schema; nobody can log in as one through the proxy`, ref))
	}
	r := access.Role{
		Ref: ref, External: external, PreserveGrants: or(e.preserve, false),
		Login: or(e.login, false), Superuser: or(e.superuser, false),
		CreateDB: or(e.createDB, false), CreateRole: or(e.createRole, false),
		Replication: or(e.replication, false), BypassRLS: or(e.bypass, false),
		Inherit: or(e.inherit, true), ConnectionLimit: or(e.connectionLimit, -1),
		Comment: e.comment.s, Password: password(e), ValidUntil: moment(e.validUntil),
		Settings: append(settingsOf(e.config, false), settingsOf(e.databaseConfig, true)...),
		Place:    place(e.at),
	}
	slices.SortStableFunc(r.Settings, func(a, b access.Setting) int { return strings.Compare(a.Name, b.Name) })
	c.desired.Roles = append(c.desired.Roles, r)
}

// ofAttributes are the keys that say what a role is.
var ofAttributes = []string{
	"login", "superuser", "createdb", "createrole", "replication", "bypassrls", "inherit", "connection_limit", "comment", "password",
	"password_valid_until", "config", "database_config",
}

// theirs tells what an entry says of a role that is external, and nothing would come of.
func theirs(e *roleEntry) {
	e.at.Entries(func(key string, v yamlfile.Value) {
		if slices.Contains(ofAttributes, key) && !v.Empty() {
			v.KeyErrorf(`role "%s" is external: somebody else says its %s`, e.name.s, key)
		}
	})
}

// password says where a role's password comes from; nil where it has none.
func password(e *roleEntry) *access.Password {
	p := e.password
	if p == nil {
		return nil
	}
	if (p.fromEnv.s == "") == (p.fromFile.s == "") {
		p.at.Errorf("a password comes from_env or from_file: one of the two")
	}
	if !or(e.login, false) {
		p.at.Errorf(`role "%s" has a password and no login: true`, e.name.s)
	}
	file := p.fromFile.s
	if file != "" && !filepath.IsAbs(file) {
		from, _, _ := p.at.Place()
		file = filepath.Join(filepath.Dir(from), file)
	}
	return &access.Password{FromEnv: p.fromEnv.s, FromFile: file, Place: place(p.at)}
}

// moment writes a point in time in one way: in UTC.
func moment(t text) string {
	if t.s == "" {
		return ""
	}
	m, _ := time.Parse(time.RFC3339Nano, t.s) // it has been read before: see timestamp
	return m.UTC().Format(time.RFC3339Nano)
}

func settingsOf(list []named[text], inDatabase bool) []access.Setting {
	var out []access.Setting
	for _, s := range list {
		out = append(out, access.Setting{Name: s.name, Value: s.value.s, InDatabase: inDatabase, Place: place(s.at)})
	}
	return out
}

// startAs checks what the sessions of a role start with SET ROLE to: a role that is known, and that it may become.
func (c *compiler) startAs(role access.Ref, settings []named[text]) {
	for _, s := range settings {
		if !strings.EqualFold(s.name, roleParameter) || s.value.s == noRole {
			continue
		}
		if target, ok := c.ref(s.value, asStart); ok && !c.desired.MayBecome(role, target) {
			s.at.Errorf(`sessions of "%s" start as "%s", but it is no member of that role`, role, s.value.s)
		}
	}
}

// The parameter that is set to the name of a role, and what it is set to for none.
const (
	roleParameter = "role"
	noRole        = "none"
)

// retirement makes a role go.
func (c *compiler) retirement(d *document, e *retirementEntry) {
	if e.role.s == "" {
		return
	}
	written := dotted(e.schema, e.role)
	if f := d.fragment; f != nil && !f.claimsRole(written) {
		e.role.at.Errorf(`role "%s" is not in the scope.roles of fragment "%s"`, written, f.name)
	}
	if first, ok := c.retired[written]; ok {
		e.at.Errorf(`role "%s" is retired twice%s`, written, alsoAt(first))
		return
	}
	c.retired[written] = e.at
	if kept, ok := c.roles[written]; ok {
		e.at.Errorf(`role "%s" shall go, and shall be there%s`, written, kept.also())
		return
	}
	ref := access.Ref{Kind: access.Own, Name: scope.Name{Schema: e.schema.s, Role: scope.Short(e.role.s)}}
	if c.scope == None {
		ref.Kind = access.Global
	}
	c.claim(ref, d, e.at, `role "`+written+`"`)
	if !c.checkName(ref, false, e.schema, e.role.s, e.role.at) {
		return
	}
	c.desired.Retirements = append(c.desired.Retirements, access.Retirement{
		Ref: ref, DropOwned: or(e.dropOwned, false), TerminateSessions: or(e.terminate, false), Place: place(e.at),
	})
}

// reassignments finds the new owners, when every name is known.
func (c *compiler) reassignments(documents []*document) {
	index := make(map[access.Place]int, len(c.desired.Retirements))
	for i, r := range c.desired.Retirements {
		index[r.Place] = i
	}
	each(documents, (*document).ofRetirements, func(_ *document, e *retirementEntry) {
		if e.reassignTo.s != "" && e.reassignTo.s == dotted(e.schema, e.role) {
			e.reassignTo.at.Errorf(`what role "%s" owns cannot stay with it`, e.reassignTo.s)
			return
		}
		if to, ok := c.ref(e.reassignTo, asAssignee); ok {
			if i, ok := index[place(e.at)]; ok {
				c.desired.Retirements[i].ReassignTo = to
			}
		}
	})
}

// reserved reports whether the name is one that this project gives to roles of its own.
func reserved(name string) bool { return strings.HasPrefix(name, scope.Reserved) }
