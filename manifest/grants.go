package manifest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
)

// every is the name that stands for all objects of a schema, and everyPattern the pattern that does.
const (
	every        = "*"
	everyPattern = "%"
)

// What grants must differ in to be two.
type (
	grantTarget struct {
		grantee access.Ref
		on      access.Selector
	}
	grantKey struct {
		grantTarget
		manner
	}
)

// manner is how an entry wants privileges.
type manner int

const (
	given manner = iota // without grant option
	withOption
	gone
	manners int = iota
)

// mannerOf returns what an entry says; false, with an error, where that is nothing that can be.
func mannerOf(at yamlfile.Value, option, isAbsent bool, grantee access.Ref) (manner, bool) {
	switch {
	case option && grantee.Kind == access.Public:
		at.Errorf("PUBLIC cannot have the grant option")
		return 0, false
	case option && isAbsent:
		at.Errorf("ensure: absent takes the privilege with its grant option; leave grant_option out")
		return 0, false
	case option:
		return withOption, true
	case isAbsent:
		return gone, true
	default:
		return given, true
	}
}

// ensured is what has been said of the privileges of one role on one object, or on one kind of future objects.
type ensured struct {
	target grantTarget
	said   [manners]saying
}

// saying is what was said in one manner, and where last.
type saying struct {
	privileges access.Privileges
	at         yamlfile.Value
}

// say adds what an entry says. It returns false, and an error, where it was said in another manner before.
func (e *ensured) say(at yamlfile.Value, p access.Privileges, how manner) bool {
	for other, s := range e.said {
		both := p & s.privileges
		switch other := manner(other); {
		case both == 0 || other == how:
			continue
		case other == gone || how == gone:
			at.Errorf("%s shall be present and absent%s", both, alsoAt(s.at))
		default:
			at.Errorf("%s shall be with grant_option and without%s", both, alsoAt(s.at))
		}
		return false
	}
	e.said[how] = saying{e.said[how].privileges | p, at}
	return true
}

func (c *compiler) grant(d *document, e *grantEntry) {
	if role, ok := c.ref(e.role, asGrantee); ok {
		c.grantTo(d, e, role, "")
	}
}

// grantTo grants what an entry says to the role. bound is the schema where the entry is a profile's.
func (c *compiler) grantTo(d *document, e *grantEntry, role access.Ref, bound string) {
	on, columns, p, ok := c.grantable(e, bound)
	if !ok {
		return
	}
	if f := d.fragment; f != nil && bound == "" {
		f.checkBinding(on, e.object.at)
	}
	if on.Kind.Info().Cluster && slices.ContainsFunc(c.globals, func(r access.Role) bool { return r.Ref == role }) {
		e.object.at.Errorf(`a %s is in no database, and role "%s" is the estate's: so are its grants on one`, on.Kind, role)
		return
	}
	how, ok := mannerOf(e.at, or(e.grantOption, false), e.ensure.s == absent, role)
	if !ok {
		return
	}
	if len(columns) == 0 {
		columns = []text{{}}
	}
	for _, column := range columns {
		on.Column = column.s
		target := grantTarget{role, on}
		state := c.ensured[target]
		if state == nil {
			state = &ensured{target: target}
			c.ensured[target] = state
		}
		if !state.say(e.at, p, how) {
			return
		}
		c.claim(target, d, e.at, `a grant on this object to "`+role.String()+`"`)
		key := grantKey{target, how}
		if i, ok := c.grants[key]; ok {
			c.desired.Grants[i].Privileges |= p
			continue
		}
		c.grants[key] = len(c.desired.Grants)
		c.desired.Grants = append(c.desired.Grants, access.Grant{
			Grantee: role, On: on, Privileges: p, GrantOption: how == withOption, Absent: how == gone, Place: place(e.at),
		})
	}
}

// grantable is what an entry gives, and on what.
func (c *compiler) grantable(e *grantEntry, bound string) (access.Selector, []text, access.Privileges, bool) {
	on, columns, ok := c.selector(e, bound)
	if !ok {
		return on, nil, 0, false
	}
	may := on.Kind.Info().Privileges
	if len(columns) > 0 {
		may = on.Kind.Info().Columns
	}
	p, ok := privileges(e.privileges, may, what(on.Kind, len(columns) > 0))
	return on, columns, p, ok
}

