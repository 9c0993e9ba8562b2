package rewrite

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Localizer turns the cluster names of one database's roles into short ones in the texts of errors and notices.
//
// The texts come in any language, so that names are not found by templates but as themselves: whatever begins with
// the prefix and is a known role. A table may be called like one (relation "orders_customer" does not exist): so the
// SQLSTATE, and the C function that raised the error, which is not translated, say which texts speak of roles.
type Localizer struct {
	Prefix string                                  // of the database, without the separator
	Own    func(scope.Cluster) (scope.Short, bool) // the short name of a role of the database; false for all others
	// ServerVersion is the server_version_num, 0 if it is not known: what are key words depends on it.
	ServerVersion int

	// Unlisted is whether a name with the prefix may be one that is nobody's, or not known yet: see [Localizer.Met].
	Unlisted bool
	Quoted   bool // what a block raises may be the message of another error: [Result.Quotes]
}

// rolesIn says which fields of an error with some SQLSTATE may hold role names.
type rolesIn struct {
	fields string   // message fields: Message, Detail, Hint, Where
	only   []string // the C functions that it holds for; nil for all
	never  []string // those that it does not hold for
	listed []string // those that describe objects of any kind: a role's name is what stands behind [userMapping] there
}

// messages has a row for each SQLSTATE that PostgreSQL 14 to 18 raise with a role's name in the text.
var messages = map[string]rolesIn{
	"00000": {fields: "MDHW", only: []string{ // notices
		"DropRole", "AddRoleMems", "DelRoleMems", "GrantRole", "CreateUserMapping", "RemoveUserMapping",
	}, listed: []string{"reportDependentObjects"}},
	"01000": {fields: "MDHW", only: []string{"AddRoleMems", "DelRoleMems", "GrantRole"}}, // warning
	"0A000": {fields: "MDHW", only: []string{ // feature_not_supported
		"AddRoleMems", "DelRoleMems", "check_role_membership_authorization", "check_role_grantor",
	}},
	"0LP01": {fields: "MDHW"}, // invalid_grant_operation
	"22023": {fields: "MDHW", only: []string{ // invalid_parameter_value
		"call_string_check_hook", "check_role", "check_session_authorization",
	}},
	"28000": {fields: "MDHW"}, // invalid_authorization_specification
	"28P01": {fields: "MDHW"}, // invalid_password
	"2BP01": {fields: "MDHW", only: []string{ // dependent_objects_still_exist
		"DropRole", "shdepDropOwned", "shdepReassignOwned",
	}, listed: []string{"reportDependentObjects"}},
	"42501": {fields: "MDHW", never: []string{ // insufficient_privilege
		"aclcheck_error", "aclcheck_error_col", "ExecWithCheckOptions", "check_enable_rls",
	}},
	"42704": {fields: "MDHW", only: []string{ // undefined_object
		"get_role_oid", "get_rolespec_tuple", "AlterRole", "DropRole", "RenameRole", "GrantRole", "DelRoleMems",
		"check_role", "check_session_authorization", "call_string_check_hook", "SetDefaultACL",
		"regrolein", "CreateUserMapping", "AlterUserMapping", "RemoveUserMapping", "GetUserMapping",
	}},
	"42710": {fields: "MDHW", only: []string{"CreateRole", "RenameRole", "CreateUserMapping"}}, // duplicate_object
	"42939": {fields: "MDHW"},                                                                  // reserved_name
	"53300": {fields: "MDHW"},                                                                  // too_many_connections
}

// raisedByBlock is the C function of RAISE (pl_exec.c).
const raisedByBlock = "exec_stmt_raise"

// userMapping is what stands before the role's name where a user mapping is described, the only object with a role's name
// on which others depend: "user mapping for %s on server %s" (getObjectDescription, objectaddress.c) and its translations
// in which a word and a blank stand before the name (src/backend/po).
var userMapping = []string{
	"user mapping for ", "Benutzerabbildung für ", "mapeo para el usuario ", "correspondance utilisateur pour ",
	"mappatura utenti per ", "сопоставление для пользователя ", "användarmappning för ",
	"зіставлення користувача для ",
}

// maxField bounds the texts that are looked through, in bytes. Of its own accord the server says less: of the objects in the
// way of a DROP it lists a hundred. Longer ones are raised by code, and to look for names in 64 MiB takes seconds, for which
// other sessions would wait.
const maxField = 256 << 10

