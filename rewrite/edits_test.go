package rewrite

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pgscope/pgscope-proxy/rewrite/charset"
)

func TestEditsPosition(t *testing.T) {
	const client = "é CREATE ROLE a IN ROLE b; x"
	e := Edits{{15, 16, `"orders_é"`}, {24, 24, ` "m",`}, {25, 26, `"o_b"`}}
	sent := e.apply(client)
	if want := `é CREATE ROLE "orders_é" IN ROLE "m", "o_b"; x`; sent != want {
		t.Fatalf("sent %s", sent)
	}
	res := &Result{SQL: sent, Edits: e, source: &source{client: client, charset: charset.UTF8}}
	mark := func(s, at string) int {
		before, _, _ := strings.Cut(s, at)
		return utf8.RuneCountInString(before) + 1
	}
	for _, tt := range []struct {
		in   string // in the text that is sent
		want int    // in the client's
	}{
		{"é CREATE", 1},
		{"CREATE", mark(client, "CREATE")},
		{`"orders_é"`, mark(client, "a IN")},
		{`_é"`, mark(client, "a IN")},
		{"IN ROLE", mark(client, "IN")},
		{`"m"`, mark(client, " b;")},
		{`"o_b"`, mark(client, "b;")},
		{`b"; x`, mark(client, "b;")},
		{"; x", mark(client, "; x")},
		{"x", mark(client, "x")},
	} {
		if got := res.Position(mark(sent, tt.in)); got != tt.want {
			t.Errorf("position of %s: %d, want %d", tt.in, got, tt.want)
		}
	}
	end := utf8.RuneCountInString(sent) + 1
	if got := res.Position(end); got != utf8.RuneCountInString(client)+1 {
		t.Errorf("the end is at %d", got)
	}
	if got := res.Position(end + 100); got != utf8.RuneCountInString(client)+1 {
		t.Errorf("beyond the end is at %d", got)
	}
	if got := res.Position(0); got != 0 {
		t.Errorf("no position is %d", got)
	}
	if got := (&Result{SQL: "a"}).Position(1); got != 1 {
		t.Errorf("without edits, 1 is %d", got)
	}
}

func TestRefusedBy(t *testing.T) {
	for _, tt := range []struct {
		message string
		n       int
		ok      bool
	}{
		{"function pg_catalog.pgscope_refused_12() does not exist", 12, true},
		{"la fonction pg_catalog.pgscope_refused_0() n'existe pas", 0, true},
		{`function "pgscope_refused_" does not exist`, 0, false},
		{"pgscope_refused_99999999999999999999()", 0, false},
		{"syntax error", 0, false},
	} {
		n, ok := RefusedBy(tt.message)
		if ok != tt.ok || ok && n != tt.n {
			t.Errorf("RefusedBy(%q) = %d, %v", tt.message, n, ok)
		}
	}
	if n, ok := RefusedBy(RefusalSQL(7)); n != 7 || !ok {
		t.Errorf("RefusedBy(RefusalSQL(7)) = %d, %v", n, ok)
	}
}
