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

// batch collects single rights and makes of them as few statements as can be: GRANT SELECT ON TABLE a, b, c TO x, y,
// or ON ALL TABLES IN SCHEMA s.
type batch struct {
	p       *planner
	objects []*Object
	texts   []string // of objects, in SQL
	groups  map[group]*bundle
	refused map[string]int // problems of which only the first few are told
	counts  map[allIn]int  // see [State.counts]
}

// group is what all rights in a statement have in common.
type group struct {
	step       Step
	level      int
	word       string        // TABLE
	privileges string        // SELECT, UPDATE (a, b)
	option     bool          // with it, or only it
	held       bool          // a GRANT of the option alone
	again      again         // what is given again when it is undone
	loan       loanToGrantor // what a dangling loss needs
	way        loanToGrantor // what a loss needs whose grantor does not get at the object
	as         scope.Cluster // the grantor, where it is not the object's owner; of gifts only who takes them back needs to be told
	lent, door scope.Cluster // see [Change]: for the object, and for its schema
	reason     string
	grantee    scope.Cluster
}

// loanToGrantor gives a grantor what it lost, the grant option or USAGE of the schema, for as long as it takes back what
// it gave, and all that hangs on it.
type loanToGrantor struct{ give, end string }

// again is privileges by whether they can be granted on.
type again struct{ plain, option string }

type bundle struct {
	objects []uint32 // indexes
	every   bool     // the wish is for all that the schemas have of the kind, whatever that is
	places  []access.Place
}

func newBatch(p *planner) *batch {
	return &batch{p: p, groups: make(map[group]*bundle), refused: make(map[string]int)}
}

// target is what was compared: an object, or a column of it.
type target struct {
	object *Object
	column string
	owner  scope.Cluster // of the object, when the plan is carried out
	want   wishes
	every  bool   // the wishes are for all of its kind in its schema
	whole  []loss // of a column: what the object loses with it
}

// add takes what was found of a target.
func (b *batch) add(t target, d difference) {
	if len(d.gifts)+len(d.losses) == 0 {
		return
	}
	if len(b.objects) == 0 || b.objects[len(b.objects)-1] != t.object {
		b.objects = append(b.objects, t.object)
		b.texts = append(b.texts, t.object.objectSQL())
	}
	for _, g := range d.gifts {
		b.give(t, g)
	}
	for _, l := range d.losses {
		b.take(t, l)
	}
}

func (b *batch) give(t target, g gift) {
	reason := "declared, but not there"
	switch {
	case g.kept:
		reason = "kept: who gave it no longer may"
	case g.grantee == t.owner:
		reason = "the owner's own right, but it was revoked"
	case g.held:
		reason = "the grant option is declared, but not there"
	}
	step := Grant
	if slices.ContainsFunc(t.whole, func(l loss) bool { return l.grantee == g.grantee && l.privileges&g.privileges != 0 }) {
		step = GrantColumns
	}
	as, lent := b.mayGrant(t, g)
	door := b.door(t, g.grantee, b.p.state.Executor.Name, lent)
	b.put(group{
		step: step, word: t.object.Kind.Info().Word, privileges: privilegesSQL(g.privileges, t.column), option: g.option, held: g.held,
		again: againOf(t.object, t.column, loss{grantee: g.grantee, grantor: cmp.Or(as, t.owner)}, g.privileges),
		as:    as, lent: lent, door: door, reason: reason, grantee: g.grantee,
	}, t.want[g.grantee], t.every && !g.kept)
}

func (b *batch) take(t target, l loss) {
	w, as := t.want[l.grantee], l.grantor
	if as == t.owner && !b.overlooked(t, l) {
		as = ""
	}
	reason := "there, but not declared"
	switch {
	case w != nil && w.absent&l.privileges != 0:
		reason = "declared absent"
	case l.level > 0:
		reason = "who gave it no longer may"
	case l.optionOnly:
		reason = "the grant option is not declared"
	}
	lent := b.mayRevoke(t, l, as)
	way, door := b.way(t, l, as, lent)
	b.p.loses(t, l)
	b.put(group{
		step: Revoke, level: -l.level, word: t.object.Kind.Info().Word, privileges: privilegesSQL(l.privileges, t.column), option: l.optionOnly,
		loan: b.lendOption(t, l), way: way, again: againOf(t.object, t.column, l, l.privileges), as: as, lent: lent, door: door, reason: reason, grantee: l.grantee,
	}, w, false)
}

