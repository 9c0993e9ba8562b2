package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
)

// defaultPattern is how the names of profiles' roles are made where nothing is said.
const defaultPattern = "{schema}-{profile}"

// binding is a profile that is bound to a schema, and the role that comes of it.
type binding struct {
	document *document
	schema   string
	role     access.Ref
	profile  *profileEntry
	config   []named[text] // of the profile, with the names filled in
}

// schema makes a schema of an entry; fragments of a bundle may each say a part of one.
func (c *compiler) schema(d *document, e *schemaEntry) {
	if e.name.s == "" {
		return
	}
	if strings.HasPrefix(e.name.s, "pg_") {
		e.name.at.Errorf(`"%s" cannot be the name of a schema: the server reserves pg_…`, e.name.s)
	}
	if f := d.fragment; f != nil {
		f.checkSchema(d, e)
	}
	owner := e.owner
	if owner.s == "" {
		owner = d.defaultOwner
	}
	state, known := c.schemas[e.name.s]
	switch {
	case !known:
		c.schemas[e.name.s] = &schemaState{at: e.at, fragment: d.fragment, owner: owner, index: len(c.desired.Schemas)}
		c.desired.Schemas = append(c.desired.Schemas, access.SchemaSpec{Name: e.name.s, Place: place(e.at)})
	case state.fragment == d.fragment:
		e.at.Errorf(`schema "%s" is declared twice%s`, e.name.s, alsoAt(state.at))
	case state.owner.s == "":
		state.owner = owner
	}
}

// bind declares the roles of the profiles that are bound to a schema.
func (c *compiler) bind(d *document, e *schemaEntry) []*binding {
	var bindings []*binding
	for i, name := range e.profiles {
		p := slices.IndexFunc(d.profiles, func(p named[profileEntry]) bool { return p.name == name.s })
		switch {
		case name.s == "" || e.name.s == "":
			continue
		case p < 0:
			names := make([]string, len(d.profiles))
			for i, p := range d.profiles {
				names[i] = p.name
			}
			name.at.Errorf(`profile "%s" is not defined%s`, name.s, yamlfile.DidYouMean(name.s, names))
			continue
		case slices.ContainsFunc(e.profiles[:i], func(t text) bool { return t.s == name.s }):
			name.at.Errorf(`profile "%s" is bound to schema "%s" twice`, name.s, e.name.s)
			continue
		}
		profile := &d.profiles[p].value
		fill := strings.NewReplacer("{schema}", e.name.s, "{profile}", name.s).Replace
		ref, ok := c.declare(d, text{}, text{fill(d.patternOf(e)), name.at}, false, name.at)
		if !ok {
			continue
		}
		config := slices.Clone(profile.config)
		for i := range config {
			config[i].value.s = fill(config[i].value.s)
		}
		settings := settingsOf(config, false)
		slices.SortFunc(settings, func(a, b access.Setting) int { return strings.Compare(a.Name, b.Name) })
		c.desired.Roles = append(c.desired.Roles, access.Role{
			Ref: ref, Login: or(profile.login, false), Inherit: or(profile.inherit, true), ConnectionLimit: -1,
			Comment:  fmt.Sprintf("Generated from profile '%s' for schema '%s'", name.s, e.name.s),
			Settings: settings, Place: place(name.at),
		})
		if f := d.fragment; f != nil {
			f.generated = append(f.generated, ref)
		}
		bindings = append(bindings, &binding{d, e.name.s, ref, profile, config})
	}
	return bindings
}

func (d *document) patternOf(e *schemaEntry) string {
	switch {
	case e.rolePattern.s != "":
		return e.rolePattern.s
	case d.rolePattern.s != "":
		return d.rolePattern.s
	}
	return defaultPattern
}

