package rewrite

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pgscope/pgscope-proxy/rewrite/charset"
	"github.com/pgscope/pgscope-proxy/scope"
)

// This file has the SQL that stands in for a reference. It runs in the client's session with the client's search_path, so
// every name and operator in it is qualified; what it names of its own begins with pgscope_, which no client's
// name should. It reads what every role may read. On one line, for positions and logs.

// missing begins the name of a role that cannot exist: the server says of it, in its own words and with its own
// SQLSTATE, that it does not, and [Localizer] takes the beginning off.
const missing = scope.Reserved + "missing_"

// Parts of the SQL. In braces: {lead} what the database's roles begin with, {marker} its marker's OID; {kin} the
// schemas with roles, as a relation; {name} and {oid} expressions for a role; {=} and the like are operators.
//
// Lists of roles are long and their planner's statistics are young: what tells of each role whose it is, is a set that is
// made once (IN), at the first role that it is needed for. Of single names it is looked up (EXISTS).
const (
	// oidSQL is the OID of the role {name}, NULL where there is none.
	oidSQL = `pg_catalog.to_regrole(pg_catalog.quote_ident({name}::pg_catalog.text))::pg_catalog.oid`

	// markerSQL is the OID of the database's marker where it is not known, looked up once for a query; 0 for none. Of pg_auth_members
	// the planner always expects few rows (its statistics are those of the relation cache's file), so that it may read all of them where
	// an index would serve: then it is this that makes a row cheap.
	markerSQL = `(SELECT COALESCE(pg_catalog.to_regrole({marker})::pg_catalog.oid, 0::pg_catalog.oid))`

	// shownSQL is the name that the database has for one of its roles, NULL for all others. It is the rule of scope.View: a
	// member of the marker, with the prefix.
	shownSQL = `CASE WHEN pg_catalog.starts_with({name}::pg_catalog.text, {lead}) THEN CASE WHEN {member} THEN {cut}{ofKin} END END`
	cutSQL   = `pg_catalog.substr({name}::pg_catalog.text, {behindLead})`

	// memberSQL looks one role up among the members of the database's marker.
	memberSQL = `(SELECT true FROM pg_catalog.pg_auth_members pgscope_m` +
		` WHERE pgscope_m.roleid {=} {ours} AND pgscope_m.member {=} {oid} LIMIT 1)`

	// allShownSQL has the short names of all roles of the database, by their names: for expressions that stand in many rows. A role
	// that is renamed or dropped meanwhile has one name for the statement's snapshot and another, or none, for the server's functions, so
	// {names} are those by which the expressions know roles.
	allShownSQL = `COALESCE((SELECT pg_catalog.jsonb_object_agg(pgscope_a.n, pg_catalog.concat(pgscope_a.s, pg_catalog.right(pgscope_a.n,` +
		` pg_catalog.length(pgscope_a.l) {*} -1))) FROM ({allMembers}) pgscope_a (n, l, s)` +
		` WHERE pg_catalog.starts_with(pgscope_a.n, pgscope_a.l)), '{}'::pg_catalog.jsonb)`
	allMembersSQL = `SELECT pgscope_n.n, {lead}::pg_catalog.text, ''::pg_catalog.text` +
		` FROM pg_catalog.pg_auth_members pgscope_m{names} WHERE pgscope_m.roleid {=} {ours}`
	allOfKinSQL = ` UNION ALL SELECT pgscope_n.n, pgscope_k.l, pgscope_k.s {||} '.' FROM {kin}` +
		` JOIN pg_catalog.pg_auth_members pgscope_m ON pgscope_m.roleid {=} pg_catalog.to_regrole(pgscope_k.m)::pg_catalog.oid{names}`
	functionNamesSQL = ` CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_userbyid(pgscope_m.member)::pg_catalog.text) pgscope_n (n)`
	snapshotNamesSQL = ` JOIN pg_catalog.pg_roles pgscope_g ON pgscope_g.oid {=} pgscope_m.member` +
		` CROSS JOIN LATERAL (SELECT pgscope_g.rolname::pg_catalog.text) pgscope_n (n)`

	// singleSQL is the short name of a role in a row, where the database has no roles of schemas.
	singleSQL = `CASE WHEN pg_catalog.starts_with({name}::pg_catalog.text, {lead}) AND {key} {=} ANY (SELECT {member}` +
		` FROM pg_catalog.pg_auth_members pgscope_m{names} WHERE pgscope_m.roleid {=} {ours}) THEN ({cut}){type} ELSE {name} END`

	// ofKinSQL is the name of a role of a schema.
	ofKinSQL = ` ELSE (SELECT pgscope_k.s {||} '.' {||} pg_catalog.right({name}::pg_catalog.text, pg_catalog.length(pgscope_k.l) {*} -1)` +
		` FROM {kin} WHERE pg_catalog.starts_with({name}::pg_catalog.text, pgscope_k.l) AND EXISTS (` +
		`SELECT FROM pg_catalog.pg_auth_members pgscope_m WHERE pgscope_m.roleid {=} pg_catalog.to_regrole(pgscope_k.m)::pg_catalog.oid` +
		` AND pgscope_m.member {=} {oid}) LIMIT 1)`

	// othersSQL are the conditions of a marker pgscope_d of another database or its schemas. Roles of this database are told
	// before the roles of others are looked at.
	othersSQL = `pgscope_d.classoid {=} 1260::pg_catalog.oid` +
		` AND pg_catalog.starts_with(pg_catalog.pg_get_userbyid(pgscope_d.objoid)::pg_catalog.text, 'pgscope_')` +
		` AND pg_catalog.strpos(pgscope_d.description, {inComments}) {=} 0`

	// foreignSQL: the role belongs to another database, by a marker that is not this one's and the prefix in its comment.
	foreignSQL = `EXISTS (SELECT FROM pg_catalog.pg_auth_members pgscope_m JOIN pg_catalog.pg_shdescription pgscope_d` +
		` ON pgscope_d.objoid {=} pgscope_m.roleid WHERE pgscope_m.member {=} (SELECT {oid}) AND {others}` +
		` AND pg_catalog.starts_with({name}::pg_catalog.text, {otherLead}))`

	// foreignersSQL are the members of other databases' markers, the known ones and those that have come since: by OIDs, which no
	// snapshot has otherwise. Who is among them, and not theirs, the census tells.
	foreignersSQL = `(SELECT pgscope_f.member FROM pg_catalog.pg_auth_members pgscope_f WHERE {known}pgscope_f.roleid {<>} {ours}{notKin}` +
		` AND pg_catalog.starts_with(pg_catalog.pg_get_userbyid(pgscope_f.roleid)::pg_catalog.text, 'pgscope_'))`

	// twinSQL is the OID of the database's role that is called {name} there, NULL where there is none.
	twinSQL = `(SELECT pgscope_m.member FROM pg_catalog.pg_auth_members pgscope_m` +
		` WHERE pgscope_m.roleid {=} {ours} AND pgscope_m.member {=} {namesake} LIMIT 1)`

	// namesakeSQL is the OID of the role with the prefix and {name}. A name that is too long would be cut, and be another's.
	namesakeSQL = `pg_catalog.to_regrole(CASE WHEN pg_catalog.octet_length({name}::pg_catalog.text) {<=} {room}` +
		` THEN pg_catalog.quote_ident({lead} {||} {name}::pg_catalog.text) END)::pg_catalog.oid`

	// kinTwinSQL is the OID of the role of a schema that {name} means: by itself along the search_path, or with the schema
	// before it, unless the database has a role of that name.
	kinTwinSQL = `(SELECT pgscope_m.member FROM {kin} CROSS JOIN LATERAL (VALUES` +
		` (CASE WHEN pgscope_k.s COLLATE pg_catalog."C" {=} ANY ({path}) THEN {name}::pg_catalog.text END),` +
		` (CASE WHEN pg_catalog.starts_with({name}::pg_catalog.text, pgscope_k.s {||} '.') AND {twin} IS NULL` +
		` THEN pg_catalog.substr({name}::pg_catalog.text, pg_catalog.length(pgscope_k.s) {+} 2) END)) pgscope_c (n)` +
		` JOIN pg_catalog.pg_auth_members pgscope_m ON pgscope_m.roleid {=} pg_catalog.to_regrole(pgscope_k.m)::pg_catalog.oid` +
		` AND pgscope_m.member {=} pg_catalog.to_regrole(CASE WHEN pg_catalog.octet_length(pgscope_k.l {||} pgscope_c.n) {<=} 63` +
		` THEN pg_catalog.quote_ident(pgscope_k.l {||} pgscope_c.n) END)::pg_catalog.oid` +
		` ORDER BY pg_catalog.array_position({path}, pgscope_k.s COLLATE pg_catalog."C") LIMIT 1)`
	pathSQL = `pg_catalog.current_schemas(false)::pg_catalog.text[]`

	reservedSQL = `pg_catalog.starts_with({name}::pg_catalog.text, 'pgscope_')`

	// settingsTextSQL does that in the text of the array.
	settingsTextSQL = `pg_catalog.replace(pg_catalog.replace(pg_catalog.replace({settings}::pg_catalog.text, {opened}, {openRole}),` +
		` {next}, ',role='), {quoted}, '"role=')::pg_catalog.text[]`

	// shadowedSQL: the role, which is none of the database's, has the name of one.
	shadowedSQL = `NOT (pg_catalog.starts_with({name}::pg_catalog.text, {lead}){andIsOwn}) AND {namesakeIsOwn}`

	// settingsSQL has the short name for that of the role that is one of {settings}, if one is.
	settingsSQL    = `pg_catalog.array_replace({settings}, 'role=' {||} {role}, 'role=' {||} {short})`
	settingRoleSQL = `pg_catalog.substring(pg_catalog.array_to_string({settings}, E'\x01'), E'(?:^|\\x01)role=([^\\x01]*)')`

	// aclShownSQL has the short names of {names} as an access list has them, by the names as it has them. putid (acl.c)
	// quotes them; which letters beyond ASCII want quotes depends on the server, so the longer name's quotes tell.
	aclShownSQL = `(SELECT COALESCE(pg_catalog.jsonb_object_agg(pgscope_k.k, CASE WHEN pgscope_a.n {~} pgscope_k.odd` +
		` THEN '"' {||} pg_catalog.replace(pgscope_a.n, '"', '""') {||} '"' ELSE pgscope_a.n END), '{}'::pg_catalog.jsonb)` +
		` FROM ROWS FROM (pg_catalog.jsonb_each_text({names})) pgscope_a (c, n), LATERAL (VALUES (pgscope_a.c, {oddASCII}),` +
		` ('"' {||} pg_catalog.replace(pgscope_a.c, '"', '""') {||} '"', {odd})) pgscope_k (k, odd))`

	// isOwnSQL: the role {oid} is one of the database's, if there is one and it has the name of one. Nothing has to be planned for
	// pg_has_role, which takes superusers, and members of members, for members too: where there are such, the census says it.
	isOwnSQL = `pg_catalog.pg_has_role({oid}, {ours}, 'MEMBER')`

	// aclTextSQL is {text}, that of an access list, in short names. In it a name stands behind one of four characters, and where
	// they stand in names themselves with {lead} behind them, the census says it.
	aclTextSQL = `pg_catalog.replace(pg_catalog.replace(pg_catalog.replace(pg_catalog.replace({text}, {opened}, {open}), {next}, ','), {by}, '/'), {quoted}, '"')`

	// aclTextsSQL is aclTextSQL of the list pgscope_x.x, {short}, without the items of markers: behind a comma, or as the first.
	aclTextsSQL = `(CASE WHEN pg_catalog.strpos(pgscope_x.x, 'pgscope_') {=} 0 THEN {short}` +
		` ELSE pg_catalog.regexp_replace(pg_catalog.regexp_replace({short}, {followed}, '', 'g'), {first}, {open}) END)::pg_catalog.text[]`

	// hiddenSQL: {name} is a role of the cluster, but no name of the database.
	hiddenSQL = `({reserved} OR ({shown}) IS NOT NULL OR {foreign})`
)

