package yamlfile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/config/yamlfile"
)

// show prints a file as this package understands it.
func show(f *yamlfile.File) string {
	var b strings.Builder
	f.Root().Mapping(map[string]func(yamlfile.Value){
		"text": func(v yamlfile.Value) {
			if s, ok := v.Text(); ok {
				fmt.Fprintf(&b, "%d %q\n", v.Line(), s)
			}
		},
		"list": func(v yamlfile.Value) {
			for _, item := range v.List() {
				if s, ok := item.Text(); ok {
					fmt.Fprintf(&b, "%d %q\n", item.Line(), s)
				}
			}
		},
		"entries": func(v yamlfile.Value) {
			v.Entries(func(key string, v yamlfile.Value) { fmt.Fprintf(&b, "%d %q empty=%t\n", v.Line(), key, v.Empty()) })
		},
	})
	if err := f.Err(); err != nil {
		b.WriteString(err.Error() + "\n")
	}
	return b.String()
}

func TestParse(t *testing.T) {
	deep := strings.Repeat("[", 100)
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"comment", "# nothing\n", ""},
		{"byte order mark", "\uFEFFtext: a", "1 \"a\"\n"},
		{"plain", "text: a b", "1 \"a b\"\n"},
		{"quoted", `text: "a\tb"`, "1 \"a\\tb\"\n"},
		{"no truth value", "text: off", "1 \"off\"\n"},
		{"true", "text: true", "1 \"true\"\n"},
		{"as written", "text: 007", "1 \"007\"\n"},
		{"hexadecimal", "text: 0x10", "1 \"0x10\"\n"},
		{"empty text", `text: ""`, "1 \"\"\n"},
		{"block", "text: |\n  a\n  b\n", "1 \"a\\nb\\n\"\n"},
		{"null", "text: ~", "f:1:1: a value is missing; \"\" is the empty one\n"},
		{"nothing", "\ntext:\n", "f:2:1: a value is missing; \"\" is the empty one\n"},
		{"list", "list:\n  - a\n  - 1", "2 \"a\"\n3 \"1\"\n"},
		{"flow list", "list: [a,\n b]", "1 \"a\"\n2 \"b\"\n"},
		{"a list of one", "list: a", "1 \"a\"\n"},
		{"empty list", "list: []", "f:1:7: an empty list\n"},
		{"list for text", "text: [a]", "f:1:7: a list stands where one value should\n"},
		{"mapping for text", "text:\n  a: b", "f:2:3: a mapping stands where one value should\n"},
		{"text for mapping", "entries: a", "f:1:10: one value stands where keys and values should\n"},
		{"list at the root", "- a", "f:1:1: a list stands where keys and values should\n"},
		{"entries", "entries:\n  b:\n  A.x: {}\n", "2 \"b\" empty=true\n3 \"A.x\" empty=false\n"},
		{"flow entries", "entries: {b: , a: c}", "1 \"b\" empty=true\n1 \"a\" empty=false\n"},
		{"no entries", "entries:\n", ""},
		{"unknown key", "a: 1\ntext: x\nb: {}", "2 \"x\"\nf:1:1: unknown key \"a\": known are entries, list, text\n" +
			"f:3:1: unknown key \"b\": known are entries, list, text\n"},
		{"key twice", "text: a\ntext: b", "1 \"a\"\nf:2:1: key \"text\" stands here twice\n"},
		{"alias", "list: [&x a, *x]", "f:1:8: a YAML anchor, alias or merge key, which have no use here, stands where one value should\n" +
			"f:1:14: a YAML anchor, alias or merge key, which have no use here, stands where one value should\n"},
		{"tag", "text: !!str a", "f:1:7: a YAML tag, which has no use here, stands where one value should\n"},
		{"directive", "%YAML 1.2\n---\ntext: a", "f:1:1: a YAML directive, which has no use here: leave the line out\n"},
		{"percent", "text: 5%", "1 \"5%\"\n"},
		{"two documents", "text: a\n---\ntext: b", "1 \"a\"\nf:3:1: a second document; the file has one only\n"},
		{"syntax", "text: [a", "f:1:7: sequence end token ']' not found\n"},
		{"deep", "list: " + deep, "f:1:38: nested deeper than 32\n"},
		{"many keys", strings.Repeat("a:\n", 10_001), "f:10001:2: more than 10000 keys in one place\n"},
		{"large", strings.Repeat("#", 1<<20+1), "f: the file has more than 1048576 bytes\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := show(yamlfile.Parse("f", []byte(c.in))); got != c.want {
				t.Errorf("got:\n%swant:\n%s", got, c.want)
			}
		})
	}
}

// TestManyMistakes: a reload logs what is wrong in one record, which shall not be of megabytes.
func TestManyMistakes(t *testing.T) {
	f := yamlfile.Parse("f", []byte("list: ["+strings.Repeat("[],", 5000)+"]"))
	f.Root().Mapping(map[string]func(yamlfile.Value){"list": func(v yamlfile.Value) {
		for _, item := range v.List() {
			item.Errorf("wrong")
		}
	}})
	lines := strings.Split(f.Err().Error(), "\n")
	if len(lines) != 101 || lines[100] != "f: 4900 more mistakes" {
		t.Errorf("%d lines, the last %s", len(lines), lines[len(lines)-1])
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"text: a\nlist: [1, {a: b}]\nentries:\n  ? a\n  : b\n", "&a [*a]", "text: |\n x\n", "--- a\n...\n", "<<: {a: b}", "%YAML 1.2\n---\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, data []byte) { show(yamlfile.Parse("f", data)) })
}
