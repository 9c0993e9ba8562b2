package reconcile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

func TestParseACL(t *testing.T) {
	for _, test := range []struct {
		text string
		want []Entry
	}{
		{`{}`, nil},
		{`{=r/owner}`, []Entry{{"", "owner", access.Select, 0}}},
		{`{a=ar*w/owner,=U/b}`, []Entry{
			{"a", "owner", access.Insert | access.Select | access.Update, access.Select}, {"", "b", access.Usage, 0},
		}},
		{`{"\"a b\"=X/\"c,\"\"d\\\""}`, []Entry{{"a b", `c,"d\`, access.Execute, 0}}},
		{`{16384=r/16385}`, []Entry{{"16384", "16385", access.Select, 0}}},
		{`{a=/b}`, []Entry{{"a", "b", 0, 0}}},
	} {
		got, err := make(interner).parse([]byte(test.text))
		if err != nil || !got.Stored {
			t.Errorf("%s: %v", test.text, err)
		}
		if d := cmp.Diff(test.want, got.Entries); d != "" {
			t.Errorf("%s:\n%s", test.text, d)
		}
	}
	for _, text := range []string{``, `{`, `}`, `{a}`, `{a=r}`, `{a=r/}`, `{a=q/b}`, `{a=*/b}`, `{a=r**/b}`, `{a=r/b,}`, `{,a=r/b}`, `{"a=r/b}`, `{"\"a=r/b"}`, `{a=r/b/c}`, `{"a=r/b"x}`, `{"a=r/b\`} {
		if got, err := make(interner).parse([]byte(text)); err == nil {
			t.Errorf("%s is %v", text, got)
		}
	}
	if got, err := make(interner).parse(nil); err != nil || got.Stored {
		t.Errorf("NULL is %v, %v", got, err)
	}
}

// Names as the server itself writes them.
func TestACLOfServer(t *testing.T) {
	b := newBench(t, "rec_acl")
	names := []string{`plain`, `with space`, `a"b`, `a\b`, `a,b`, `{a}`, `a=b/c`, `ünïcode`, `'`, `1`, `"`, `\"`, `PUBLIC`}
	for _, name := range names {
		c := scope.Cluster("rec_acl" + name)
		b.sql(fmt.Sprintf(`CREATE ROLE %s; CREATE TABLE IF NOT EXISTS t (id int); GRANT SELECT ON t TO %[1]s WITH GRANT OPTION; SET ROLE %[1]s; GRANT SELECT ON t TO PUBLIC`, c.Ident()))
		text := strings.TrimSuffix(b.sql(`SELECT relacl FROM pg_class WHERE relname = 't'`), "\n")
		acl, err := make(interner).parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		given, giving := false, false
		for _, e := range acl.Entries {
			given = given || e.Grantee == c && e.Options == access.Select
			giving = giving || e.Grantor == c && e.Grantee == ""
		}
		if !given || !giving {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func FuzzParseACL(f *testing.F) {
	f.Add([]byte(`{a=ar*w/owner,"\"b c\"=U/b"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		acl, err := make(interner).parse(text)
		if err == nil && len(acl.Entries) > len(text) {
			t.Errorf("%d entries in %d bytes", len(acl.Entries), len(text))
		}
	})
}
