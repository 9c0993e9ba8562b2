package manifest

import (
	"github.com/pgscope/pgscope-proxy/access"
)

// What default privileges must differ in to be two.
type (
	defaultTarget struct {
		owner, grantee access.Ref
		schema         string
		kind           access.Kind
	}
	defaultKey struct {
		defaultTarget
		manner
	}
)

func (c *compiler) defaultPrivileges(d *document, e *defaultEntry) {
	schema, ok := e.in()
	if !ok {
		return
	}
	var owner access.Ref
	if e.owner.s != "" {
		owner, ok = c.ref(e.owner, asOwner)
	} else if owner = c.ownerIn(schema, d, e.at); owner.Kind == 0 {
		ok = false // told where the owner stands
	} else if s := c.schemas[schema]; s != nil && d.defaultOwner.s != "" && s.owner.s != d.defaultOwner.s {
		c.warn(e.at, `default privileges that name no owner are for what "`+s.owner.s+`" makes, whose schema it is, not the default_owner`)
	}
	if f := d.fragment; f != nil && ok {
		f.checkDefault(schema, owner, e.at)
	}
	for i := range e.grants {
		g := &e.grants[i]
		if grantee, known := c.ref(g.role, asGrantee); known && ok {
			c.defaultGrant(d, g, owner, schema, grantee)
		}
	}
}

// in is the schema that default privileges are for; empty for all.
func (e *defaultEntry) in() (schema string, ok bool) {
	switch s := e.scope; {
	case s == nil && e.schema.s == "":
		e.at.Errorf("schema or scope is missing")
	case s == nil:
		return e.schema.s, true
	case e.schema.s != "":
		e.schema.at.Errorf("schema and scope: one of the two")
	case s.kind.s == inSchema && s.schema.s == "":
		s.at.Errorf("schema is missing")
	case s.kind.s == everywhere && s.schema.s != "":
		s.schema.at.Errorf("a global scope is of no schema")
	case s.kind.s != "":
		return s.schema.s, true
	}
	return "", false
}

func (c *compiler) defaultGrant(d *document, e *defaultGrant, owner access.Ref, schema string, grantee access.Ref) {
	kind, p, ok := e.grantable(schema)
	if !ok {
		return
	}
	how, ok := mannerOf(e.at, or(e.grantOption, false), e.ensure.s == absent, grantee)
	if !ok {
		return
	}
	if how == gone && schema != "" && grantee.Kind == access.Public && p&kind.Info().Everyone != 0 {
		c.warn(e.at, "what everyone has on every new "+kind.String()+" cannot be taken in one schema; scope: {type: global} can")
	}
	target := defaultTarget{owner, grantee, schema, kind}
	state := c.settled[target]
	if state == nil {
		state = new(ensured)
		c.settled[target] = state
	}
	if !state.say(e.at, p, how) {
		return
	}
	c.claim(target, d, e.at, `default privileges on "`+kind.String()+`" for "`+grantee.String()+`"`)
	key := defaultKey{target, how}
	if i, ok := c.future[key]; ok {
		c.desired.Defaults[i].Privileges |= p
		return
	}
	c.future[key] = len(c.desired.Defaults)
	c.desired.Defaults = append(c.desired.Defaults, access.DefaultPrivilege{
		Owner: owner, Schema: schema, Kind: kind, Grantee: grantee,
		Privileges: p, GrantOption: how == withOption, Absent: how == gone, Place: place(e.at),
	})
}

// grantable is what an entry gives, and on which kind of objects.
func (e *defaultGrant) grantable(schema string) (access.Kind, access.Privileges, bool) {
	kind, ok := access.ParseKind(e.kind.s)
	switch {
	case !ok: // told by the form
		return 0, 0, false
	case !kind.Info().InSchema && schema != "":
		e.kind.at.Errorf("a %s is in no schema: default privileges on new ones have scope: {type: global}", kind)
		return 0, 0, false
	}
	p, ok := privileges(e.privileges, kind.Info().Privileges, what(kind, false))
	return kind, p, ok
}
