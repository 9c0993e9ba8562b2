package access

import (
	"strings"
	"unicode/utf8"
)

// Like reports whether the name is LIKE the pattern: % is any text, _ any character, \ takes the next as it is. It takes
// time in proportion to the product of their lengths at most (MatchText, src/backend/utils/adt/like_match.c).
func Like(pattern, name string) bool {
	resume, from := -1, 0
	i, j := 0, 0
	for j < len(name) {
		if i < len(pattern) {
			switch c := pattern[i]; {
			case c == '%':
				resume, from = i+1, j
				i++
				continue
			case c == '_':
				_, size := utf8.DecodeRuneInString(name[j:])
				i++
				j += size
				continue
			case c == '\\' && i+1 < len(pattern) && pattern[i+1] == name[j]:
				i += 2
				j++
				continue
			case c != '\\' && c == name[j]:
				i++
				j++
				continue
			}
		}
		if resume < 0 {
			return false
		}
		_, size := utf8.DecodeRuneInString(name[from:])
		from += size
		i, j = resume, from
	}
	return strings.Trim(pattern[i:], "%") == ""
}