func what(k access.Kind, columns bool) string {
	if columns {
		return "columns of a " + k.String()
	}
	return "a " + k.String()
}

// privileges reads a list of privileges on something that has those in may.
func privileges(list []text, may access.Privileges, on string) (access.Privileges, bool) {
	var p access.Privileges
	ok := true
	for _, t := range list {
		one, known := access.ParsePrivilege(t.s)
		switch {
		case t.s == all:
			p |= may
		case !known: // told by the form
			ok = false
		case !may.Has(one):
			t.at.Errorf("%s is no privilege on %s, which has %s", t.s, on, may)
			ok = false
		default:
			p |= one
		}
	}
	return p, ok && len(list) > 0 // told by the form
}

// selector says which objects an entry is about, and which columns of them.
func (c *compiler) selector(e *grantEntry, bound string) (on access.Selector, columns []text, ok bool) {
	o := e.object
	if o == nil {
		e.at.Errorf("object is missing")
		return on, nil, false
	}
	kind, ok := access.ParseKind(o.kind.s)
	if !ok {
		return on, nil, false // told by the form
	}
	on = access.Selector{Kind: kind, Name: o.name.s, Pattern: o.pattern.s}
	info := kind.Info()
	switch schema := o.schema; {
	case info.InSchema && bound != "":
		on.Schema = bound
	case info.InSchema && schema.s == "":
		o.at.Errorf("schema is missing: a %s is in one", kind)
		return on, nil, false
	case info.InSchema:
		on.Schema = schema.s
	case schema.s != "":
		schema.at.Errorf("a %s is in no schema; its name goes into name", kind)
		return on, nil, false
	case kind == access.Database && on.Name == "" && on.Pattern == "" && c.database != nil:
		on.Name = c.database.Name // the manifest's own, whatever it is called
	case kind == access.Schema && bound != "":
		if on.Name == "" || on.Name == every || on.Name == bound {
			on.Name = bound
		} else {
			o.name.at.Errorf(`a profile's grant on its schema goes to the schema that it is bound to, not to "%s"`, on.Name)
			return on, nil, false
		}
	}
	ok = c.checkObject(o, &on, info)
	return on, o.columns, ok
}

// checkObject checks an object's name, and turns the name that stands for all into the pattern that does.
func (c *compiler) checkObject(o *objectEntry, on *access.Selector, info access.KindInfo) bool {
	switch {
	case on.Name != "" && on.Pattern != "":
		o.pattern.at.Errorf("name and name_pattern: one of the two")
	case on.Name == "" && on.Pattern == "" && on.Kind != access.Database:
		o.at.Errorf("name is missing")
	case on.Name == every && !info.InSchema:
		o.name.at.Errorf("a %s is in no schema, and \"*\" is for all of a schema", on.Kind)
	case on.Pattern != "" && !info.InSchema:
		o.pattern.at.Errorf("a %s is in no schema, and name_pattern is for some of a schema", on.Kind)
	case on.Kind == access.Database && c.database != nil && on.Name != c.database.Name:
		o.name.at.Errorf(`the manifest is for database "%s", not for "%s"`, c.database.Name, on.Name)
	case on.Kind == access.LargeObject && !isOID(on.Name):
		o.name.at.Errorf(`"%s" is no OID, which is the name of a large object`, on.Name)
	case on.Kind == access.Parameter && !settingName.MatchString(on.Name):
		o.name.at.Errorf(`"%s" is no name of a configuration parameter`, on.Name)
	case on.Kind == access.Routine && strings.Contains(on.Name, "(") != strings.HasSuffix(on.Name, ")"):
		o.name.at.Errorf(`"%s" is no function's name: write name(type, type)`, on.Name)
	case len(o.columns) > 0 && info.Columns == 0:
		o.columns[0].at.Errorf("a %s has no columns with privileges", on.Kind)
	case slices.ContainsFunc(o.columns, func(t text) bool { return t.s == "" }):
		// told by the form
	default:
		if on.Name == every {
			on.Name, on.Pattern = "", everyPattern
		}
		if on.Kind == access.Parameter {
			on.Name = strings.ToLower(on.Name) // as the server keeps it (convert_GUC_name_for_parameter_acl, guc.c)
		}
		return true
	}
	return false
}

func isOID(s string) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && n > 0 && s == strconv.FormatUint(n, 10)
}
