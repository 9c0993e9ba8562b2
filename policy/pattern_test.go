package policy

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"a", "a", true},
		{"a", "A", false},
		{"a", "ab", false},
		{"*", "", true},
		{"*", "a/b", true},
		{"a*", "a", true},
		{"a*c", "abcbc", true},
		{"a*c", "abcb", false},
		{"*a*b*", "xxaxxbxx", true},
		{"*a*b*", "xxbxxaxx", false},
		{"?", "ä", true},
		{"?", "", false},
		{"a?c", "a\xffc", true},
		{"ä", "ä", true},
		{"[a]", "[a]", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`\\`, `\`, true},
		{`*\?`, "really?", true},
		{strings.Repeat("a*", 30) + "b", strings.Repeat("a", 200), false}, // not exponential
	} {
		p, err := newPattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.match(c.text); got != c.want {
			t.Errorf("%q matches %q: %t", c.pattern, c.text, got)
		}
	}
}

// FuzzPattern compares with a regular expression.
func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"a*c", "abc"}, {`\*?*`, "*xy"}, {"*ä?", "äö"}, {"**", ""}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, glob, text string) {
		p, err := newPattern(glob)
		if err != nil || !utf8.ValidString(glob) || !utf8.ValidString(text) {
			return // a regular expression reads other bytes than those of characters
		}
		var re strings.Builder
		for i := 0; i < len(glob); i++ {
			switch glob[i] {
			case '*':
				re.WriteString("(?s:.*)")
			case '?':
				re.WriteString("(?s:.)")
			case '\\':
				i++
				fallthrough
			default:
				j := i + 1
				for j < len(glob) && glob[j]&0xC0 == 0x80 {
					j++
				}
				re.WriteString(regexp.QuoteMeta(glob[i:j]))
				i = j - 1
			}
		}
		if got, want := p.match(text), regexp.MustCompile("^(?:"+re.String()+")$").MatchString(text); got != want {
			t.Errorf("%q matches %q: %t", glob, text, got)
		}
	})
}
