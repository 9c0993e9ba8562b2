package rewrite

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// literal reads the string constant at token i as a layer: its value, and how to write into it. value is what the
// parser has for it. Where the two differ, or the constant has a form that is not known, there is an error.
func (t tokens) literal(i int, value string) (*layer, error) {
	if i < 0 || i >= len(t.list) {
		return nil, errNoString
	}
	k, raw := t.list[i], t.text(i)
	l := &literal{raw: raw, base: k.start}
	escape := byte('\\')
	switch {
	case raw[0] == '$':
		tag := raw[:strings.IndexByte(raw[1:], '$')+2]
		l.add(raw[len(tag):len(raw)-len(tag)], len(tag))
		l.write = func(text string) (string, error) {
			if strings.Contains(text, tag) || strings.HasSuffix(text, "$") {
				return "", fmt.Errorf("%q cannot stand in a string that is quoted by %s", text, tag)
			}
			return text, nil
		}
	case raw[0] == '\'':
		l.quoted(1, l.plain)
		l.write = func(text string) (string, error) { return strings.ReplaceAll(text, `'`, `''`), nil }
	case raw[0]|0x20 == 'e':
		l.quoted(2, l.escaped)
		l.write = escapeWith('\\')
	case raw[0]|0x20 == 'u':
		var err error
		if escape, _, err = t.uescape(i+1, escape); err != nil {
			return nil, err
		}
		l.quoted(3, func(at int) int { return l.unicode(at, escape) })
		l.write = escapeWith(escape)
	default:
		return nil, errNoString
	}
	if l.err == nil && l.value.String() != value {
		l.err = fmt.Errorf("found %q in its place", l.value.String())
	}
	return &layer{text: value, runs: l.runs, writers: []writer{{write: l.write}}}, l.err
}

var (
	errNoString = errors.New("there is no string where the grammar has one")
	errEscape   = errors.New("invalid Unicode escape")
)

// escapeWith writes into a string in which some character begins an escape.
func escapeWith(escape byte) func(string) (string, error) {
	e := string(escape)
	r := strings.NewReplacer(`'`, `''`, e, e+e)
	return func(text string) (string, error) { return r.Replace(text), nil }
}

// literal is a string constant that is being read.
type literal struct {
	raw   string
	base  int // where it stands in its text
	value strings.Builder
	runs  []run
	write func(string) (string, error)
	err   error
}

// add adds to the value what stands at byte at of the constant.
func (l *literal) add(text string, at int) {
	here, outer := l.value.Len(), l.base+at
	if n := len(l.runs); n == 0 || outer-here != l.runs[n-1].outer-l.runs[n-1].at {
		l.runs = append(l.runs, run{here, outer})
	}
	l.value.WriteString(text)
}

// quoted reads what stands between quotes, the first of which is before byte at. escape reads what is not itself.
func (l *literal) quoted(at int, escape func(at int) int) {
	for l.err == nil && at < len(l.raw) {
		switch c := l.raw[at]; {
		case c != '\'':
			at = escape(at)
		case strings.HasPrefix(l.raw[at+1:], "'"):
			l.add("'", at)
			at += 2
			l.runs = append(l.runs, run{l.value.Len(), l.base + at})
		default:
			next := continuation(l.raw, at+1)
			if next < 0 {
				if at+1 != len(l.raw) {
					l.err = errNoString
				}
				return
			}
			at = next + 1
		}
	}
}

// plain reads one character of a string without escapes.
func (l *literal) plain(at int) int {
	l.add(l.raw[at:at+1], at)
	return at + 1
}

// escaped reads one character, or an escape, of an E string (xe, scan.l).
func (l *literal) escaped(at int) int {
	if l.raw[at] != '\\' || at+1 == len(l.raw) {
		return l.plain(at)
	}
	rest := l.raw[at+1:]
	text, size := rest[:1], 1
	switch c := rest[0]; c {
	case 'b':
		text = "\b"
	case 'f':
		text = "\f"
	case 'n':
		text = "\n"
	case 'r':
		text = "\r"
	case 't':
		text = "\t"
	case 'v':
		text = "\v"
	case 'u', 'U':
		return l.codePoint(at, codeForm{`\u`, 4}, codeForm{`\U`, 8})
	case 'x':
		for size < len(rest) && size < 3 && isDigit(rest[size], 16) {
			size++
		}
		if size > 1 {
			text = l.code(rest[1:size], 16)
		}
	default:
		if isDigit(c, 8) {
			for size < len(rest) && size < 3 && isDigit(rest[size], 8) {
				size++
			}
			text = l.code(rest[:size], 8)
		} else {
			_, size = utf8.DecodeRuneInString(rest)
			text = rest[:size]
		}
	}
	return l.escape(text, at, 1+size)
}

// unicode reads one character, or an escape, of a U& string or name (str_udeescape, parser.c).
func (l *literal) unicode(at int, escape byte) int {
	rest := l.raw[at:]
	switch {
	case rest[0] != escape:
		return l.plain(at)
	case len(rest) > 1 && rest[1] == escape:
		return l.escape(string(escape), at, 2)
	default:
		return l.codePoint(at, codeForm{string(escape) + "+", 6}, codeForm{string(escape), 4})
	}
}

// unescaped is what U&"…" means, without its quotes.
func unescaped(name string, escape byte) (string, error) {
	l := &literal{raw: name}
	for at := 0; at < len(name) && l.err == nil; {
		at = l.unicode(at, escape)
	}
	return l.value.String(), l.err
}

// codeForm is how an escape gives a character's code: what it begins with, and how many digits follow.
type codeForm struct {
	lead   string
	digits int
}

// codePoint reads an escape by the code of a character, or two that are a pair.
func (l *literal) codePoint(at int, forms ...codeForm) int {
	next := func(at int) (r rune, end int) {
		for _, f := range forms {
			from := at + len(f.lead)
			end = from + f.digits
			if !strings.HasPrefix(l.raw[at:], f.lead) || end > len(l.raw) {
				continue
			}
			if code, err := strconv.ParseUint(l.raw[from:end], 16, 31); err == nil {
				return rune(code), end
			}
		}
		return 0, at
	}
	r, end := next(at)
	if utf16.IsSurrogate(r) {
		var low rune
		low, end = next(end)
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			r = 0
		}
	}
	if r == 0 || !utf8.ValidRune(r) {
		l.err = errEscape
		return len(l.raw)
	}
	return l.escape(string(r), at, end-at)
}

// code returns a byte that is written by its number. One of a character beyond ASCII would be of the server's set.
func (l *literal) code(digits string, base int) string {
	code, err := strconv.ParseUint(digits, base, 7)
	if err != nil || code == 0 {
		l.err = errEscape
	}
	return string(rune(code))
}

// escape adds what an escape of that size stands for.
func (l *literal) escape(text string, at, size int) int {
	l.runs = append(l.runs, run{l.value.Len(), l.base + at})
	l.value.WriteString(text)
	l.runs = append(l.runs, run{l.value.Len(), l.base + at + size})
	return at + size
}

func isDigit(c byte, base int) bool {
	_, err := strconv.ParseUint(string(c), base, 8)
	return err == nil
}
