package rewrite

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/pgscope/pgscope-proxy/rewrite/charset"
	"github.com/pgscope/pgscope-proxy/scope"
)

// lens makes SQL that shows the roles of a cluster as one database sees them.
type lens struct {
	prefix     string // what the database's roles begin with
	lead, ours string // the same, and its marker's OID: SQL expressions
	behindLead string // the place behind lead, in characters as the server counts them
	inComments string // what tells this database's markers by their comments: an SQL expression
	path       string // the schemas whose roles are found by their names alone: an SQL expression
	marked     string // the schemas with roles: a relation pgscope_k of their markers m, leads l and names s; empty where there are none
	name, text kept   // the regular expression of lead at the beginning, in what the server keeps: of names, and of texts

	census                  *scope.Census // nil where it does not say what names mean
	others, schemas, guests string        // what it has of OIDs: SQL expressions for arrays; empty for none
}

// kept is an SQL expression that the server keeps, and the ways in which it writes it.
type kept struct {
	sql     string
	written []string
}

// maxMarked bounds the schemas whose roles are shown under their short names: each makes each reference longer.
const maxMarked = 256

func newLens(db scope.Database, census *scope.Census) lens {
	l := lens{
		prefix: db.Prefix + scope.Separator,
		lead:   scope.QuoteLiteral(db.Prefix + scope.Separator),
		marked: markedRelation(db.Marked),
		path:   pathSQL,

		inComments: scope.QuoteLiteral(db.InComments()),
	}
	l.name, l.text = keptLeads(db)
	l.behindLead = strconv.Itoa(len(l.prefix) + 1)
	if !charset.ASCII(l.prefix) {
		l.behindLead = l.sql("pg_catalog.length({lead}::pg_catalog.text) {+} 1")
	}
	if db.Enrolled && db.MarkerOID != 0 {
		l.ours = oidLiteral(db.MarkerOID)
	} else {
		l.ours = l.sql(markerSQL, "marker", scope.QuoteLiteral(db.Marker.Ident()))
	}
	if census != nil {
		l.others, l.schemas, l.guests = oidArray(census.Others), oidArray(census.Schemas), oidArray(census.Guests)
		if l.marked == "" && !census.Alike {
			l.census = census
		}
	}
	return l
}

// keptLeads returns the expressions for the beginning of the database's names, to compare names with, and texts.
func keptLeads(db scope.Database) (name, text kept) {
	if db.Prefix != db.Name || !plainPrefix.MatchString(db.Name) {
		expression := "^" + regexp.QuoteMeta(db.Prefix) + scope.Separator
		written := "'" + strings.ReplaceAll(expression, "'", "''") + "'::text" // never E'…', simple_quote_literal in ruleutils.c
		name = kept{scope.QuoteLiteral(expression), []string{written}}
		return name, name
	}
	// These hold when the database is renamed or copied. A name would give its collation to the text; jsonb has none.
	lead := func(database string) string { return "concat('^', " + database + ", '" + scope.Separator + "')" }
	const bare = "to_jsonb(current_database()) #>> '{}'::text[]"
	return kept{"pg_catalog." + lead("pg_catalog.current_database()"), []string{lead("current_database()")}},
		kept{
			"pg_catalog." + lead("pg_catalog.to_jsonb(pg_catalog.current_database()) OPERATOR(pg_catalog.#>>) '{}'"),
			[]string{lead(bare), lead("(" + bare + ")")},
		}
}

func oidLiteral(oid uint32) string {
	return "'" + strconv.FormatUint(uint64(oid), 10) + "'::pg_catalog.oid"
}

func oidArray(list string) string {
	if list == "" {
		return ""
	}
	return scope.QuoteLiteral(list) + "::pg_catalog.oid[]"
}

func markedRelation(list []scope.Schema) string {
	if len(list) == 0 {
		return ""
	}
	rows := make([]string, 0, len(list))
	for _, s := range list[:min(len(list), maxMarked)] {
		rows = append(rows, "("+scope.QuoteLiteral(s.Marker.Ident())+typeText+", "+
			scope.QuoteLiteral(s.Prefix+scope.Separator)+typeText+", "+scope.QuoteLiteral(s.Name)+typeText+")")
	}
	return "(VALUES " + strings.Join(rows, ", ") + ") pgscope_k (m, l, s)"
}

// plainPrefix are names that mean themselves in a regular expression.
var plainPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// sql fills a template in. What it is given is final.
func (l lens) sql(template string, pairs ...string) string {
	var b strings.Builder
	b.Grow(4 * len(template))
	for {
		before, rest, ok := strings.Cut(template, "{")
		key, after, _ := strings.Cut(rest, "}")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		b.WriteString(l.value(key, pairs))
		template = after
	}
}

// value is what stands for a key of a template.
func (l lens) value(key string, pairs []string) string {
	switch key {
	case "lead":
		return l.lead
	case "marked":
		return l.marked
	case "ours":
		return l.ours
	case "inComments":
		return l.inComments
	case "behindLead":
		return l.behindLead
	case "room":
		return strconv.Itoa(scope.MaxName - len(l.prefix))
	case "path":
		return l.path
	case "others":
		return l.sql(othersSQL)
	case "otherLead":
		return otherLead
	case "":
		return "{}"
	case "open":
		return "'{'"
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == key {
			return pairs[i+1]
		}
	}
	return "OPERATOR(pg_catalog." + key + ")"
}

