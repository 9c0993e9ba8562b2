package reconcile

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// A statement names at most so many objects, or schemas, and roles: each object's tuple is written once for each
// statement, so that long lists are cheaper than many statements, but texts shall stay within bounds.
const (
	maxObjects = 500
	maxRoles   = 200
)

// flush turns all rights into changes.
func (b *batch) flush() {
	type statement struct {
		group    // without the grantee
		grantees []scope.Cluster
		*bundle
	}
	merged := make(map[group]map[string]*statement)
	for _, g := range slices.SortedFunc(maps.Keys(b.groups), compareGroups) {
		bundle := b.groups[g]
		grantee := g.grantee
		g.grantee = ""
		if merged[g] == nil {
			merged[g] = make(map[string]*statement)
		}
		key := objectsKey(bundle.objects)
		if st := merged[g][key]; st != nil {
			st.grantees = append(st.grantees, grantee)
			st.addPlaces(bundle.places)
			st.every = st.every && bundle.every
			continue
		}
		merged[g][key] = &statement{g, []scope.Cluster{grantee}, bundle}
	}
	for _, g := range slices.SortedFunc(maps.Keys(merged), compareGroups) {
		list := slices.SortedFunc(maps.Values(merged[g]), func(x, y *statement) int {
			return cmp.Or(slices.Compare(x.objects, y.objects), slices.Compare(x.grantees, y.grantees))
		})
		for _, st := range list {
			whole, rest := b.wholeSchemas(g.word, st.bundle)
			b.p.sampled = b.p.sampled || b.count(rest) > len(rest)
			for grantees := range slices.Chunk(st.grantees, maxRoles) {
				for schemas := range slices.Chunk(whole, maxObjects) {
					b.emit(g, " ON ALL "+plurals[g.word]+" IN SCHEMA "+b.schemasSQL(schemas), slices.Concat(schemas...), grantees, st.places)
				}
				for objects := range slices.Chunk(rest, maxObjects) {
					b.emit(g, b.on(g, objects), objects, grantees, st.places)
				}
			}
		}
	}
}

// plurals are the words that GRANT takes after ON ALL (privilege_target, src/backend/parser/gram.y): there is none
// for types and domains.
var plurals = map[string]string{"TABLE": "TABLES", "SEQUENCE": "SEQUENCES", "ROUTINE": "ROUTINES"}

// wholeSchemas takes from a bundle those objects that are all that their schemas have of what the word means (TABLE:
// views, too), by schema. What is made there after the observation gets the right as well: so it must be a wish for
// every object. A server that may refuse one of them would refuse all.
func (b *batch) wholeSchemas(word string, of *bundle) (whole [][]uint32, rest []uint32) {
	if !of.every || len(b.refused) > 0 || plurals[word] == "" {
		return nil, of.objects
	}
	if b.counts == nil {
		b.counts = b.p.state.counts()
	}
	bySchema := make(map[string][]uint32)
	for _, i := range of.objects {
		bySchema[b.objects[i].Schema] = append(bySchema[b.objects[i].Schema], i)
	}
	for _, schema := range slices.Sorted(maps.Keys(bySchema)) {
		list := bySchema[schema]
		if n := b.count(list); n > 1 && n == b.counts[allIn{word, schema}] {
			whole = append(whole, list)
		} else {
			rest = append(rest, list...)
		}
	}
	slices.Sort(rest)
	return whole, rest
}

// count tells how many objects these are, with those that they stand for.
func (b *batch) count(objects []uint32) int {
	n := len(objects)
	for _, i := range objects {
		n += b.objects[i].Others
	}
	return n
}

// allIn is all that a word of GRANT means in a schema: ON ALL TABLES IN SCHEMA s.
type allIn struct{ word, schema string }

// counts tells how many objects there are of what a word of GRANT means, in each schema.
func (s *State) counts() map[allIn]int {
	n := make(map[allIn]int)
	for kind, list := range s.Objects {
		for _, o := range list {
			n[allIn{kind.Info().Word, o.Schema}] += 1 + o.Others
		}
	}
	return n
}

func objectsKey(list []uint32) string {
	key := make([]byte, 0, 4*len(list))
	for _, i := range list {
		key = binary.LittleEndian.AppendUint32(key, i)
	}
	return string(key)
}

// compareGroups puts statements in the order in which they are made: what is taken from a schema, last, as whoever
// gave something in it must get at it to take that.
func compareGroups(a, b group) int {
	schema := func(g group) int {
		if g.step == Revoke && g.word == access.Schema.Info().Word {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(schema(a), schema(b)), cmp.Compare(a.level, b.level), cmp.Compare(a.as, b.as), cmp.Compare(a.lent, b.lent), cmp.Compare(a.door, b.door), cmp.Compare(a.loan.give, b.loan.give), cmp.Compare(a.way.give, b.way.give), cmp.Compare(a.word, b.word),
		cmp.Compare(a.privileges, b.privileges), cmp.Compare(fmt.Sprint(a.option, a.held), fmt.Sprint(b.option, b.held)),
		cmp.Compare(a.again.plain, b.again.plain), cmp.Compare(a.again.option, b.again.option),
		cmp.Compare(a.reason, b.reason), cmp.Compare(a.grantee, b.grantee))
}

// on is the part of a statement that names objects.
func (b *batch) on(g group, objects []uint32) string {
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = b.texts[o]
	}
	return " ON " + g.word + " " + strings.Join(names, ", ")
}

func (b *batch) schemasSQL(whole [][]uint32) string {
	names := make([]string, len(whole))
	for i, list := range whole {
		names[i] = scope.QuoteIdent(b.objects[list[0]].Schema)
	}
	return strings.Join(names, ", ")
}

// emit makes one statement, on what it says; to undo it the objects are named.
func (b *batch) emit(g group, on string, objects []uint32, grantees []scope.Cluster, from []access.Place) {
	who, named := idents(grantees), b.on(g, objects)
	with, only := "", ""
	if g.option {
		with = " WITH GRANT OPTION"
	}
	if g.held || g.step == Revoke && g.option {
		only = "GRANT OPTION FOR "
	}
	revoke := "REVOKE " + only + g.privileges + named + " FROM " + who
	var undo []string
	if g.step != Revoke {
		undo = append(undo, revoke)
	}
	undo = append(undo, g.again.grants(named, who)...)
	c := Change{
		Step: g.step, Subject: b.subject(objects), Places: from, Rights: b.count(objects) * len(grantees),
		Reason: fmt.Sprintf("%s of %s: %s", g.privileges, b.who(grantees), g.reason),
		SQL:    "GRANT " + g.privileges + on + " TO " + who + with, Undo: strings.Join(undo, "; "), lent: slices.Compact([]scope.Cluster{g.lent, g.door}),
	}
	if g.loan == (loanToGrantor{}) && c.Undo != "" { // else who gave it could not give it again
		c.Undo = g.way.give + acting(g.as, c.Undo) + g.way.end
	}
	if g.step == Revoke {
		c.SQL = g.way.give + g.loan.give + acting(g.as, revoke) + g.loan.end + g.way.end
	}
	b.p.change(c)
}

func (b *batch) subject(objects []uint32) string {
	first, n := b.objects[objects[0]], b.count(objects)
	if n == 1 {
		return first.String()
	}
	return fmt.Sprintf("%v and %d more", first, n-1)
}

func (b *batch) who(grantees []scope.Cluster) string {
	names := make([]string, 0, examples)
	for _, g := range grantees[:min(len(grantees), examples)] {
		names = append(names, b.p.name(g))
	}
	if more := len(grantees) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
