package manifest

import (
	"fmt"
	"slices"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
	"github.com/pgscope/pgscope-proxy/scope"
)

// compiler finds out what the documents about one database mean together.
type compiler struct {
	scope    Scope
	database *scope.Database // nil where nobody has said its name
	globals  []access.Role   // of the estate; in its databases they are external
	warn     func(yamlfile.Value, string)

	roles   map[string]*declaration // by the name that other places use
	schemas map[string]*schemaState
	retired map[string]yamlfile.Value

	claims  map[any]claim
	grants  map[grantKey]int // into desired.Grants
	ensured map[grantTarget]*ensured
	future  map[defaultKey]int // into desired.Defaults
	settled map[defaultTarget]*ensured
	members map[access.Ref]int // into desired.Memberships

	desired access.Desired
}

// declaration is what the names of roles lead to.
type declaration struct {
	access.Ref
	external bool
	at       access.Place
}

type schemaState struct {
	at       yamlfile.Value
	fragment *fragment
	owner    text
	index    int // into desired.Schemas
}

// claim is who said a thing first.
type claim struct {
	by *fragment
	at yamlfile.Value
}

// compile says what documents mean together. What is wrong goes into the errors of their files.
func (c *compiler) compile(documents []*document) access.Desired {
	c.roles = make(map[string]*declaration)
	c.schemas = make(map[string]*schemaState)
	c.retired = make(map[string]yamlfile.Value)
	c.claims = make(map[any]claim)
	c.grants = make(map[grantKey]int)
	c.ensured = make(map[grantTarget]*ensured)
	c.future = make(map[defaultKey]int)
	c.settled = make(map[defaultTarget]*ensured)
	c.members = make(map[access.Ref]int)

	for _, r := range c.globals {
		c.roles[r.String()] = &declaration{r.Ref, true, r.Place}
		c.desired.Roles = append(c.desired.Roles, access.Role{
			Ref: r.Ref, External: true, PreserveGrants: r.PreserveGrants, Inherit: true, ConnectionLimit: -1, Place: r.Place,
		})
	}
	each(documents, (*document).ofRoles, c.role)
	each(documents, (*document).ofSchemas, c.schema)
	var bindings []*binding
	each(documents, (*document).ofSchemas, func(d *document, s *schemaEntry) {
		bindings = append(bindings, c.bind(d, s)...)
	})
	each(documents, (*document).ofRetirements, c.retirement)

	// Now every name is known.
	for _, d := range documents {
		c.defaultOwner(d)
	}
	c.schemaOwners()
	for _, b := range bindings {
		c.expand(b)
	}
	each(documents, (*document).ofGrants, c.grant)
	each(documents, (*document).ofDefaults, c.defaultPrivileges)
	each(documents, (*document).ofMemberships, c.membership)
	c.reassignments(documents)
	c.conflicts()
	c.cycles()
	each(documents, (*document).ofRoles, func(_ *document, e *roleEntry) {
		if d, ok := c.roles[dotted(e.schema, e.name)]; ok {
			c.startAs(d.Ref, slices.Concat(e.config, e.databaseConfig))
		}
	})
	for _, b := range bindings {
		c.startAs(b.role, b.config)
	}
	return c.desired
}

func (d *document) ofRoles() []roleEntry             { return d.roles }
func (d *document) ofSchemas() []schemaEntry         { return d.schemas }
func (d *document) ofGrants() []grantEntry           { return d.grants }
func (d *document) ofDefaults() []defaultEntry       { return d.defaults }
func (d *document) ofMemberships() []membershipEntry { return d.memberships }
func (d *document) ofRetirements() []retirementEntry { return d.retirements }

func each[T any](documents []*document, entries func(*document) []T, do func(*document, *T)) {
	for _, d := range documents {
		list := entries(d)
		for i := range list {
			do(d, &list[i])
		}
	}
}

// claim makes key the fragment's own. It is an error where another fragment has it.
func (c *compiler) claim(key any, d *document, at yamlfile.Value, what string) {
	first, taken := c.claims[key]
	switch {
	case !taken:
		c.claims[key] = claim{d.fragment, at}
	case first.by != d.fragment:
		at.Errorf(`%s: fragment "%s" has it too, at %s`, what, first.by.name, place(first.at))
	}
}

