package reconcile

import (
	"maps"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// grantRule is a grant of the manifest, its names resolved.
type grantRule struct {
	*access.Grant
	grantee    scope.Cluster
	privileges access.Privileges // those that the server's version has
	void       bool              // there is no such grantee: the object is looked for all the same
	used       bool
}

// container is where objects are: a kind, and a schema where the kind is in one.
type container struct {
	kind   access.Kind
	schema string
}

// privileges makes the privileges on objects those that they shall be.
func (p *planner) privileges() {
	rules := make(map[container][]*grantRule)
	for i := range p.desired.Grants {
		g := &p.desired.Grants[i]
		c, ok := p.cluster(g.Grantee, g.Place)
		if g.On.Kind == access.Parameter && p.state.Version < 15 {
			p.problem(g.Place, "", "privileges on parameters need PostgreSQL 15; this is %d", p.state.Version)
			continue
		}
		if at := (container{g.On.Kind, g.On.Schema}); p.schemaIs(at.schema, g.Place) {
			rules[at] = append(rules[at], &grantRule{Grant: g, grantee: c, privileges: p.known(g.Privileges, g.On.Kind, g.Place), void: !ok})
		}
	}
	b := newBatch(p)
	for _, kind := range access.Kinds() {
		objects := p.state.Objects[kind]
		if kind == access.Parameter {
			objects = p.parametersNamed(objects, rules[container{kind: kind}])
		}
		if kind == access.Schema {
			objects = slices.SortedFunc(slices.Values(slices.Concat(objects, p.virtual)), compareObjects)
		}
		for start := 0; start < len(objects); {
			at := container{kind, objects[start].Schema}
			end := start
			for end < len(objects) && objects[end].Schema == at.schema {
				end++
			}
			p.inContainer(b, at, objects[start:end], rules[at])
			start = end
		}
		for at, list := range rules {
			if at.kind == kind {
				p.missing(at, list)
			}
		}
	}
	b.flush()
}

// known returns those privileges that the server's version has. That it lacks one is told where the manifest names it,
// as ALL does not.
func (p *planner) known(privileges access.Privileges, kind access.Kind, place access.Place) access.Privileges {
	if p.state.Version >= 17 || !privileges.Has(access.Maintain) {
		return privileges
	}
	if privileges != kind.Info().Privileges {
		p.problem(place, "", "privilege MAINTAIN needs PostgreSQL 17; this is %d", p.state.Version)
	}
	return privileges &^ access.Maintain
}

// schemaIs reports whether there is a schema of that name, or will be; and so for what is in none. That there is none is
// told once: where it is misspelt, a grant on all that is in it would be one on nothing.
func (p *planner) schemaIs(name string, place access.Place) bool {
	if name == "" || p.schemaSpec(name) != nil || p.state.object(access.Schema, "", name) != nil || p.state.Scope.Schema(name).OID != 0 {
		return true
	}
	if !p.noSchema[name] {
		p.noSchema[name] = true
		p.problem(place, "create it, or correct the name", "schema %s does not exist", name)
	}
	return false
}

// missing tells of named objects that are not there.
func (p *planner) missing(at container, list []*grantRule) {
	for _, r := range list {
		if r.used || r.On.Pattern != "" || r.Absent {
			continue
		}
		what := Object{Kind: at.kind, Schema: at.schema, Name: r.On.Name}
		text := what.String()
		if at.kind == access.Routine {
			text = strings.TrimSuffix(text, "()")
		}
		p.problem(r.Place, "create it, or correct the name", "%s does not exist", text)
	}
}

// ruleset is the rules about one kind of objects in one schema, by how they say which objects they mean.
type ruleset struct {
	everywhere wishes                  // of all of them
	named      map[string][]*grantRule // by the name
	selecting  []*grantRule            // by a pattern; of a routine, by its name with types or without
}

func (p *planner) newRuleset(kind access.Kind, rules []*grantRule) ruleset {
	s := ruleset{everywhere: make(wishes), named: make(map[string][]*grantRule)}
	for _, r := range rules {
		switch {
		case r.On.Pattern == "%" && r.On.Column == "":
			p.wish(s.everywhere, r)
		case r.On.Pattern == "" && kind != access.Routine:
			s.named[r.On.Name] = append(s.named[r.On.Name], r)
		default:
			s.selecting = append(s.selecting, r)
		}
	}
	return s
}

// about returns the rules that mean an object, or columns of it, but not all of the objects.
func (s ruleset) about(o *Object, all []*Object) []*grantRule {
	list := slices.Clip(s.named[o.Name])
	for _, r := range s.selecting {
		if selects(r.On, o, all) {
			list = append(list, r)
		}
	}
	return list
}

// inContainer compares objects of one kind in one schema.
func (p *planner) inContainer(b *batch, at container, objects []*Object, rules []*grantRule) {
	set := p.newRuleset(at.kind, rules)
	seen := make(map[sameACL]difference)
	for _, o := range objects {
		want, like := set.everywhere, seen
		var columns map[string]wishes
		for _, r := range set.about(o, objects) {
			r.used = true
			if column := r.On.Column; column != "" {
				if columns == nil {
					columns = make(map[string]wishes)
				}
				if columns[column] == nil {
					columns[column] = make(wishes)
				}
				p.wish(columns[column], r)
				continue
			}
			if like != nil { // the first wish of its own
				want, like = want.clone(), nil
			}
			p.wish(want, r)
		}
		p.columns(b, o, columns, p.object(b, o, want, like))
	}
}

func (p *planner) wish(ws wishes, r *grantRule) {
	if r.void {
		return
	}
	ws.of(r.grantee).add(r.privileges, r.GrantOption, r.Absent, r.Place)
}

// within reports whether undeclared privileges on the object are the manifest's business.
func (p *planner) within(o *Object) bool {
	switch {
	case o.Kind == access.Schema:
		return p.schemas[o.Name]
	case o.Kind.Info().InSchema:
		return p.schemas[o.Schema]
	default:
		return o.Kind == access.Database && !p.desired.Cluster || p.kinds[o.Kind]
	}
}

// parametersNamed adds the parameters that nothing is stored of yet: whatever parameters there are, the server knows.
func (p *planner) parametersNamed(stored []*Object, rules []*grantRule) []*Object {
	all := slices.Clone(stored)
	for _, r := range rules {
		if r.On.Pattern == "" && !slices.ContainsFunc(all, func(o *Object) bool { return o.Name == r.On.Name }) {
			all = append(all, &Object{Kind: access.Parameter, Name: r.On.Name})
		}
	}
	slices.SortFunc(all, compareObjects)
	return all
}

// object compares the object itself, and returns what it is to lose.
// seen, unless nil, has what was found of objects with the same wishes.
func (p *planner) object(b *batch, o *Object, want wishes, seen map[sameACL]difference) []loss {
	if !p.within(o) {
		return nil
	}
	acl, owner := p.owned(o)
	if o.Kind == access.Schema {
		if spec := p.schemaSpec(o.Name); spec != nil {
			want = want.clone()
			want.of(owner).add(access.Usage|access.Create, false, false, spec.Place)
		}
	}
	if o.Kind == access.Database {
		want = p.besideMarker(acl, want)
	}
	holds := access.Privileges(0)
	if !acl.Stored {
		holds = o.Kind.Info().Privileges
	}
	same := sameACL{owner: owner, stored: acl.Stored, entries: len(acl.Entries)}
	if same.entries > 0 {
		same.first = &acl.Entries[0]
	}
	d, ok := seen[same]
	if !ok || o.Kind == access.Schema {
		d = compare(acl.entries(o.Kind, owner), want, rules{owner: owner, holds: holds, strict: p.strictOn(o.Kind), take: p.takes()})
		if seen != nil {
			seen[same] = d
		}
	}
	b.add(target{object: o, owner: owner, want: want, every: seen != nil && o.Kind.Info().InSchema}, d)
	return d.losses
}

// owned returns an object's list and owner as they are when the plan has given schemas their owners.
func (p *planner) owned(o *Object) (ACL, scope.Cluster) {
	if spec := p.schemaSpec(o.Name); o.Kind == access.Schema && spec != nil && OwnSchema.in(p.mode) {
		if c := p.state.Names[spec.Owner].Cluster; c != "" && c != o.Owner {
			return o.ACL.transfer(o.Owner, c), c
		}
	}
	return o.ACL, o.Owner
}

// sameACL is what objects have in common whose comparison with the same wishes comes to the same: lists that are equal
// share their entries.
type sameACL struct {
	owner   scope.Cluster
	stored  bool
	first   *Entry
	entries int
}

func (p *planner) schemaSpec(name string) *access.SchemaSpec {
	i := slices.IndexFunc(p.desired.Schemas, func(s access.SchemaSpec) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &p.desired.Schemas[i]
}

// columns compares the object's columns. What the object loses, they lose with it (ExecGrant_Relation,
// src/backend/catalog/aclchk.c).
func (p *planner) columns(b *batch, o *Object, want map[string]wishes, with []loss) {
	if !p.within(o) {
		return
	}
	for _, column := range slices.Sorted(maps.Keys(want)) {
		if _, ok := o.Columns[column]; !ok {
			for _, w := range want[column] {
				p.problem(firstPlace(w), "create it, or correct the name", "column %s of %v does not exist", column, o)
			}
			delete(want, column)
		}
	}
	for _, column := range slices.Sorted(maps.Keys(o.Columns)) {
		acl, ws := o.Columns[column].after(with), want[column]
		if ws == nil {
			ws = make(wishes)
		}
		d := compare(acl.Entries, ws, rules{
			owner: o.Owner, holds: o.Kind.Info().Columns, strict: p.strict, take: p.takes(), above: o.ACL, fallen: with, column: true,
		})
		b.add(target{object: o, column: column, owner: o.Owner, want: ws, whole: with}, d)
	}
}

// after returns what is left of the list when the same is taken from it.
func (a ACL) after(losses []loss) ACL {
	list := slices.Clone(a.Entries)
	for i := range list {
		for _, l := range losses {
			if e := &list[i]; e.Grantee == l.grantee && e.Grantor == l.grantor {
				e.Options &^= l.privileges
				if !l.optionOnly {
					e.Privileges &^= l.privileges
				}
			}
		}
	}
	return ACL{Stored: a.Stored, Entries: list}
}

// transfer returns what becomes of the list when the object gets another owner (aclnewowner, src/backend/utils/adt/acl.c).
func (a ACL) transfer(from, to scope.Cluster) ACL {
	list := make([]Entry, 0, len(a.Entries))
	for _, e := range a.Entries {
		if e.Grantee == from {
			e.Grantee = to
		}
		if e.Grantor == from {
			e.Grantor = to
		}
		if i := slices.IndexFunc(list, func(o Entry) bool { return o.Grantee == e.Grantee && o.Grantor == e.Grantor }); i >= 0 {
			list[i].Privileges |= e.Privileges
			list[i].Options |= e.Options
			continue
		}
		list = append(list, e)
	}
	return ACL{Stored: a.Stored, Entries: list}
}

// besideMarker adds to the wishes for the database the CONNECT that members of the marker have beside it, in a database
// that is hardened (provision.Harden): who is NOINHERIT would be shut out without, and others have it by the marker.
func (p *planner) besideMarker(acl ACL, want wishes) wishes {
	marker := p.state.Scope.Marker
	has := make(map[scope.Cluster]bool)
	for _, e := range acl.Entries {
		has[e.Grantee] = has[e.Grantee] || e.Privileges.Has(access.Connect)
	}
	if !has[marker] {
		return want
	}
	want = want.clone()
	for _, e := range p.state.Members {
		if e.Role == marker && has[e.Member] && !want.of(e.Member).absent.Has(access.Connect) {
			want.of(e.Member).add(access.Connect, false, false, access.Place{})
		}
	}
	return want
}
