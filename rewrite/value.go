package rewrite

import (
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// The types whose values the server writes with roles' names (src/include/catalog/pg_type.dat).
const (
	typeAclitem  = 1033
	typeAclitems = 1034
	typeRegrole  = 4096
	typeRegroles = 4097
)

// NamesRoles reports whether values of a type, in text format, hold roles' names. In binary format a regrole is an OID, and
// an access list has none.
func NamesRoles(typ uint32) bool {
	switch typ {
	case typeAclitem, typeAclitems, typeRegrole, typeRegroles:
		return true
	default:
		return false
	}
}

// TakesRoles reports whether parameters of a type are read as roles' names, in text format.
func TakesRoles(typ uint32) bool { return typ == typeRegrole || typ == typeRegroles }

// Parameter returns the text of a parameter of such a type with the cluster's names in the place of short ones; own tells
// what a role of the database is called there.
func Parameter(typ uint32, text string, own func(scope.Short) (scope.Cluster, bool)) string {
	role := func(text string) string {
		written := strings.TrimSpace(text)
		if strings.Trim(written, "0123456789") == "" { // an OID
			return text
		}
		name := unquoted(written)
		if name == written { // regrolein folds it (regproc.c)
			name = strings.ToLower(name)
		}
		if c, ok := own(scope.Short(name)); ok {
			return c.Ident()
		}
		return text
	}
	if typ == typeRegroles {
		return mapArray(text, role)
	}
	return role(text)
}

// Value returns a value of a type with short names. One that holds no name of this database comes back as it is.
func (l Localizer) Value(typ uint32, text string) string {
	if lead := l.Prefix + scope.Separator; !strings.Contains(text, lead) && !strings.Contains(text, scope.Reserved) && !strings.ContainsAny(lead, `"\`) {
		return text
	}
	switch typ {
	case typeAclitem:
		return l.aclItem(text)
	case typeAclitems:
		return mapArray(withoutMarkers(text), l.aclItem)
	case typeRegrole:
		return l.regrole(text)
	case typeRegroles:
		return mapArray(text, l.regrole)
	default:
		return text
	}
}

// regrole maps what regroleout (regproc.c) writes: an identifier, a number, or "-".
func (l Localizer) regrole(text string) string {
	name := unquoted(text)
	short, ok := l.Own(scope.Cluster(name))
	if !ok {
		return text
	}
	if l.wantsQuotes(string(short)) || name != text && !l.wantsQuotes(name) { // quote_all_identifiers
		return scope.QuoteIdent(string(short))
	}
	return string(short)
}

// keyWordsSince has the words that became key words after PostgreSQL 14, of those that are quoted, with the
// server_version_num from which on they are (src/include/parser/kwlist.h).
var keyWordsSince = map[string]int{
	"json_array": 160000, "json_arrayagg": 160000, "json_object": 160000, "json_objectagg": 160000, systemUser: firstSystemUser,
	"json": 170000, "json_exists": 170000, "json_query": 170000, "json_scalar": 170000, "json_serialize": 170000,
	"json_table": 170000, "json_value": 170000, "merge_action": 170000,
}

// wantsQuotes tells names that quote_identifier (ruleutils.c) quotes.
func (l Localizer) wantsQuotes(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return true
		}
	}
	if since := keyWordsSince[name]; l.ServerVersion != 0 && l.ServerVersion < since {
		return false
	}
	words, err := pg.Scan(name)
	return err != nil || len(words.Tokens) != 1 ||
		words.Tokens[0].KeywordKind != pg.KeywordKind_NO_KEYWORD && words.Tokens[0].KeywordKind != pg.KeywordKind_UNRESERVED_KEYWORD
}

// aclItem maps what aclitemout (acl.c) writes: grantee=privileges/grantor.
func (l Localizer) aclItem(text string) string {
	grantee := aclName(text)
	rest := text[len(grantee):]
	slash := strings.IndexByte(rest, '/')
	if slash < 0 || rest[0] != '=' {
		return text
	}
	return l.inACL(grantee) + rest[:slash+1] + l.inACL(rest[slash+1:])
}

// aclName returns the name that an item begins with, quotes and all.
func aclName(item string) string {
	quoted := false
	for i := range len(item) {
		switch {
		case item[i] == '"':
			quoted = !quoted
		case item[i] == '=' && !quoted:
			return item[:i]
		}
	}
	return item
}

// inACL maps a name of an item. It is quoted as putid (acl.c) does it; which letters beyond ASCII want quotes depends on
// the server, so the longer name's quotes tell.
func (l Localizer) inACL(text string) string {
	name := unquoted(text)
	short, ok := l.Own(scope.Cluster(name))
	if !ok {
		return text
	}
	for _, c := range []byte(short) {
		if c >= utf8.RuneSelf && name != text || c < utf8.RuneSelf && (c == '$' || !wordByte[c]) {
			return scope.QuoteIdent(string(short))
		}
	}
	return string(short)
}

// unquoted reads a name that may be quoted.
func unquoted(text string) string {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return text
	}
	return strings.ReplaceAll(text[1:len(text)-1], `""`, `"`)
}

// withoutMarkers takes from an access list what it says of markers.
func withoutMarkers(list string) string {
	if !strings.HasPrefix(list, "{") || !strings.Contains(list, scope.Reserved) {
		return list
	}
	var kept []string
	dropped := false
	rest := list[1:]
	for rest != "" && rest[0] != '}' {
		written, item := arrayElement(rest)
		if written == "" { // a list of lists
			return list
		}
		if strings.HasPrefix(unquoted(aclName(item)), scope.Reserved) {
			dropped = true
		} else {
			kept = append(kept, written)
		}
		rest = strings.TrimPrefix(rest[len(written):], ",")
	}
	if !dropped || rest != "}" {
		return list
	}
	return "{" + strings.Join(kept, ",") + "}"
}

// mapArray maps the elements of an array's text, as array_out (arrayfuncs.c) writes it. Those that stay the same stay as
// they are written, and so does what is around them.
func mapArray(text string, element func(string) string) string {
	i := strings.IndexByte(text, '{') // the bounds may stand before it
	if i < 0 {
		return text
	}
	var b strings.Builder
	b.WriteString(text[:i])
	for i < len(text) {
		if strings.IndexByte("{},", text[i]) >= 0 {
			b.WriteByte(text[i])
			i++
			continue
		}
		written, value := arrayElement(text[i:])
		i += len(written)
		if mapped := element(value); mapped != value && written != "NULL" {
			written = quoteElement(mapped)
		}
		b.WriteString(written)
	}
	return b.String()
}

// arrayElement returns the element that the text begins with, as it is written and as it is.
func arrayElement(text string) (written, value string) {
	if text[0] != '"' {
		end := strings.IndexAny(text, "{},")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[:end]
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '"':
			return text[:i+1], b.String()
		case '\\':
			if i++; i == len(text) {
				return text, b.String()
			}
		}
		b.WriteByte(text[i])
	}
	return text, b.String()
}

var escapeElement = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func quoteElement(value string) string {
	if value != "" && !strings.EqualFold(value, "null") && !strings.ContainsAny(value, "\"\\{}, \t\n\r\v\f") {
		return value
	}
	return `"` + escapeElement.Replace(value) + `"`
}
