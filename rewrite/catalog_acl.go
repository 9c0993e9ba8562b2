package rewrite

import (
	"regexp"
	"strings"

	"github.com/pgscope/pgscope-proxy/scope"
)

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

// spells reports whether the text of an access list, or of settings, can be read as it is: whether the beginning of the
// database's names is all of letters that want no quotes, and nobody else has it.
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

// notMarkers are the items that do not say what a marker may: what is granted to all roles of a
// database is not said to them.
const notMarkers = "pg_catalog.starts_with(pg_catalog.ltrim(pgscope_i.m[1], '\"'), '" + scope.Reserved + "') IS NOT TRUE"

// besideItems is beside with the names as access lists have them.
func (l lens) besideItems() string {
	return ", (SELECT " + l.sql(aclShownSQL, "names", l.allShown(ofFunctions), "oddASCII", scope.QuoteLiteral(`[\x01-/:-@[-^\x60{-\x7f]`),
		"odd", scope.QuoteLiteral(`[^0-9A-Za-z_]`)) + " AS o OFFSET 0) pgscope_o"
}