// againOf returns what was lost, and what of the same a REVOKE takes from the object's columns beside it.
func againOf(o *Object, column string, l loss, taken access.Privileges) again {
	var plain, option []string
	add := func(privileges, options access.Privileges, column string) {
		if p := privileges &^ options; p != 0 {
			plain = append(plain, privilegesSQL(p, column))
		}
		if options != 0 {
			option = append(option, privilegesSQL(options, column))
		}
	}
	add(l.privileges, l.options, column)
	if column == "" {
		for _, name := range slices.Sorted(maps.Keys(o.Columns)) {
			for _, e := range o.Columns[name].Entries {
				if e.Grantee == l.grantee && e.Grantor == l.grantor {
					add(e.Privileges&taken, e.Options&taken, name)
				}
			}
		}
	}
	return again{strings.Join(plain, ", "), strings.Join(option, ", ")}
}

// grants gives it again, on what is named.
func (a again) grants(on, who string) (list []string) {
	if a.plain != "" {
		list = append(list, "GRANT "+a.plain+on+" TO "+who)
	}
	if a.option != "" {
		list = append(list, "GRANT "+a.option+on+" TO "+who+" WITH GRANT OPTION")
	}
	return list
}

func (b *batch) put(g group, w *wish, every bool) {
	have := b.groups[g]
	if have == nil {
		have = &bundle{every: true}
		b.groups[g] = have
	}
	have.every = have.every && every
	have.objects = append(have.objects, uint32(len(b.objects)-1)) //nolint:gosec // as many as the server has objects
	if w != nil {
		have.addPlaces(w.places)
	}
}

func (b *bundle) addPlaces(list []access.Place) {
	for _, p := range list {
		if !slices.Contains(b.places, p) {
			b.places = append(b.places, p)
		}
	}
}

func privilegesSQL(p access.Privileges, column string) string {
	if column == "" {
		return p.String()
	}
	words := p.Words()
	for i := range words {
		words[i] += " (" + scope.QuoteIdent(column) + ")"
	}
	return strings.Join(words, ", ")
}

// mayGrant and mayRevoke find out beforehand what the server would refuse, and which role must be lent to the
// executor; mayGrant also by whose option it grants where it does not as the owner (select_best_grantor,
// src/backend/utils/adt/acl.c).
func (b *batch) mayGrant(t target, g gift) (as, lent scope.Cluster) {
	if b.p.reaches(t.owner, uses) {
		return "", ""
	}
	acl, _ := b.p.owned(t.object)
	for _, e := range acl.Entries {
		if r := b.p.state.role(e.Grantee); r != nil && r.Acts && e.Options.Has(g.privileges) && as != b.p.state.Executor.Name {
			as = e.Grantee
		}
	}
	if as != "" {
		return as, ""
	}
	lent, ok := b.p.mayReach(t.owner, uses)
	if !ok {
		b.refuse(t, g.grantee, "role %q may not grant on objects of %q", b.p.state.Executor.Name, t.owner)
	}
	return "", lent
}

func (b *batch) mayRevoke(t target, l loss, as scope.Cluster) (lent scope.Cluster) {
	how := sets // to do it as the grantor
	if as == "" {
		how = uses
	}
	lent, ok := b.p.mayReach(l.grantor, how)
	if !ok {
		b.refuse(t, l.grantee, "role %q may not revoke what %q has granted", b.p.state.Executor.Name, l.grantor)
	}
	return lent
}

// overlooked reports whether the server would not take what the executor revokes for the owner's: that it does only where
// the executor, or a role that it acts for, has no option of its own.
func (b *batch) overlooked(t target, l loss) bool {
	acl, _ := b.p.owned(t.object)
	if t.column != "" {
		acl = t.object.Columns[t.column]
	}
	return !b.p.state.Executor.Superuser && b.p.state.Executor.Name != t.owner && slices.ContainsFunc(acl.Entries, func(e Entry) bool {
		r := b.p.state.role(e.Grantee)
		return r != nil && r.Acts && e.Grantee != t.owner && e.Options&l.privileges != 0
	})
}

const examples = 5

func (b *batch) refuse(t target, grantee scope.Cluster, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if b.refused[text]++; b.refused[text] <= examples {
		b.p.problem(firstPlace(t.want[grantee]), memberHint, "%s: %v", text, t.object)
	}
}
