package dump

import (
	"strings"
)

// quotedLists are the settings whose values are lists of names; all others, lists too, are one string
// (variable_is_guc_list_quote, src/bin/pg_dump/dumputils.c).
var quotedLists = []string{
	"local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries", "temp_tablespaces",
	"unix_socket_directories",
}

// settingValue returns what follows SET name TO for a value as the catalog has it.
func settingValue(name, stored string) string {
	for _, list := range quotedLists {
		if strings.EqualFold(name, list) {
			return listValue(stored)
		}
	}
	return literal(stored)
}

// listValue makes strings of the names in a list, which are quoted where they need it (flatten_set_variable_args, guc.c).
func listValue(stored string) string {
	if stored == "" {
		return "''"
	}
	var values []string
	for rest := stored; ; {
		var name string
		rest = strings.TrimLeft(rest, " ")
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			name, rest = cutQuoted(quoted)
		} else if i := strings.IndexByte(rest, ','); i >= 0 {
			name, rest = strings.TrimRight(rest[:i], " "), rest[i:]
		} else {
			name, rest = strings.TrimRight(rest, " "), ""
		}
		values = append(values, literal(name))
		var more bool
		if _, rest, more = strings.Cut(rest, ","); !more {
			return strings.Join(values, ", ")
		}
	}
}

// cutQuoted cuts s behind the quotation mark that ends the name at its beginning.
func cutQuoted(s string) (name, rest string) {
	var b strings.Builder
	for {
		part, after, ok := strings.Cut(s, `"`)
		b.WriteString(part)
		if !ok || !strings.HasPrefix(after, `"`) {
			return b.String(), after
		}
		b.WriteByte('"')
		s = after[1:]
	}
}