// expand gives the role of a binding what its profile says.
func (c *compiler) expand(b *binding) {
	for i := range b.profile.grants {
		e := &b.profile.grants[i]
		if e.ensure.s != absent { // told by checkProfiles
			c.grantTo(b.document, e, b.role, b.schema)
		}
	}
	if len(b.profile.defaults) == 0 {
		return
	}
	owner := c.ownerIn(b.schema, b.document, c.schemas[b.schema].at)
	for i := range b.profile.defaults {
		e := &b.profile.defaults[i]
		if owner.Kind != 0 && e.ensure.s != absent {
			c.defaultGrant(b.document, e, owner, b.schema, b.role)
		}
	}
}

// anySchema stands for the schema that a profile may be bound to.
const anySchema = "{schema}"

// checkProfiles tells what is wrong with profiles, whether they are bound or not.
func checkProfiles(profiles []named[profileEntry]) {
	for _, p := range profiles {
		if p.name == "" {
			p.at.KeyErrorf("a profile's name is empty")
		}
		forbid := func(ensure text) {
			if ensure.s == absent {
				ensure.at.Errorf(`profile "%s" says ensure: absent; a profile only gives`, p.name)
			}
		}
		for _, g := range p.value.grants {
			forbid(g.ensure)
			new(compiler).grantable(&g, anySchema)
		}
		for _, g := range p.value.defaults {
			forbid(g.ensure)
			g.grantable(anySchema)
		}
	}
}

// superuser is who makes what nobody is named for, as with pgroles: the name that initdb and most
// distributions give to the first role.
const superuser = "postgres"

// defaultOwner finds the role that a document's default_owner means. One that is not declared is taken for one that
// the cluster has.
func (c *compiler) defaultOwner(d *document) {
	owner := d.shared.defaultOwner
	if owner.s == "" || owner.s == "PUBLIC" || c.roles[owner.s] != nil {
		return
	}
	at, retired := c.retired[owner.s]
	problem := notIdentifier(owner.s)
	switch {
	case retired:
		owner.at.Errorf(`role "%s" is the default_owner and shall go%s`, owner.s, alsoAt(at))
	case problem != "":
		owner.at.Errorf("%s", problem)
	case c.checkName(global(owner.s), true, text{}, owner.s, owner.at):
		c.warn(owner.at, fmt.Sprintf(`the default_owner "%s" is not declared under roles; it is taken for a role of the cluster`, owner.s))
	}
	c.assume(owner.s, owner.place())
}

// assume declares a role that nobody did: one that the cluster has, and of which no more is known.
func (c *compiler) assume(name string, at access.Place) access.Ref {
	ref := global(name)
	c.roles[name] = &declaration{ref, true, at}
	c.desired.Roles = append(c.desired.Roles, access.Role{
		Ref: ref, External: true, PreserveGrants: true, Inherit: true, ConnectionLimit: -1, Place: at,
	})
	return ref
}

// schemaOwners finds the owners of the schemas.
func (c *compiler) schemaOwners() {
	for i := range c.desired.Schemas {
		s := &c.desired.Schemas[i]
		s.Owner, _ = c.ref(c.schemas[s.Name].owner, asOwner)
	}
}

// ownerIn is who makes the objects of a schema, or of any if it is empty, where default privileges at that place name
// nobody. Its Kind is 0 where that cannot be known.
func (c *compiler) ownerIn(schema string, d *document, at yamlfile.Value) access.Ref {
	if s, ok := c.schemas[schema]; ok && s.owner.s != "" {
		return c.desired.Schemas[s.index].Owner
	}
	if d.defaultOwner.s != "" {
		owner, _ := c.lookup(d.defaultOwner.s)
		return owner
	}
	c.warn(at, fmt.Sprintf(`default privileges that name no owner, where no schema's owner nor a default_owner is named, are for what "%s" makes`, superuser))
	if owner, ok := c.lookup(superuser); ok {
		return owner
	}
	return c.assume(superuser, place(at))
}

func (c *compiler) lookup(name string) (access.Ref, bool) {
	d, ok := c.roles[name]
	if !ok {
		return access.Ref{}, false
	}
	return d.Ref, true
}
