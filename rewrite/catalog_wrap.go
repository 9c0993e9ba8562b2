package rewrite

import (
	"regexp"
	"strings"

	"github.com/pgscope/pgscope-proxy/scope"
)

// form is what stands in for an expression x of the client's.
type form int

const (
	asItIs          form = iota // nothing
	subselect                   // a relation: its subselect
	fixed                       // other text
	shortName                   // x is a role's name: its short name
	shortNames                  // the same, of many rows
	shortText                   // the same of one, as text
	shortSystem                 // x is a method, a colon, and a name: the same with the short name
	clusterOID                  // x names a role of the database, or is an OID: the OID; public is nobody's
	clusterMember               // the same, where public is a name like any other
	clusterRegrole              // x names one as regrole's input does, or is an OID: the regrole
	clusterIdent                // the same: the identifier that regrole's input takes, NULL where there is none
	clusterRegroles             // x is an array of such names, or its text: the regroles
	clusterText                 // x names one: the cluster's name
	newText                     // x names one that is to be made: the cluster's name
	regroleText                 // x is a regrole: its text
	regroleTexts                // x is a regrole[]: text[]
	aclTexts                    // x is an aclitem[]: text[]
	aclText                     // x is an aclitem: its text
	aclSet                      // x is a set of aclitems
	quotedName                  // x is a role's name in the cluster: the same as an identifier
	storedName                  // x is CURRENT_USER or its like, and kept by the server, or may be no subquery: its short name
	storedText                  // the same of current_setting('role')
	maybeRole                   // x is the arguments of set_config, as columns s, x and b: its result, which is a role's name if s is one of those settings
	noRoleSetting               // x is the name of a setting: the same, but for those about roles one that does not exist
	definition                  // x is a text with what was kept so: as the client wrote it
)