var otherLead = scope.LeadSQL("pgscope_d.description")

func (l lens) oid(name string) string { return l.sql(oidSQL, "name", name) }

func (l lens) reserved(name string) string { return l.sql(reservedSQL, "name", name) }

// shown is the short name, a text, of the role with an OID and a name; NULL where it is not one of the database's.
func (l lens) shown(oid, name, member string) string {
	ofSchema := ""
	if l.marked != "" {
		ofSchema = l.sql(ofSchemaSQL, "oid", oid, "name", name)
	}
	return l.sql(shownSQL, "name", name, "member", member, "cut", l.sql(cutSQL, "name", name), "ofSchema", ofSchema)
}

// all is shown where it is asked for many roles.
func (l lens) all(name string, names namesOf) string { return l.in(l.allShown(names), name) }

// in is all with the short names at hand.
func (l lens) in(names, name string) string {
	return l.sql("CASE WHEN pg_catalog.starts_with({name}::pg_catalog.text, {lead}) THEN {names} {->>} ({name}::pg_catalog.text) END",
		"name", name, "names", names)
}

// namesOf says by which names an expression knows roles.
type namesOf int

const (
	ofFunctions namesOf = iota // those that pg_get_userbyid and its like return, and that access lists are written with
	ofSnapshot                 // those of pg_authid, as the statement sees it
)

func (l lens) allShown(of namesOf) string {
	names := functionNamesSQL
	if of == ofSnapshot {
		names = l.sql(snapshotNamesSQL)
	}
	members := l.sql(allMembersSQL, "names", names)
	if l.marked != "" {
		members += l.sql(allOfSchemasSQL, "names", names)
	}
	return l.sql(allShownSQL, "allMembers", members)
}

// one is shown for a single role.
func (l lens) one(oid, name string) string { return l.shown(oid, name, l.member(oid)) }

// member is whether a role of the database's prefix is a member of its marker.
func (l lens) member(oid string) string {
	if l.census != nil {
		return l.sql(isOwnSQL, "oid", oid)
	}
	return l.sql(memberSQL, "oid", oid)
}

// short is the short name of the role name, an expression of type name or text, as the given type.
func (l lens) short(name, typ string) string {
	return "COALESCE((" + l.one(l.oid(name), name) + ")" + typ + ", " + name + ")"
}

// shorts is short for the rows of a relation.
func (l lens) shorts(name, typ string, of namesOf) string {
	return "COALESCE((" + l.all(name, of) + ")" + typ + ", " + name + ")"
}

// rows is shorts where rowNames are at hand.
func (l lens) rows(name, typ string) string {
	return "COALESCE((" + l.in(rowNames, name) + ")" + typ + ", " + name + ")"
}

// twin is the OID of the database's role that a name means, NULL where it means none.
func (l lens) twin(name string) string {
	twin := l.sql(twinSQL, "namesake", l.sql(namesakeSQL, "name", name))
	if l.marked == "" {
		return twin
	}
	return "COALESCE(" + l.sql(schemaTwinSQL, "name", name, "twin", twin) + ", " + twin + ")"
}

// role is a row's role: expressions for its OID and its name.
type role struct{ oid, name string }

// visible is the condition of a row that is listed. Roles of the database are listed, and global ones unless a role of the
// database has their name; others only where they are referred to, so that every owner's OID can be resolved, as
// pg_dump must. What is cheap is told first, in an order that the planner keeps. Of an equality the planner expects one row
// in 200, of a condition one in two: too many, and what is done for each row is estimated so high that it is compiled.
func (l lens) visible(roles []role) string {
	hide := ""
	for _, r := range roles {
		unless := l.unlessGuest(r.oid)
		andIsOwn := "" // if the census knows of no other that has the prefix, nor of one with it twice
		if l.census == nil {
			andIsOwn = " AND " + l.member(r.oid) + " IS NOT NULL"
		}
		shadowed := l.sql(shadowedSQL, "name", r.name, "andIsOwn", andIsOwn, "namesakeIsOwn", l.member(l.sql(namesakeSQL, "name", r.name)))
		hide += " WHEN " + l.foreign(r.oid) + unless + " THEN 0 WHEN " + l.reserved(r.name) + " THEN 0 WHEN " + shadowed + unless + " THEN 0"
	}
	return "CASE" + hide + l.sql(" ELSE 1 END {=} 1")
}

// unlessGuest goes on with a condition by which a role is hidden: not those that the census
// knows to be listed all the same.
func (l lens) unlessGuest(oid string) string {
	if l.guests == "" {
		return ""
	}
	return " AND NOT " + oid + l.sql(" {=} ANY (") + l.guests + ")"
}

// foreign is the condition of a role in a row that is a member of another database's marker.
func (l lens) foreign(oid string) string {
	known, notSchemas := "", ""
	if l.others != "" {
		known = l.sql("pgscope_f.roleid {=} ANY (") + l.others + ") OR "
	}
	if l.schemas != "" {
		notSchemas = l.sql(" AND NOT pgscope_f.roleid {=} ANY (") + l.schemas + ")"
	}
	return oid + l.sql(" {=} ANY "+foreignersSQL, "known", known, "notSchemas", notSchemas)
}

func (l lens) hidden(name string) string {
	oid := l.oid(name)
	return l.sql(hiddenSQL, "reserved", l.reserved(name), "shown", l.one(oid, name), "foreign", l.sql(foreignSQL, "oid", oid, "name", name))
}
