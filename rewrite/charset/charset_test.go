package charset

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCharset(t *testing.T) {
	for _, c := range []struct {
		client, server string
		encoded        string
		decoded        string
		count          int
	}{
		{"UTF8", "UTF8", "é", "é", 1},
		{"LATIN1", "UTF8", "r\xf4le", "rôle", 4},
		{"WIN1252", "UTF8", "\x80", "€", 1},
		{"WIN1251", "UTF8", "\xf0\xee\xeb\xfc", "роль", 4},
		{"SJIS", "UTF8", "\x95\x5c.\xb1", "表.ｱ", 3}, // the second byte is a backslash
		{"EUC_JP", "UTF8", "\xc9\xbd", "表", 1},
		{"BIG5", "UTF8", "\xa5\x5c", "功", 1},
		{"GBK", "UTF8", "\xbd\xc7", "角", 1},
		{"GB18030", "UTF8", "\xbd\xc7\x81\x30\x81\x30", "角\u0080", 2},
		{"EUC_KR", "UTF8", "\xbf\xaa", "역", 1},
		{"EUC_TW", "UTF8", "\xc4\xe3", "\U000fc4e3", 1},
		{"EUC_JP", "UTF8", "\x8f\xff\xff", "\U0010ffff", 1},
		{"SQL_ASCII", "LATIN1", "\xe9", "é", 1},
		{"SQL_ASCII", "SQL_ASCII", "é", "é", 2},
		{"SQL_ASCII", "SQL_ASCII", "\xe9", "\U000f00e9", 1},
	} {
		set := Of(c.client, c.server)
		if got, ok := set.Decode(c.encoded, nil); !ok || got != c.decoded {
			t.Errorf("%s: %q is read as %q, %t; want %q", c.client, c.encoded, got, ok, c.decoded)
		}
		if got, err := set.Encode(c.decoded); err != nil || got != c.encoded {
			t.Errorf("%s: %q is written as %q, %v; want %q", c.client, c.decoded, got, err, c.encoded)
		}
		if got := set.Count(c.encoded); got != c.count {
			t.Errorf("%s: %q has %d characters, want %d", c.client, c.encoded, got, c.count)
		}
		if got := set.Offset(c.encoded+"x", c.count+1); got != len(c.encoded) {
			t.Errorf("%s: %q ends at %d, want %d", c.client, c.encoded, got, len(c.encoded))
		}
	}
}

func TestUntranslatable(t *testing.T) {
	for _, c := range []struct{ set, text, want string }{
		{"LATIN1", "€", `character with byte sequence 0xe2 0x82 0xac in encoding "UTF8" has no equivalent in encoding "LATIN1"`},
		{"JOHAB", "é", `character with byte sequence 0xc3 0xa9 in encoding "UTF8" has no equivalent in encoding "JOHAB"`},
		{"MULE_INTERNAL", "é", `character with byte sequence 0xc3 0xa9 in encoding "UTF8" has no equivalent in encoding "MULE_INTERNAL"`},
	} {
		if _, err := Of(c.set, "UTF8").Encode(c.text); err == nil || err.Error() != c.want {
			t.Errorf("%s: %q: %v", c.set, c.text, err)
		}
	}
	for _, c := range []struct{ set, text string }{
		{"UTF8", "\xff"}, {"SJIS", "\x95"}, {"EUC_TW", "\x8e\xa1\xa1\xa1"}, {"MULE_INTERNAL", "\x81\xe9"}, {"", "é"},
	} {
		if got, ok := Of(c.set, "UTF8").Decode(c.text, nil); ok {
			t.Errorf("%s: %q is read as %q", c.set, c.text, got)
		}
	}
}

// FuzzCharset: what can be read is written as the bytes that it was, character by character.
func FuzzCharset(f *testing.F) {
	for n := range sets {
		f.Add(n, "r\xf4le \x95\x5c\x8f\xa2\xb7\x81\x30\x81\x30'")
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		set := Of(name, "UTF8")
		ends := 0
		decoded, ok := set.Decode(text, func(d, e int) { ends++ })
		if !ok {
			return
		}
		if !utf8.ValidString(decoded) {
			t.Fatalf("%s: %q is read as %q", name, text, decoded)
		}
		again, err := set.Encode(decoded)
		if err != nil || again != text {
			t.Errorf("%s: %q became %q, and %q: %v", name, text, decoded, again, err)
		}
		if !set.bytes && set.Count(text) != utf8.RuneCountInString(decoded) {
			t.Errorf("%s: %q has %d characters, %q has %d", name, text, set.Count(text), decoded, utf8.RuneCountInString(decoded))
		}
		if strings.Count(text, "\n") < strings.Count(decoded, "\n") {
			t.Errorf("%s: %q has more lines as %q", name, text, decoded)
		}
	})
}