const (
	argument     = "pgscope_x.x" // the client's expression
	argumentName = "pgscope_n.n" // the name in it

	concat = " OPERATOR(pg_catalog.||) "

	// nameOfText reads a name as regrole's input does (stringToQualifiedNameList, regproc.c).
	nameOfText = `CASE WHEN pgscope_x.x::pg_catalog.text {~} '^[[:space:]]*".*"[[:space:]]*$' THEN pg_catalog.replace(pg_catalog.substr(` +
		`pg_catalog.btrim(pgscope_x.x::pg_catalog.text), 2, pg_catalog.length(pg_catalog.btrim(pgscope_x.x::pg_catalog.text)) ` +
		`OPERATOR(pg_catalog.-) 2), '""', '"') ELSE pg_catalog.lower(pg_catalog.btrim(pgscope_x.x::pg_catalog.text) COLLATE pg_catalog."C") END`

	// qualifiedNameOfText reads a name with a schema.
	qualifiedNameOfText = `CASE WHEN pgscope_x.x::pg_catalog.text {~} ` +
		`'^[[:space:]]*("([^"]|"")+"|[[:alpha:]_][[:alnum:]_$]*)[.]("([^"]|"")+"|[[:alpha:]_][[:alnum:]_$]*)[[:space:]]*$' ` +
		`THEN pg_catalog.array_to_string(pg_catalog.parse_ident(pgscope_x.x::pg_catalog.text), '.') ELSE ` + nameOfText + ` END`

	// notNameOfText: OIDs, "-", and what is no name, or one with a schema.
	notNameOfText = `(pgscope_x.x::pg_catalog.text {~} '^[[:space:]]*([0-9]+|-)[[:space:]]*$' OR ` +
		`pgscope_o.own IS NULL AND pgscope_x.x::pg_catalog.text {!~} '^[[:space:]]*("([^"]|"")*"|[^"[:space:].][^[:space:].]*)[[:space:]]*$')`

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
	case shortSystem:
		return l.sql("(SELECT pg_catalog.split_part(pgscope_x.x, ':', 1) {||} ':' {||} ") + l.short(argumentName, typeText) + from,
			" AS x) pgscope_x, LATERAL (SELECT " + l.sql("pg_catalog.substr(pgscope_x.x, pg_catalog.strpos(pgscope_x.x, ':') {+} 1)") + " AS n) pgscope_n)"
	case quotedName:
		return "(SELECT pg_catalog.quote_ident(", typeText + ") AS " + scope.QuoteIdent(as) + ")"
	case storedName:
		return "(pg_catalog.regexp_replace(", typeText + ", " + l.name.sql + ", '')" + typeName + ")"
	case storedText:
		return "pg_catalog.regexp_replace(", ", " + l.text.sql + ", '')"
	case noRoleSetting:
		return withoutSettings("(", ")"+typeText, settingRole, settingSession, scope.ModeSetting)
	case definition:
		return "(SELECT " + l.definition(argument) + from, " AS x) pgscope_x)"
	case maybeRole:
		name, result := l.lookup(clusterText)
		before, after := withoutSettings("pgscope_x.s", "", scope.ModeSetting)
		return l.sql(maybeRoleSQL, "setting", before+after, "short", l.short("pgscope_y.x", typeText), "as", scope.QuoteIdent(as), "name", result),
			l.sql(maybeRoleFromSQL, "name", name, "settings", scope.QuoteLiteral(scope.Array(settingRole, settingSession)), "twin", l.twin(argumentName))
	case regroleText:
		name := "pg_catalog.pg_get_userbyid(" + argument + ")"
		return "(SELECT COALESCE(pg_catalog.quote_ident(" + l.all(name, ofFunctions) + "), " + argument + typeText + ")" +
			from, " AS x) pgscope_x)"
	case regroleTexts:
		const element = "pgscope_u.x"
		name := "pg_catalog.pg_get_userbyid(" + element + ")"
		return "(SELECT CASE WHEN pgscope_x.x IS NULL THEN NULL ELSE ARRAY(SELECT COALESCE(pg_catalog.quote_ident(" + l.all(name, ofFunctions) + "), " +
			element + typeText + ") FROM ROWS FROM (pg_catalog.unnest(pgscope_x.x)) WITH ORDINALITY pgscope_u (x, i) ORDER BY pgscope_u.i) END" + from, " AS x) pgscope_x)"
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
	case clusterRegroles:
		result, beside := l.sought(clusterRegrole)
		return "(SELECT CASE WHEN pgscope_a.x IS NULL THEN NULL ELSE ARRAY(SELECT " + result + " FROM ROWS FROM (pg_catalog.unnest(pgscope_a.x))" +
			" WITH ORDINALITY pgscope_x (x, i)" + beside + " ORDER BY pgscope_x.i) END" + from + "(", ")" + typeText + "[] AS x) pgscope_a)"
	default:
		result, beside := l.sought(f)
		return "(SELECT " + result + from, " AS x) pgscope_x" + beside + ")"
	}
}

// sought returns the expression of the role that the client's names, and what goes beside the client's expression for it.
func (l lens) sought(f form) (result, beside string) {
	name, result := l.lookup(f)
	return result, ", LATERAL (SELECT " + name + " AS n) pgscope_n, LATERAL (SELECT " + l.twin(argumentName) + " AS own OFFSET 0) pgscope_o"
}

// withoutSettings makes of the name of a setting, if it is one of these, the name of none: the server says so. What the
// call would do is not known from the text.
func withoutSettings(before, after string, settings ...string) (_, _ string) {
	pattern := "^(" + strings.ReplaceAll(strings.Join(settings, "|"), ".", "[.]") + ")$"
	return "pg_catalog.regexp_replace(" + before,
		after + ", " + scope.QuoteLiteral(pattern) + ", " + scope.QuoteLiteral(`\1 (computed)`) + ", 'i')"
}

// definition takes from a text what storedName and storedText have put into the expression that it is of: as pg_get_expr and
// its like write it (ruleutils.c), with all parentheses or with few.
func (l lens) definition(text string) string {
	return "pg_catalog.regexp_replace(" + text + ", " + scope.QuoteLiteral(keptPattern(l.name.written, l.text.written)) +
		", " + scope.QuoteLiteral(`\1\2\3`) + ", 'g')"
}

