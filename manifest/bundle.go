package manifest

import (
	"path/filepath"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/config/yamlfile"
)

// bundleEntry is the root of a bundle.
type bundleEntry struct {
	located
	shared  shared
	sources []sourceEntry
}

type sourceEntry struct {
	located
	file text
}

var (
	sharedForm = object("shared", sharedKeys...)
	bundleForm = object("bundle",
		field("shared", "What is said for all fragments.", sharedForm, func(b *bundleEntry) *shared { return &b.shared }),
		field("sources", "The fragments.", listOf(object("source",
			field("file", "Path of a fragment, seen from the folder of this file.", bounded(4096, false), func(s *sourceEntry) *text { return &s.file }).must(),
		)), func(b *bundleEntry) *[]sourceEntry { return &b.sources }).must(),
	)
)

// fragment is what a file of a bundle says of itself: its name, and what it may touch.
type fragment struct {
	document document
	policy   policyEntry
	scope    claimEntry

	name      string
	roles     map[string]bool
	facets    map[string]facets // by schema
	generated []access.Ref      // roles of profiles
}

type policyEntry struct{ name text }

type claimEntry struct {
	roles   []text
	schemas []claimedSchema
}

type claimedSchema struct {
	located
	name   text
	facets []text
}

// facets are what a fragment decides of a schema.
type facets struct{ owner, bindings bool }

// The words for facets.
const (
	facetOwner    = "owner"
	facetBindings = "bindings"
)

var fragmentForm = object("fragment", append(within(append([]key[document]{
	field("role_pattern", "How the names of profiles' roles are made.", pattern, func(d *document) *text { return &d.rolePattern }),
}, entries...), func(f *fragment) *document { return &f.document }),
	field("policy", "What the fragment is called.", object("policy",
		field("name", "Name of the fragment, in errors.", bounded(maxText, false), func(p *policyEntry) *text { return &p.name }).must(),
	), func(f *fragment) *policyEntry { return &f.policy }).must(),
	field("scope", "What the fragment decides, and no other.", object("fragment_scope",
		field("roles", "Roles that the fragment declares or retires.", listOf(reference), func(c *claimEntry) *[]text { return &c.roles }),
		field("schemas", "Schemas, and what of them.", listOf(object("fragment_schema",
			field("name", "Name of the schema.", identifier, func(s *claimedSchema) *text { return &s.name }).must(),
			field("facets", "owner: that it exists, and whose it is. bindings: profiles and privileges in it.",
				someOf(oneOf(facetOwner, facetBindings)), func(s *claimedSchema) *[]text { return &s.facets }).must(),
		)), func(c *claimEntry) *[]claimedSchema { return &c.schemas }),
	), func(f *fragment) *claimEntry { return &f.scope }).must(),
)...)

// bundle reads the fragments of a bundle and says what they mean together.
func (l *loader) bundle(c *compiler, b *bundleEntry) access.Desired {
	if len(b.sources) == 0 {
		b.at.Errorf("a bundle has at least one source")
	}
	checkProfiles(b.shared.profiles)
	l.counts.Profiles += len(b.shared.profiles)
	var documents []*document
	names := make(map[string]yamlfile.Value)
	files := make(map[string]bool)
	for _, source := range b.sources {
		if source.file.s == "" {
			continue
		}
		from, _, _ := source.at.Place()
		path := source.file.s
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(from), path)
		}
		if files[path] {
			source.file.at.Errorf(`the source "%s" is named twice`, source.file.s)
			continue
		}
		files[path] = true
		file, err := l.open(path)
		if err != nil {
			source.file.at.Errorf("%v", err)
			continue
		}
		l.counts.Sources++
		if !readable(file) {
			continue
		}
		f := fragmentForm.read(file.Root())
		f.name = f.policy.name.s
		if at, ok := names[f.name]; ok && f.name != "" {
			f.policy.name.at.Errorf(`a fragment is named "%s" already%s`, f.name, alsoAt(at))
		}
		names[f.name] = f.policy.name.at
		f.document.at = file.Root()
		documents = append(documents, f.prepare(b.shared))
	}
	surface := c.claimScopes(documents)
	desired := c.compile(documents)
	addRoles(surface, c, documents)
	desired.Surface = surface
	return desired
}