// lens shows the roles of a cluster as one database sees them.
type lens struct {
	prefix     string // what the database's roles begin with
	lead, ours string // the same, and its marker's OID: SQL expressions
	behindLead string // the place behind lead, in characters as the server counts them
	inComments string // what tells this database's markers by their comments: an SQL expression
	kin        string // the schemas with roles: a relation pgscope_k of their markers m, leads l and names s; empty where there are none
	pattern    string // an SQL expression: the regular expression of lead at the beginning, in what the server keeps
	deparsed   string // the same as the server writes it

	census                *scope.Census // nil where it does not say what names mean
	others, ofKin, guests string        // what it has of OIDs: SQL expressions for arrays; empty for none
}

// maxKin bounds the schemas whose roles are shown under their short names: each makes each reference longer.
const maxKin = 256

func newLens(db scope.Database, census *scope.Census) lens {
	expression := "^" + regexp.QuoteMeta(db.Prefix) + scope.Separator
	pattern := scope.QuoteLiteral(expression)
	deparsed := "'" + strings.ReplaceAll(expression, "'", "''") + "'::text" // never E'…', simple_quote_literal in ruleutils.c
	if db.Prefix == db.Name && plainPrefix.MatchString(db.Name) {           // then it holds when the database is renamed or copied
		pattern = "pg_catalog.concat('^', pg_catalog.current_database(), '" + scope.Separator + "')"
		deparsed = strings.ReplaceAll(pattern, "pg_catalog.", "")
	}
	l := lens{
		pattern: pattern, deparsed: deparsed,
		prefix: db.Prefix + scope.Separator,
		lead:   scope.QuoteLiteral(db.Prefix + scope.Separator),
		kin:    kinRelation(db.Kin),

		inComments: scope.QuoteLiteral(db.InComments()),
	}
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
		l.others, l.ofKin, l.guests = oidArray(census.Others), oidArray(census.Kin), oidArray(census.Guests)
		if l.kin == "" && !census.Alike {
			l.census = census
		}
	}
	return l
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