// keptPattern finds what these have made of a key word, or a call, which is one of three groups; name and text are how the leads are written.
func keptPattern(name, text []string) string {
	const words = `(CURRENT_USER|CURRENT_ROLE|SESSION_USER|USER)`
	kept := func(leads []string) string {
		parts := make([]string, len(leads))
		for i, lead := range leads {
			parts[i] = regexp.QuoteMeta(lead)
		}
		return ", (?:" + strings.Join(parts, "|") + `), ''::text\)`
	}
	return keptNames.ReplaceAllString(`\(regexp_replace\(\(`+words+`\)::text`+kept(name)+`\)::name|regexp_replace\(`+words+`::text`+kept(name)+`::name`+
		`|regexp_replace\((current_setting\('[^']*'::text(?:, (?:true|false))?\))`+kept(text), `"?$0"?`)
}

// keptNames are the names in it: the server quotes them where quote_all_identifiers is on.
var keptNames = regexp.MustCompile(`\b(regexp_replace|concat|current_database|current_setting|to_jsonb|text|name)\b`)

// lookup returns how the client's expression is read as a name, and the expression of the role that it means.
func (l lens) lookup(f form) (name, result string) {
	strict := func(s string) string { return "pg_catalog.quote_ident(" + s + ")::pg_catalog.regrole" }
	nobody := scope.QuoteLiteral(missing) + concat + argumentName + typeText
	name = argument + typeText + typeName
	first, typ := "", "::pg_catalog.regrole"
	switch f {
	case clusterText:
		return argument + typeText, "CASE WHEN pgscope_o.own IS NOT NULL THEN pg_catalog.pg_get_userbyid(pgscope_o.own)" + typeText +
			" WHEN " + l.hidden(argumentName) + " THEN " + nobody + " ELSE " + argumentName + " END"
	case newText:
		return argument + typeText, l.sql(newTextSQL, "name", argumentName, "hidden", l.hidden(argumentName), "oid", l.oid(argumentName))
	case clusterRegrole:
		name = l.nameOfText()
		first = l.sql("WHEN " + isOID + " OR " + notNameOfText + " THEN pgscope_x.x::pg_catalog.text::pg_catalog.regrole ")
	case clusterIdent:
		return l.nameOfText(), l.sql("CASE WHEN "+notNameOfText+" THEN pgscope_x.x::pg_catalog.text WHEN pgscope_o.own IS NOT NULL"+
			" THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(pgscope_o.own)::pg_catalog.text) WHEN ") + l.hidden(argumentName) +
			" THEN NULL ELSE pg_catalog.quote_ident(" + argumentName + typeText + ") END"
	default:
		first = l.sql("WHEN " + isOID + " THEN pgscope_x.x::pg_catalog.text::pg_catalog.regrole ")
		if f == clusterOID {
			first += l.sql("WHEN pgscope_n.n {=} 'public' THEN 0::pg_catalog.oid::pg_catalog.regrole ")
		}
		typ = "::pg_catalog.oid"
	}
	return name, "(CASE " + first + "WHEN pgscope_o.own IS NOT NULL THEN pgscope_o.own::pg_catalog.regrole" +
		" WHEN " + l.hidden(argumentName) + " THEN " + strict(nobody) + " ELSE " + strict(argumentName+typeText) + " END)" + typ
}

func (l lens) nameOfText() string {
	if l.marked == "" {
		return "(" + l.sql(nameOfText) + ")" + typeName
	}
	return "(" + l.sql(qualifiedNameOfText) + ")" + typeName
}

// boundForms are those in which an expression that is [bound] can be shown.
var boundForms = []form{shortName, shortNames, regroleText, definition}

// inPlace is wrap for such expressions: it looks them up in an object of what all roles of the cluster are called here, by
// name or by OID, which is made once for the query.
func (l lens) inPlace(f form) (before, after string) {
	if f == definition {
		before, after, _ = strings.Cut(l.definition(argument), argument)
		return before, after
	}
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
