package rewrite

import "strings"

// standardStrings returns a text that means, with standard_conforming_strings on, what the given one means with it
// off: where a backslash stands in a plain string, and is an escape, the string becomes one of the E form. nil
// where there is none. It follows scan.l; ok is false where the text ends inside of a string or a comment, for
// then the server refuses it as a whole.
func standardStrings(sql string) (l *layer, ok bool) {
	if strings.IndexByte(sql, '\\') < 0 {
		return nil, true
	}
	const prefix = " E" // the blank: the string may follow a name at once
	var b strings.Builder
	l = &layer{writers: []writer{{write: func(text string) (string, error) { return text, nil }}}}
	done := 0
	for i := 0; i < len(sql); {
		end, plain := lexeme(sql, i)
		if end < 0 {
			return nil, false
		}
		if plain && strings.IndexByte(sql[i:end], '\\') >= 0 {
			b.WriteString(sql[done:i])
			b.WriteString(prefix)
			done = i
			l.runs = append(l.runs, run{b.Len(), i})
		}
		i = end
	}
	if done == 0 && l.runs == nil {
		return nil, true
	}
	b.WriteString(sql[done:])
	l.text = b.String()
	return l, true
}

// lexeme returns where the string, comment, name or other character ends that stands at byte i, as the server sees them
// with standard_conforming_strings off, and whether it is a plain string. end is -1 where it does not end.
func lexeme(sql string, i int) (end int, plain bool) {
	rest := sql[i:]
	switch c := sql[i]; {
	case c == '\'':
		return stringEnd(sql, i, true), true
	case c == '"':
		return quotedEnd(sql, i), false
	case strings.HasPrefix(rest, "--"):
		return i + lineComment([]byte(rest)), false
	case strings.HasPrefix(rest, "/*"):
		n := blockComment([]byte(rest), len(rest))
		if n == len(rest) && !strings.HasSuffix(rest, "*/") {
			return -1, false
		}
		return i + n, false
	case c == '$':
		return dollarEnd(sql, i), false
	case '0' <= c && c <= '9':
		return i + 1, false
	case wordByte[c]:
		return wordEnd(sql, i), false
	default:
		return i + 1, false
	}
}

// wordEnd is for a name, or the letter that begins a string of another form: E'…' has escapes, B'…', X'…' and the server's
// U&'…' (which it refuses with the setting off) have none, and N'…' is a plain string.
func wordEnd(sql string, i int) int {
	end := i + 1
	for end < len(sql) && wordByte[sql[end]] {
		end++
	}
	if end != i+1 {
		return end
	}
	switch quote := strings.HasPrefix(sql[end:], "'"); sql[i] | 0x20 {
	case 'e':
		if quote {
			return stringEnd(sql, end, true)
		}
	case 'b', 'x':
		if quote {
			return stringEnd(sql, end, false)
		}
	case 'u':
		if strings.HasPrefix(sql[end:], `&"`) {
			return quotedEnd(sql, end+1)
		}
		if strings.HasPrefix(sql[end:], "&'") {
			return stringEnd(sql, end+1, false)
		}
	}
	return end
}

// stringEnd returns where the string ends whose first quote stands at byte i, with the parts that go on after a line's
// end; -1 where it does not.
func stringEnd(sql string, i int, escapes bool) int {
	for i++; i < len(sql); i++ {
		switch {
		case sql[i] == '\\' && escapes:
			i++
		case sql[i] != '\'':
		case strings.HasPrefix(sql[i+1:], "'"):
			i++
		default:
			next := continuation(sql, i+1)
			if next < 0 {
				return i + 1
			}
			i = next
		}
	}
	return -1
}

// continuation returns the quote by which the string that ended before byte i goes on (quotecontinue, scan.l): only blanks
// and line comments may stand between, and at least one line must end; -1 where it does not go on.
func continuation(sql string, i int) int {
	newline := false
	for i < len(sql) {
		switch c := sql[i]; {
		case c == '\'' && newline:
			return i
		case blank(c):
			newline = newline || c == '\n' || c == '\r'
			i++
		case strings.HasPrefix(sql[i:], "--"):
			i += lineComment([]byte(sql[i:]))
		default:
			return -1
		}
	}
	return -1
}

// quotedEnd returns where the quoted name at byte i ends; -1 where it does not. Two quotes in it are one after the other.
func quotedEnd(sql string, i int) int {
	n := strings.IndexByte(sql[i+1:], '"')
	if n < 0 {
		return -1
	}
	return i + 1 + n + 1
}

// dollarEnd returns where the dollar-quoted string at byte i ends; -1 where it does not. A '$' that begins none is a
// character by itself.
func dollarEnd(sql string, i int) int {
	tag := i + 1
	for tag < len(sql) && sql[tag] != '$' && wordByte[sql[tag]] && (tag > i+1 || sql[tag] < '0' || sql[tag] > '9') {
		tag++
	}
	if tag >= len(sql) || sql[tag] != '$' {
		return i + 1
	}
	quote := sql[i : tag+1]
	n := strings.Index(sql[tag+1:], quote)
	if n < 0 {
		return -1
	}
	return tag + 1 + n + len(quote)
}