// prepare makes the fragment's document one that can be compiled.
func (f *fragment) prepare(s shared) *document {
	f.roles = make(map[string]bool)
	f.facets = make(map[string]facets)
	for _, r := range f.scope.roles {
		if f.roles[r.s] && r.s != "" {
			r.at.Errorf(`"%s" stands here twice`, r.s)
		}
		f.roles[r.s] = true
	}
	for _, s := range f.scope.schemas {
		if _, ok := f.facets[s.name.s]; ok && s.name.s != "" {
			s.at.Errorf(`"%s" stands here twice`, s.name.s)
		}
		var has facets
		for _, facet := range s.facets {
			has.owner = has.owner || facet.s == facetOwner
			has.bindings = has.bindings || facet.s == facetBindings
		}
		f.facets[s.name.s] = has
	}
	d := &f.document
	d.fragment = f
	d.defaultOwner, d.profiles = s.defaultOwner, s.profiles
	if d.rolePattern.s == "" {
		d.rolePattern = s.rolePattern
	}
	return d
}

func (f *fragment) claimsRole(name string) bool { return f.roles[name] }

// checkSchema tells which facet a schema's entry needs and the fragment has not claimed.
func (f *fragment) checkSchema(d *document, e *schemaEntry) {
	has := f.facets[e.name.s]
	if (len(e.profiles) > 0 || e.rolePattern.s != "") && !has.bindings {
		e.at.Errorf(`fragment "%s" binds profiles to schema "%s" without the facet bindings`, f.name, e.name.s)
	}
	if (e.owner.s != "" || d.defaultOwner.s != "") && !has.owner {
		e.at.Errorf(`fragment "%s" gives schema "%s" an owner without the facet owner`, f.name, e.name.s)
	}
}

// checkBinding tells that a grant is on something in a schema that the fragment does not decide about.
func (f *fragment) checkBinding(on access.Selector, at yamlfile.Value) {
	schema := on.Schema
	if on.Kind == access.Schema {
		schema = on.Name
	}
	if schema != "" && !f.facets[schema].bindings {
		at.Errorf(`fragment "%s" grants in schema "%s" without the facet bindings`, f.name, schema)
	}
}

// checkDefault tells that default privileges are about something that the fragment does not decide about.
func (f *fragment) checkDefault(schema string, owner access.Ref, at yamlfile.Value) {
	switch {
	case schema != "" && !f.facets[schema].bindings:
		at.Errorf(`fragment "%s" has default privileges in schema "%s" without the facet bindings`, f.name, schema)
	case schema == "" && !f.roles[owner.String()]:
		at.Errorf(`fragment "%s" has default privileges everywhere of "%s", which is not in its scope.roles`, f.name, owner)
	}
}

// claimScopes tells what two fragments claim. It returns the schemas that are claimed.
func (c *compiler) claimScopes(documents []*document) *access.Surface {
	surface := &access.Surface{
		Roles: make(map[access.Ref]bool), SchemaOwners: make(map[string]bool), Schemas: make(map[string]bool),
	}
	type facet struct{ schema, facet string }
	claimed := make(map[facet]claim)
	for _, d := range documents {
		for _, s := range d.fragment.scope.schemas {
			has := d.fragment.facets[s.name.s]
			for _, one := range []struct {
				word string
				has  bool
				all  map[string]bool
			}{{facetOwner, has.owner, surface.SchemaOwners}, {facetBindings, has.bindings, surface.Schemas}} {
				if !one.has {
					continue
				}
				key := facet{s.name.s, one.word}
				if first, ok := claimed[key]; ok && first.by != d.fragment {
					s.at.Errorf(`the facet %s of schema "%s" is fragment "%s"'s, at %s`, one.word, s.name.s, first.by.name, place(first.at))
				} else if !ok {
					claimed[key] = claim{d.fragment, s.at}
				}
				one.all[s.name.s] = true
			}
		}
	}
	return surface
}

// addRoles adds the roles that fragments claim or make to what may be touched.
func addRoles(surface *access.Surface, c *compiler, documents []*document) {
	for _, d := range documents {
		for _, name := range d.fragment.scope.roles {
			if role, ok := c.roles[name.s]; ok {
				surface.Roles[role.Ref] = true
			}
		}
		for _, role := range d.fragment.generated {
			surface.Roles[role] = true
		}
	}
	for _, r := range c.desired.Retirements {
		surface.Roles[r.Ref] = true
	}
}
