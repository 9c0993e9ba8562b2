package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// layer is what a row of pg_default_acl is about.
type layer struct {
	owner  scope.Cluster
	schema string
	kind   access.Kind
}

func compareLayers(a, b layer) int {
	return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.schema, b.schema), cmp.Compare(a.kind, b.kind))
}

// defaults makes the privileges on objects to come those that they shall be.
func (p *planner) defaults() {
	want := make(map[layer]wishes)
	for _, d := range p.desired.Defaults {
		owner, ok := p.cluster(d.Owner, d.Place)
		grantee, ok2 := p.cluster(d.Grantee, d.Place)
		privileges := p.known(d.Privileges, d.Kind, d.Place)
		if since := d.Kind.Info().Since; p.state.Version < since {
			p.problem(d.Place, "", "default privileges on a %v need PostgreSQL %d; this is %d", d.Kind, since, p.state.Version)
			continue
		}
		if !p.schemaIs(d.Schema, d.Place) || !ok || !ok2 {
			continue
		}
		at := layer{owner, d.Schema, d.Kind}
		if want[at] == nil {
			want[at] = make(wishes)
		}
		want[at].of(grantee).add(privileges, d.GrantOption, d.Absent, d.Place)
	}
	have := make(map[layer]ACL)
	for _, d := range p.state.Defaults {
		at := layer{d.Owner, d.Schema, d.Kind}
		have[at] = d.ACL
		if want[at] == nil && d.Schema != "" && p.schemas[d.Schema] {
			want[at] = make(wishes)
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(want), compareLayers) {
		entries := have[at].Entries
		if at.schema == "" {
			entries = have[at].entries(at.kind, at.owner)
		}
		d := compare(entries, want[at], rules{
			owner: at.owner, holds: at.kind.Info().Privileges, strict: p.strict, take: p.takes(),
		})
		for _, g := range d.gifts {
			p.giveDefault(at, g, want[at][g.grantee])
		}
		for _, l := range d.losses {
			p.takeDefault(at, l, want[at][l.grantee])
		}
	}
}

// words are what objects of the layer's kind are called in ALTER DEFAULT PRIVILEGES.
func (at layer) words() string { return at.kind.Info().Word + "S" }

func (at layer) sql(verb string, privileges access.Privileges, to string, grantee scope.Cluster, option string) string {
	in := ""
	if at.schema != "" {
		in = " IN SCHEMA " + scope.QuoteIdent(at.schema)
	}
	return fmt.Sprintf("ALTER DEFAULT PRIVILEGES FOR ROLE %s%s %s %v ON %s %s %s%s",
		at.owner.Ident(), in, verb, privileges, at.words(), to, idents([]scope.Cluster{grantee}), option)
}

func (p *planner) defaultSubject(at layer) string {
	in := "any schema"
	if at.schema != "" {
		in = "schema " + at.schema
	}
	return fmt.Sprintf("new %s of %s in %s", at.kind, p.name(at.owner), in)
}

func (p *planner) giveDefault(at layer, g gift, w *wish) {
	option, revoke, reason := "", "REVOKE", "declared, but not there"
	if g.option {
		option = " WITH GRANT OPTION"
	}
	if g.held {
		revoke, reason = "REVOKE GRANT OPTION FOR", "the grant option is declared, but not there"
	}
	c := Change{
		Step: GrantDefault, Subject: p.defaultSubject(at), Rights: 1,
		Reason: fmt.Sprintf("%v of %s: %s", g.privileges, p.name(g.grantee), reason),
		SQL:    at.sql("GRANT", g.privileges, "TO", g.grantee, option),
		Undo:   at.sql(revoke, g.privileges, "FROM", g.grantee, ""),
	}
	if w != nil {
		c.Places = places(w.places...)
	}
	p.changeDefault(at, c, w)
}

func (p *planner) takeDefault(at layer, l loss, w *wish) {
	reason, verb := "there, but not declared", "REVOKE"
	if l.optionOnly {
		verb = "REVOKE GRANT OPTION FOR"
	}
	var undo []string
	if plain := l.privileges &^ l.options; plain != 0 {
		undo = append(undo, at.sql("GRANT", plain, "TO", l.grantee, ""))
	}
	if l.options != 0 {
		undo = append(undo, at.sql("GRANT", l.options, "TO", l.grantee, " WITH GRANT OPTION"))
	}
	c := Change{Step: RevokeDefault, Subject: p.defaultSubject(at), Rights: 1}
	if w != nil {
		c.Places = places(w.places...)
		if w.absent&l.privileges != 0 {
			reason = "declared absent"
		}
	}
	c.Reason = fmt.Sprintf("%v of %s: %s", l.privileges, p.name(l.grantee), reason)
	c.SQL = at.sql(verb, l.privileges, "FROM", l.grantee, "")
	c.Undo = strings.Join(undo, "; ")
	p.changeDefault(at, c, w)
}

func (p *planner) changeDefault(at layer, c Change, w *wish) {
	if c.Step.in(p.mode) {
		c.lent = []scope.Cluster{p.borrow(at.owner, uses, firstPlace(w), "set the default privileges of")}
	}
	p.change(c)
}
