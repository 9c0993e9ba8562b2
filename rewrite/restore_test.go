package rewrite

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pgscope/pgscope-proxy/scope"
)

func TestRestore(t *testing.T) {
	a, err := Analyze(`DO $$ BEGIN CREATE ROLE é; EXECUTE 'GRANT "é" TO customer'; PERFORM 1 FROM pg_roles; END $$`, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	v := view(t, a, true)
	v.Columns = Columns{"pg_catalog.pg_roles": {"rolname"}}
	res := a.Rewrite(v, scope.Transparent, nil)
	for _, c := range []struct{ sent, at, client, wantAt string }{
		{`SQL statement "GRANT "orders_é" TO "orders_customer""`, "TO", `SQL statement "GRANT é TO customer"`, "TO"},
		{`CREATE ROLE "orders_é" IN ROLE "pgscope_db_orders"`, `"orders_é"`, "CREATE ROLE é", "é"},
		{"SELECT 1 FROM " + newLens(v.DB, nil).relation("pg_catalog.pg_roles", nil, "") + ` AS "pg_roles" nonsense`, "nonsense", "SELECT 1 FROM pg_roles nonsense", "nonsense"},
		{"SELECT 1", "1", "SELECT 1", "1"},
	} {
		mark := func(s, at string) int {
			before, _, _ := strings.Cut(s, at)
			return utf8.RuneCountInString(before) + 1
		}
		got, at := res.Restore(c.sent, mark(c.sent, c.at))
		if got != c.client || at != mark(c.client, c.wantAt) {
			t.Errorf("%s: %s at %d", c.sent, got, at)
		}
		if got, at := res.Restore(c.sent, 0); got != c.client || at != 0 {
			t.Errorf("%s without a position: %s at %d", c.sent, got, at)
		}
	}
	// Blocks may say very much.
	if n := testing.AllocsPerRun(10, func() { res.Restore("SELECT 1", 0) }); n > 3 {
		t.Errorf("%g allocations, where strings.Replacer has 3: what was put into the block is gone through for each message", n)
	}
	long := strings.Repeat(" ", maxField) + `"orders_é"`
	if got, _ := res.Restore(long, 0); got != long {
		t.Errorf("behind %d blanks: %s", maxField, got[maxField:])
	}
}
