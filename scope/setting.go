package scope

import "strings"

// nameLists are the settings whose values are lists of names, each to be quoted by itself; all others, lists too, are
// one string (variable_is_guc_list_quote, src/bin/pg_dump/dumputils.c).
var nameLists = map[string]bool{
	"local_preload_libraries": true, "search_path": true, "session_preload_libraries": true, "shared_preload_libraries": true,
	"temp_tablespaces": true, "unix_socket_directories": true,
}

// SettingIdent returns the name of a setting as SQL has it: each of its parts, which dots divide, is an identifier.
func SettingIdent(name string) string {
	parts := strings.Split(name, ".")
	for i := range parts {
		parts[i] = QuoteIdent(parts[i])
	}
	return strings.Join(parts, ".")
}

// SettingConstants returns the value of a setting, as the catalogs have it, as what stands behind SET name TO.
func SettingConstants(name, value string) string {
	switch {
	case !nameLists[strings.ToLower(name)]:
		value = QuoteLiteral(value)
	case strings.TrimSpace(value) == "":
		value = "''"
	default:
		value = PathConstants(value)
	}
	return strings.TrimPrefix(value, " ")
}