func kinRelation(list []scope.Schema) string {
	if len(list) == 0 {
		return ""
	}
	rows := make([]string, 0, len(list))
	for _, s := range list[:min(len(list), maxKin)] {
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
	case "kin":
		return l.kin
	case "ours":
		return l.ours
	case "inComments":
		return l.inComments
	case "behindLead":
		return l.behindLead
	case "room":
		return strconv.Itoa(scope.MaxName - len(l.prefix))
	case "path":
		return pathSQL
	case "others":
		return l.sql(othersSQL)
	case "otherLead":
		return otherLead
	case "":
		return "{}"
	case "open":
		return "'{'"
	case "openRole":
		return "'{role='"
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == key {
			return pairs[i+1]
		}
	}
	return "OPERATOR(pg_catalog." + key + ")"
}

var otherLead = scope.LeadSQL("pgscope_d.description")

func (l lens) oid(name string) string      { return l.sql(oidSQL, "name", name) }
func (l lens) reserved(name string) string { return l.sql(reservedSQL, "name", name) }

// shown is the short name, a text, of the role with an OID and a name; NULL where it is not one of the database's.
func (l lens) shown(oid, name, member string) string {
	ofKin := ""
	if l.kin != "" {
		ofKin = l.sql(ofKinSQL, "oid", oid, "name", name)
	}
	return l.sql(shownSQL, "name", name, "member", member, "cut", l.sql(cutSQL, "name", name), "ofKin", ofKin)
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
	if l.kin != "" {
		members += l.sql(allOfKinSQL, "names", names)
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
	if l.kin == "" {
		return twin
	}
	return "COALESCE(" + l.sql(kinTwinSQL, "name", name, "twin", twin) + ", " + twin + ")"
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

// unlessGuest goes on with a condition by which a role is hidden: not those that the census knows to be listed all the same.
func (l lens) unlessGuest(oid string) string {
	if l.guests == "" {
		return ""
	}
	return " AND NOT " + oid + l.sql(" {=} ANY (") + l.guests + ")"
}

// foreign is the condition of a role in a row that is a member of another database's marker.
func (l lens) foreign(oid string) string {
	known, notKin := "", ""
	if l.others != "" {
		known = l.sql("pgscope_f.roleid {=} ANY (") + l.others + ") OR "
	}
	if l.ofKin != "" {
		notKin = l.sql(" AND NOT pgscope_f.roleid {=} ANY (") + l.ofKin + ")"
	}
	return oid + l.sql(" {=} ANY "+foreignersSQL, "known", known, "notKin", notKin)
}

func (l lens) hidden(name string) string {
	oid := l.oid(name)
	return l.sql(hiddenSQL, "reserved", l.reserved(name), "shown", l.one(oid, name), "foreign", l.sql(foreignSQL, "oid", oid, "name", name))
}

const (
	typeName = "::pg_catalog.name"
	typeText = "::pg_catalog.text"

	typeIdentifier = "::information_schema.sql_identifier"
)

// rowNames is what the relation's subselect has beside each row: what the database's roles are called, by their names.
const rowNames = "pgscope_o.o"

// relation returns the subselect that stands in for a relation: the same columns, in short names.
func (l lens) relation(name string, columns []string) string {
	const row = "pgscope_r."
	rel := relations[name]
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = row + scope.QuoteIdent(c)
		if mapped := l.single(rel, rel.columns[c], list[i]); mapped != "" {
			list[i] = mapped + " AS " + scope.QuoteIdent(c)
		} else if mapped := l.column(rel.columns[c], list[i]); mapped != "" {
			list[i] = mapped + " AS " + scope.QuoteIdent(c)
		}
	}
	shown, where := strings.Join(list, ", "), ""
	var roles []role
	for _, c := range rel.roles {
		var r role
		if c.oid != "" {
			r.oid = row + scope.QuoteIdent(c.oid)
			r.name = "pg_catalog.pg_get_userbyid(" + r.oid + ")"
		}
		if c.name != "" {
			r.name = row + scope.QuoteIdent(c.name)
		}
		if c.oid == "" {
			r.oid = l.oid(r.name)
		}
		roles = append(roles, r)
	}
	if roles != nil {
		where = " WHERE " + l.visible(roles)
	}
	beside := ""
	if strings.Contains(shown+where, rowNames) {
		beside = l.beside(rel.names)
	}
	schema, table := cutSchema(name)
	return "(SELECT " + shown + " FROM " + scope.QuoteIdent(schema) + "." + scope.QuoteIdent(table) + " pgscope_r" + beside + where + ")"
}

// beside is the item of a FROM list that has [rowNames]. OFFSET keeps the planner from making them anew for each use.
func (l lens) beside(of namesOf) string {
	return ", (SELECT " + l.allShown(of) + " AS o OFFSET 0) pgscope_o"
}

// single returns the expression for the one name of a relation; empty where there are more, which share what the
// query makes of all the database's roles. Of one, a set of them is cheaper to plan.
func (l lens) single(rel shownRelation, kind column, ref string) string {
	names := 0
	for _, k := range rel.columns {
		if k != definitionColumn && k != settingsColumn {
			names++
		}
	}
	if names != 1 || l.kin != "" || kind != nameColumn && kind != identifierColumn {
		return ""
	}
	typ, key, member, from := typeName, ref+typeText, "pgscope_n.n", functionNamesSQL
	if kind == identifierColumn {
		typ = typeIdentifier
	}
	switch {
	case rel.oid != "":
		key, member, from = "pgscope_r."+scope.QuoteIdent(rel.oid), "pgscope_m.member", ""
	case rel.names == ofSnapshot:
		from = l.sql(snapshotNamesSQL)
	}
	return l.sql(singleSQL, "name", ref, "type", typ, "key", key, "member", member, "names", from, "cut", l.sql(cutSQL, "name", ref))
}

// column returns the expression for a column, empty where it stays as it is.
func (l lens) column(kind column, ref string) string {
	switch kind {
	case nameColumn:
		return l.rows(ref, typeName)
	case identifierColumn:
		return l.rows(ref, typeIdentifier)
	case namesColumn:
		return "CASE WHEN " + ref + " IS NULL THEN NULL ELSE ARRAY(SELECT " + l.rows("pgscope_u.n", typeName) +
			" FROM ROWS FROM (pg_catalog.unnest(" + ref + ")) WITH ORDINALITY pgscope_u (n, i) ORDER BY pgscope_u.i) END"
	case settingsColumn:
		if l.spells() {
			return l.sql(settingsTextSQL, "settings", ref, "opened", l.behind("{role="), "next", l.behind(",role="), "quoted", l.behind(`"role=`))
		}
		role := l.sql(settingRoleSQL, "settings", ref)
		return l.sql(settingsSQL, "settings", ref, "role", role, "short", l.short(role, typeText))
	case definitionColumn:
		return l.definition(ref)
	case characterColumn:
		return l.definition(ref) + "::information_schema.character_data"
	default:
		return ""
	}
}

// form is what stands in for an expression x of the client's.
type form int

const (
	asItIs             form = iota // nothing
	subselect                      // a relation: its subselect
	fixed                          // other text
	shortName                      // x is a role's name: its short name
	shortNames                     // the same, of many rows
	shortText                      // the same of one, as text
	clusterOID                     // x names a role of the database, or is an OID: the OID; public is nobody's
	clusterMember                  // the same, where public is a name like any other
	clusterRegrole                 // x names one as regrole's input does, or is an OID: the regrole
	clusterRegroleSoft             // the same, NULL where there is none
	clusterText                    // x names one: the cluster's name
	regroleText                    // x is a regrole: its text
	aclTexts                       // x is an aclitem[]: text[]
	aclText                        // x is an aclitem: its text
	aclSet                         // x is a set of aclitems
	storedName                     // x is CURRENT_USER or its like, and kept by the server: its short name, without a subquery
	definition                     // x is a text with what was kept so: as the client wrote it
)

const (
	argument     = "pgscope_x.x" // the client's expression
	argumentName = "pgscope_n.n" // the name in it

	concat = " OPERATOR(pg_catalog.||) "

	// nameOfText reads a name as regrole's input does (stringToQualifiedNameList, regproc.c).
	nameOfText = `CASE WHEN pgscope_x.x::pg_catalog.text {~} '^[[:space:]]*".*"[[:space:]]*$' THEN pg_catalog.replace(pg_catalog.substr(` +
		`pg_catalog.btrim(pgscope_x.x::pg_catalog.text), 2, pg_catalog.length(pg_catalog.btrim(pgscope_x.x::pg_catalog.text)) ` +
		`OPERATOR(pg_catalog.-) 2), '""', '"') ELSE pg_catalog.lower(pg_catalog.btrim(pgscope_x.x::pg_catalog.text) COLLATE pg_catalog."C") END`

	// kinNameOfText reads a name with a schema.
	kinNameOfText = `CASE WHEN pgscope_x.x::pg_catalog.text {~} ` +
		`'^[[:space:]]*("([^"]|"")+"|[[:alpha:]_][[:alnum:]_$]*)[.]("([^"]|"")+"|[[:alpha:]_][[:alnum:]_$]*)[[:space:]]*$' ` +
		`THEN pg_catalog.array_to_string(pg_catalog.parse_ident(pgscope_x.x::pg_catalog.text), '.') ELSE ` + nameOfText + ` END`

	// notNameOfText: OIDs, "-", and what is no name.
	notNameOfText = `(pgscope_x.x::pg_catalog.text {~} '^[[:space:]]*([0-9]+|-)[[:space:]]*$' OR ` +
		`pgscope_o.own IS NULL AND pgscope_x.x::pg_catalog.text {~} '^[^"]*[.]')`

	// isOID: x is a number or a regrole; names may be of any type, of a domain too.
	isOID = `pg_catalog.pg_typeof(pgscope_x.x)::pg_catalog.oid {=} ANY (ARRAY[20, 21, 23, 26, 4096]::pg_catalog.oid[])`

	// aclPattern cuts an aclitem's text into grantee, privileges and grantor (aclitemout, acl.c).
	aclPattern = `^("(?:[^"]|"")*"|[^"=]*)(=[^/]*/)(.*)$`
)

// wrap returns what goes before and behind an expression to show it in the given form. as is the result's column name.
func (l lens) wrap(f form, as string) (before, after string) {
	from := " AS " + scope.QuoteIdent(as) + " FROM (SELECT "
	switch f {
	case shortName:
		return "(SELECT " + l.short(argument, typeName) + from, " AS x) pgscope_x)"
	case shortNames:
		return "(SELECT " + l.shorts(argument, typeName, ofFunctions) + from, " AS x) pgscope_x)"
	case shortText:
		return "(SELECT " + l.short(argument, typeText) + from, " AS x) pgscope_x)"
	case storedName:
		return "(pg_catalog.regexp_replace(", typeText + ", " + l.pattern + ", '')" + typeName + ")"
	case definition:
		return "(SELECT " + l.definition(argument) + from, " AS x) pgscope_x)"
	case regroleText:
		name := "pg_catalog.pg_get_userbyid(" + argument + ")"
		return "(SELECT COALESCE(pg_catalog.quote_ident(" + l.all(name, ofFunctions) + "), " + argument + typeText + ")" +
			from, " AS x) pgscope_x)"
	case aclTexts:
		if l.spells() {
			return "(SELECT " + l.sql(aclTextsSQL, "short", l.aclText("pgscope_x.x"), "followed", markerFollowing, "first", markerFirst) + from + "(",
				")" + typeText + " AS x OFFSET 0) pgscope_x)"
		}
		return "(SELECT CASE WHEN " + l.without(argument) + " THEN pgscope_x.x::pg_catalog.text::pg_catalog.text[] ELSE ARRAY(SELECT " +
			aclItem + " FROM (SELECT " + aclParts + " AS m, pgscope_t.i FROM (SELECT pgscope_u.x::pg_catalog.text AS x, pgscope_u.i" +
			" FROM ROWS FROM (pg_catalog.unnest(pgscope_x.x)) WITH ORDINALITY pgscope_u (x, i) OFFSET 0) pgscope_t OFFSET 0) pgscope_i" +
			l.besideItems() + " WHERE " + notMarkers + " ORDER BY pgscope_i.i) END" + from, " AS x) pgscope_x)"
	case aclText:
		if l.spells() {
			return "(SELECT pg_catalog.substr(" + l.aclText("','"+concat+argument+typeText) + ", 2)" + from, " AS x) pgscope_x)"
		}
		return "(SELECT " + aclItem + from, " AS x) pgscope_x, LATERAL (SELECT " + aclParts + " AS m" +
			" FROM (SELECT pgscope_x.x::pg_catalog.text AS x OFFSET 0) pgscope_t OFFSET 0) pgscope_i" + l.besideItems() + ")"
	default:
		name, result := l.lookup(f)
		return "(SELECT " + result + from, " AS x) pgscope_x, LATERAL (SELECT " + name + " AS n) pgscope_n, LATERAL (SELECT " +
			l.twin(argumentName) + " AS own OFFSET 0) pgscope_o)"
	}
}

// definition takes from a text what storedName has put into the expression that it is of: as pg_get_expr and its like
// write it (ruleutils.c), with all parentheses or with few.
func (l lens) definition(text string) string {
	return "pg_catalog.regexp_replace(" + text + ", " + scope.QuoteLiteral(keptPattern(regexp.QuoteMeta(l.deparsed))) +
		", " + scope.QuoteLiteral(`\1\2`) + ", 'g')"
}

// keptPattern finds what storedName has made of a key word, which is one of two groups; lead finds [lens.deparsed].
func keptPattern(lead string) string {
	const words = `(CURRENT_USER|CURRENT_ROLE|SESSION_USER|USER)`
	kept := ", " + lead + ", ''::text"
	return `\(regexp_replace\(\(` + words + `\)::text` + kept + `\)\)::name|regexp_replace\(` + words + `::text` + kept + `\)::name`
}

// lookup returns how the client's expression is read as a name, and the expression of the role that it means.
func (l lens) lookup(f form) (name, result string) {
	strict := func(s string) string { return "pg_catalog.quote_ident(" + s + ")::pg_catalog.regrole" }
	nobody := scope.QuoteLiteral(missing) + concat + argumentName + typeText
	name = argument + typeText + typeName
	missed, plain := strict(nobody), strict(argumentName+typeText)
	first, typ := "", "::pg_catalog.regrole"
	switch f {
	case clusterText:
		return argument + typeText, "CASE WHEN pgscope_o.own IS NOT NULL THEN pg_catalog.pg_get_userbyid(pgscope_o.own)" + typeText +
			" WHEN " + l.hidden(argumentName) + " THEN " + nobody + " ELSE " + argumentName + " END"
	case clusterRegrole:
		name = l.nameOfText()
		first = l.sql("WHEN " + isOID + " OR " + notNameOfText + " THEN pgscope_x.x::pg_catalog.text::pg_catalog.regrole ")
	case clusterRegroleSoft:
		name = l.nameOfText()
		first = l.sql("WHEN " + notNameOfText + " THEN pg_catalog.to_regrole(pgscope_x.x::pg_catalog.text) ")
		missed, plain = "NULL", "pg_catalog.to_regrole(pg_catalog.quote_ident("+argumentName+typeText+"))"
	default:
		first = l.sql("WHEN " + isOID + " THEN pgscope_x.x::pg_catalog.text::pg_catalog.regrole ")
		if f == clusterOID {
			first += l.sql("WHEN pgscope_n.n {=} 'public' THEN 0::pg_catalog.oid::pg_catalog.regrole ")
		}
		typ = "::pg_catalog.oid"
	}
	return name, "(CASE " + first + "WHEN pgscope_o.own IS NOT NULL THEN pgscope_o.own::pg_catalog.regrole" +
		" WHEN " + l.hidden(argumentName) + " THEN " + missed + " ELSE " + plain + " END)" + typ
}

func (l lens) nameOfText() string {
	if l.kin == "" {
		return "(" + l.sql(nameOfText) + ")" + typeName
	}
	return "(" + l.sql(kinNameOfText) + ")" + typeName
}

// without tells in advance that no name in an access list is to be mapped, as in most of a server's own. NULL is without.
func (l lens) without(list string) string {
	if strings.ContainsAny(l.lead, `"\`) { // which are written otherwise in a list
		return list + " IS NULL"
	}
	found := func(s string) string {
		return "pg_catalog.strpos(" + list + "::pg_catalog.text, " + s + ") OPERATOR(pg_catalog.>) 0"
	}
	return "(" + found(l.lead) + " OR " + found("'"+scope.Reserved+"'") + ") IS NOT TRUE"
}

// spells reports whether the text of an access list, or of settings, can be read as it is: whether the beginning of the database's names is all of letters that
// want no quotes, and nobody else has it.
func (l lens) spells() bool { return l.census != nil && plainLead.MatchString(l.prefix) }

var plainLead = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

func (l lens) aclText(text string) string {
	return l.sql(aclTextSQL, "text", text, "opened", l.behind("{"), "next", l.behind(","), "by", l.behind("/"), "quoted", l.behind(`"`))
}

// behind is what the database's names begin with, behind another text, as a literal.
func (l lens) behind(text string) string { return scope.QuoteLiteral(text + l.prefix) }

// An item of a marker in the text of an access list: with quotes, if its name or the grantor's wants them, or without.
const markerItem = `(?:pgscope_[^",{}]*|"(?:\\")?pgscope_(?:[^"\\]|\\.)*")`

var (
	markerFollowing = scope.QuoteLiteral("," + markerItem + "(?=[,}])")
	markerFirst     = scope.QuoteLiteral("^[{]" + markerItem + "(?:,|(?=[}]))")
)

// aclParts cuts the text of an item into grantee, privileges and grantor. Names without quotes have no '=' and no '/'.
var aclParts = "CASE WHEN pg_catalog.strpos(pgscope_t.x, '\"') OPERATOR(pg_catalog.=) 0 THEN ARRAY[pg_catalog.split_part(pgscope_t.x, '=', 1), '='" + concat +
	"pg_catalog.split_part(pg_catalog.split_part(pgscope_t.x, '=', 2), '/', 1)" + concat + "'/', pg_catalog.split_part(pgscope_t.x, '/', 2)]" +
	" ELSE pg_catalog.regexp_match(pgscope_t.x, " + scope.QuoteLiteral(aclPattern) + ") END"

// aclItem is the text of an access list's item with short names; pgscope_i.m are its parts.
const aclItem = "COALESCE(pgscope_o.o OPERATOR(pg_catalog.->>) pgscope_i.m[1], pgscope_i.m[1])" + concat + "pgscope_i.m[2]" + concat +
	"COALESCE(pgscope_o.o OPERATOR(pg_catalog.->>) pgscope_i.m[3], pgscope_i.m[3])"

// notMarkers are the items that do not say what a marker may: what is granted to all roles of a database is not said to them.
const notMarkers = "pg_catalog.starts_with(pg_catalog.ltrim(pgscope_i.m[1], '\"'), '" + scope.Reserved + "') IS NOT TRUE"

// besideItems is beside with the names as access lists have them.
func (l lens) besideItems() string {
	return ", (SELECT " + l.sql(aclShownSQL, "names", l.allShown(ofFunctions), "oddASCII", scope.QuoteLiteral(`[\x01-/:-@[-^\x60{-\x7f]`),
		"odd", scope.QuoteLiteral(`[^0-9A-Za-z_]`)) + " AS o OFFSET 0) pgscope_o"
}

// roleMap is wrap for expressions that may not stand in a subquery, those with sets: it looks them up in an object of
// what all roles of the cluster are called here, by name or by OID, which is made once for the query.
func (l lens) roleMap(f form) (before, after string) {
	key, value, nobody := "pgscope_a.oid", "pg_catalog.quote_ident(pgscope_s.n::pg_catalog.text)", `{"0":"-"}`
	asKey, typ := "::pg_catalog.oid::pg_catalog.text", ""
	if f == shortName || f == shortNames {
		key, value, nobody = "pgscope_a.rolname", "pgscope_s.n", `{"unknown (OID=0)":"unknown (OID=0)"}`
		asKey, typ = typeText, typeName
	}
	return "((SELECT pg_catalog.jsonb_object_agg(" + key + ", " + value + ")" + concat + scope.QuoteLiteral(nobody) +
			"::pg_catalog.jsonb FROM pg_catalog.pg_roles pgscope_a, LATERAL (SELECT " + l.shorts("pgscope_a.rolname", typeName, ofSnapshot) +
			" AS n) pgscope_s) OPERATOR(pg_catalog.->>) (",
		")" + asKey + ")" + typ
}

// cutSchema splits the key of a relation.
func cutSchema(name string) (schema, table string) {
	schema, table, _ = strings.Cut(name, ".")
	return schema, table
}

// ColumnsSQL asks for the columns of the catalogs' relations with role names; the rows are for [ReadColumns].
func ColumnsSQL() (sql string, params []string) {
	names := slices.Sorted(maps.Keys(relations))
	return `SELECT pgscope_n.n, pgscope_a.attname::pg_catalog.text` +
			` FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[])) pgscope_n (n)` +
			` JOIN pg_catalog.pg_attribute pgscope_a ON pgscope_a.attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(pgscope_n.n)::pg_catalog.oid` +
			` WHERE pgscope_a.attnum OPERATOR(pg_catalog.>) 0 AND NOT pgscope_a.attisdropped` +
			` ORDER BY pgscope_a.attrelid USING OPERATOR(pg_catalog.<), pgscope_a.attnum USING OPERATOR(pg_catalog.<)`,
		[]string{"{" + strings.Join(names, ",") + "}"}
}

// Columns are the columns of the catalogs' relations with role names, in their order, as a server has them.
type Columns map[string][]string

// ReadColumns reads the answer to [ColumnsSQL].
func ReadColumns(rows [][]string) Columns {
	c := make(Columns, len(relations))
	for _, r := range rows {
		if len(r) == 2 {
			c[r[0]] = append(c[r[0]], r[1])
		}
	}
	return c
}
