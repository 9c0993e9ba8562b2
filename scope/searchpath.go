package scope

import "strings"

// userSchema stands in a search_path for the schema that is called as the current role is: on the server, as the
// cluster calls it.
const userSchema = "$user"

// Path is a search_path, as far as roles are found by it.
type Path struct {
	Schemas []string // in their order
	Told    bool     // by the server: these are there, and the current role may use them
	Unsure  bool     // whether the current role may use them is not known
	Unknown bool     // nor which they are
}

// NamesUser reports whether an element of a search_path, as SET has it, is "$user". The server knows it in this
// spelling only (recomputeNamespacePath, src/backend/catalog/namespace.c).
func NamesUser(element string) bool { return element == userSchema }

// ReplaceUser puts the name in the place of "$user" in the value of search_path; false where that does not stand in it.
// The value is a list of identifiers, quoted or not, as SplitIdentifierString (src/backend/utils/adt/varlena.c) reads it.
func ReplaceUser(path string, name Short) (string, bool) {
	var b strings.Builder
	found := false
	for rest := path; rest != ""; {
		element := rest[:elementEnd(rest)]
		rest = rest[len(element):]
		bare := strings.Trim(element, ", \t\n\r\f\v")
		if bare != `"`+userSchema+`"` && !strings.EqualFold(bare, userSchema) {
			b.WriteString(element)
			continue
		}
		found = true
		before, after, _ := strings.Cut(element, bare)
		b.WriteString(before + QuoteIdent(string(name)) + after)
	}
	return b.String(), found
}

// PathConstants returns the value of search_path as the list of string constants that SET takes.
func PathConstants(path string) string {
	var list []string
	for _, element := range SplitPath(path) {
		list = append(list, QuoteLiteral(element))
	}
	return strings.Join(list, ", ")
}

// SplitPath returns the elements of the value of search_path.
func SplitPath(path string) (list []string) {
	for rest := path; rest != ""; {
		element := rest[:elementEnd(rest)]
		rest = rest[len(element):]
		bare := strings.Trim(element, ", \t\n\r\f\v")
		if quoted, ok := strings.CutPrefix(bare, `"`); ok {
			bare = strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `""`, `"`)
		} else {
			bare = strings.ToLower(bare)
		}
		list = append(list, bare)
	}
	return list
}

// elementEnd returns the length of the first element of a list, with its comma.
func elementEnd(list string) int {
	quoted := false
	for i := range len(list) {
		switch list[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return i + 1
			}
		}
	}
	return len(list)
}