// dotted is a role's name with the schema that it is of, as other places refer to it.
func dotted(schema, role text) string {
	return string(scope.Name{Schema: schema.s, Role: scope.Short(role.s)}.Short())
}

// declare makes a name known. It returns false, and an error, where the role cannot be called so.
func (c *compiler) declare(d *document, schema, role text, external bool, at yamlfile.Value) (access.Ref, bool) {
	if role.s == "" {
		return access.Ref{}, false
	}
	ref := access.Ref{Kind: access.Own, Name: scope.Name{Schema: schema.s, Role: scope.Short(role.s)}}
	if external || c.scope == None {
		ref.Kind = access.Global
	}
	written := dotted(schema, role)
	if first, ok := c.roles[written]; ok {
		at.Errorf(`role "%s" is declared twice%s`, written, first.also())
		return ref, false
	}
	c.roles[written] = &declaration{ref, external, place(at)}
	c.claim(ref, d, at, fmt.Sprintf(`role "%s"`, written))
	return ref, c.checkName(ref, external, schema, role.s, at)
}

// also is the end of a message about a name that is declared already.
func (d *declaration) also() string { return ", first at " + d.at.String() }

// alsoAt is the end of a message about what another place says.
func alsoAt(at yamlfile.Value) string { return ", first at " + place(at).String() }

// checkName reports whether the server and this project let a role be called so, and tells why not.
func (c *compiler) checkName(ref access.Ref, external bool, schema text, name string, at yamlfile.Value) bool {
	switch {
	case name == "PUBLIC" || name == "public" || name == "none":
		at.Errorf(`"%s" cannot be the name of a role: the server reserves it`, name)
	case scope.Predefined(scope.Short(name)) && !external:
		at.Errorf(`"%s" cannot be the name of a role: the server reserves pg_…; declare a predefined role with external: true`, name)
	case reserved(name) && !external:
		at.Errorf(`"%s" cannot be the name of a role: names that begin with %s are this project's own`, name, scope.Reserved)
	case schema.s != "" && c.scope == None:
		schema.at.Errorf("names as written have no roles of schemas; leave schema out")
	case schema.s != "" && external:
		schema.at.Errorf("a role that is external is of no schema")
	case ref.Kind == access.Own && c.database != nil:
		qualify := c.database.Qualify
		if schema.s != "" {
			qualify = c.database.Schema(schema.s).Qualify
		}
		if _, err := qualify(ref.Name.Role); err != nil {
			at.Errorf("%s: %s %s", err.Message, err.Detail, err.Hint)
			return false
		}
		return true
	default:
		return true
	}
	return false
}

// A use is what a role's name is used for.
type use string

const (
	asGrantee  use = "a grantee"
	asGranted  use = "a role that has members"
	asMember   use = "a member"
	asOwner    use = "an owner"
	asAssignee use = "the new owner"
	asStart    use = "what sessions start as"
)

// ref finds the role that a name means.
func (c *compiler) ref(t text, as use) (access.Ref, bool) {
	switch d, ok := c.roles[t.s]; {
	case t.s == "":
		return access.Ref{}, false
	case t.s == "PUBLIC" && as == asGrantee:
		return access.Ref{Kind: access.Public}, true
	case t.s == "PUBLIC":
		t.at.Errorf("PUBLIC cannot be %s", as)
		return access.Ref{}, false
	case ok:
		return d.Ref, true
	case scope.Predefined(scope.Short(t.s)):
		return global(t.s), true
	}
	if at, ok := c.retired[t.s]; ok {
		t.at.Errorf(`role "%s" is %s and shall go%s`, t.s, as, alsoAt(at))
		return access.Ref{}, false
	}
	near := yamlfile.DidYouMean(t.s, c.known())
	if near == "" {
		near = "; a role that is somebody else's is declared with external: true"
	}
	t.at.Errorf(`role "%s" is not declared%s`, t.s, near)
	return access.Ref{}, false
}

func global(name string) access.Ref {
	return access.Ref{Kind: access.Global, Name: scope.Name{Role: scope.Short(name)}}
}

func (c *compiler) known() []string {
	names := make([]string, 0, len(c.roles))
	for name := range c.roles {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