// Met returns a localizer that also knows the roles of which a message speaks, where they may be unlisted. What is a role's
// name in the message is one in the other fields too; there, most words with the prefix are other objects' names.
func (l Localizer) Met(sqlstate, routine, message string) Localizer {
	if row, ok := messages[sqlstate]; !l.Unlisted || !ok || !row.speaksOfRoles(routine) || len(message) > maxField {
		return l
	}
	lead := l.Prefix + scope.Separator
	met := make(map[scope.Cluster]scope.Short)
	for from := 0; ; {
		i := strings.Index(message[from:], lead)
		if i < 0 {
			break
		}
		i += from
		from = i + len(lead)
		name := message[i:]
		if end := strings.IndexFunc(name, func(r rune) bool { return !wordRune(r) }); end >= 0 {
			name = name[:end]
		}
		if boundary(message, i) && len(name) > len(lead) {
			met[scope.Cluster(name)] = scope.Short(name[len(lead):])
		}
	}
	own := l.Own
	l.Own = func(c scope.Cluster) (scope.Short, bool) {
		if short, ok := own(c); ok {
			return short, true
		}
		short, ok := met[c]
		return short, ok
	}
	return l
}

// speaksOfRoles reports whether the errors that a C function raises have roles' names in their messages.
func (r rolesIn) speaksOfRoles(routine string) bool {
	return (r.only == nil || slices.Contains(r.only, routine)) && !slices.Contains(r.never, routine)
}

// Field returns the text of one field of an ErrorResponse or NoticeResponse with short names. routine is the R field,
// empty where there is none. A text that cannot hold a role name, or holds none of this database, comes back as it is.
func (l Localizer) Field(field byte, sqlstate, routine, text string) string {
	row, ok := messages[sqlstate]
	switch {
	case len(text) > maxField:
		return text
	case l.Quoted && routine == raisedByBlock && strings.IndexByte("MDH", field) >= 0:
		return strings.ReplaceAll(l.text(text, nil), missing, "")
	case !ok, strings.IndexByte(row.fields, field) < 0:
		return text
	case slices.Contains(row.listed, routine):
		return l.text(text, userMapping)
	case !row.speaksOfRoles(routine):
		return text
	}
	return strings.ReplaceAll(l.text(text, nil), missing, "")
}

// text puts short names in the place of cluster names: of all, or of those behind one of some words.
func (l Localizer) text(text string, behind []string) string {
	lead := l.Prefix + scope.Separator
	var b strings.Builder
	done := 0 // what of the text is in b
	for from := 0; ; {
		i := strings.Index(text[from:], lead)
		if i < 0 {
			break
		}
		i += from
		short, end := l.nameAt(text, i, len(lead))
		if end == 0 || behind != nil && !stands(text[:i], behind) {
			from = i + 1
			continue
		}
		b.WriteString(text[done:i])
		b.WriteString(string(short))
		done, from = end, end
	}
	if done == 0 {
		return text
	}
	b.WriteString(text[done:])
	return b.String()
}

// nameAt returns the longest name of a role of the database that stands at byte i, and where it ends; 0 where none does.
func (l Localizer) nameAt(text string, i, lead int) (scope.Short, int) {
	if !boundary(text, i) {
		return "", 0
	}
	for end := min(len(text), i+scope.MaxName); end > i+lead; end-- {
		if !boundary(text, end) {
			continue
		}
		if short, ok := l.Own(scope.Cluster(text[i:end])); ok {
			return short, end
		}
	}
	return "", 0
}

// stands reports whether one of some words is right before the end of the text.
func stands(text string, behind []string) bool {
	return slices.ContainsFunc(behind, func(s string) bool { return strings.HasSuffix(text, s) })
}

// boundary reports whether no word goes on across byte i. Words are of letters in any language: some languages quote
// with characters beyond ASCII.
func boundary(text string, i int) bool {
	if i > 0 && i < len(text) && !utf8.RuneStart(text[i]) {
		return false
	}
	before, _ := utf8.DecodeLastRuneInString(text[:i])
	after, _ := utf8.DecodeRuneInString(text[i:])
	return !wordRune(before) || !wordRune(after)
}

func wordRune(r rune) bool {
	return r == '_' || r == '$' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}
