package rewrite

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/pgscope/pgscope-proxy/scope"
)

// TestDeepStatements: what nests or chains so deep that the parser would run out of its C stack is refused, and what
// is merely long is not.
func TestDeepStatements(t *testing.T) {
	for _, tt := range []struct {
		name, from, unit, to string
		n                    int
		code                 string // "" where the text is read
	}{
		{"operators", "CREATE POLICY p ON t TO customer USING (1", "+1", ")", 60_000, codeTooComplex},
		{"casts", "CREATE POLICY p ON t TO customer USING (a", "::int", ")", 60_000, codeTooComplex},
		{"casts with lists", "CREATE POLICY p ON t TO customer USING (a", "::numeric(1,2)", ")", 60_000, codeTooComplex},
		{"postfix", "CREATE POLICY p ON t TO customer USING (a", " ISNULL", ")", 60_000, codeTooComplex},
		{"unions", "GRANT a TO b; SELECT 1,1", " UNION SELECT 1,1", "", 60_000, codeTooComplex},
		{"joins", "GRANT a TO b; SELECT 1 FROM a", " JOIN b USING (c,d)", "", 60_000, codeTooComplex},
		{"parentheses", "CREATE POLICY p ON t TO customer USING (", "(", "", 60_000, codeTooComplex},
		{"calls", "CREATE POLICY p ON t TO customer USING (", "f(1,", "", 60_000, codeTooComplex},
		{"brackets", "CREATE POLICY p ON t TO customer USING (", "a[1,", "", 60_000, codeTooComplex},
		{"the deepest", "CREATE POLICY p ON t TO customer USING (a", " ISNULL", ")", maxDepth - 11, ""},
		{"read", "CREATE POLICY p ON t TO customer USING (1", "+1", ")", 900, ""},
		{"schemas", "GRANT SELECT ON t TO customer", ",s.r", "", 100_000, codeTooComplex},
		{"schemas in many statements", "GRANT a TO b", ";GRANT s.a TO s.b", "", 2_000, ""},
		{"schemas that are read", "GRANT SELECT ON t TO customer", ",sales.customer", "", 500, ""},
		{"a list", "GRANT SELECT ON t TO customer", ",clerk", "", 9000, ""},
		{"a long list", "GRANT SELECT ON t TO customer", ",clerk", "", 60_000, ""},
		{"statements", "SELECT 1", "; GRANT a TO b", "", 5_000, ""},
		{"words", "SELECT 1", "; SET ROLE a", "", maxWords / 4, codeTooComplex},
		{"signs", "GRANT a TO b; SELECT 1", ",1", "", maxWords / 2, codeTooComplex},
		{"words in quotes", "GRANT a TO b; SELECT '", "a, ", "'", maxWords, ""},
		{"words in a comment", "GRANT a TO b --", " a,", "", maxWords, ""},
		{"values", "GRANT a TO b; INSERT INTO t VALUES (1)", ",(1,'a')", "", 20_000, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sql := tt.from + strings.Repeat(tt.unit, tt.n) + tt.to
			a, err := Analyze(sql, testOptions)
			switch {
			case tt.code != "" && (err == nil || err.Code != tt.code):
				t.Errorf("read %v, error %v", a != nil, err)
			case tt.code == "" && (err != nil || a == nil):
				t.Errorf("read %v, error %v", a != nil, err)
			}
		})
	}
}

// TestUnreadQueries: a query that is too deep to be read passes, unless it might set a role.
func TestUnreadQueries(t *testing.T) {
	deep := strings.Repeat(" OR a", maxDepth)
	for sql, code := range map[string]string{
		"EXPLAIN SELECT 1 FROM t WHERE a" + deep:                                      "",
		"SELECT current_user FROM information_schema.tables WHERE a" + deep:           "",
		"PREPARE q AS SELECT current_user, a" + deep + "; EXECUTE q":                  "",
		"SELECT set_config('role', 'billing_customer', false) WHERE a" + deep:         codeTooComplex,
		`SELECT U&"set\005fconfig"('role', 'billing_customer', false) WHERE a` + deep: codeTooComplex,
		"SELECT current_user WHERE a" + deep + "; SET ROLE customer":                  codeTooComplex,
		"SELECT current_user WHERE a" + deep + "; DROP SCHEMA sales":                  codeTooComplex,
	} {
		a, err := Analyze(sql, testOptions)
		if got := err; a != nil || (got == nil) != (code == "") || got != nil && got.Code != code {
			t.Errorf("%.60s: read %v, error %v, want %q", sql, a != nil, err, code)
		}
	}
}

// TestFault: what the package fails at is refused by itself.
func TestFault(t *testing.T) {
	a, err := Analyze("SELECT 1; GRANT customer TO clerk; SELECT 2", testOptions)
	if err != nil {
		t.Fatal(err)
	}
	res := a.Rewrite(scope.NewDatabase(16384, "orders", "").View(), scope.Transparent, nil) // it knows none of the names
	if want := "SELECT 1; " + RefusalSQL(0) + "; SELECT 2"; res.SQL != want {
		t.Errorf("sent %q, want %q", res.SQL, want)
	}
	if r := res.Refusals; len(r) != 1 || r[0].Code != scope.CodeFeatureNotSupported || !strings.Contains(r[0].Fault, "was not asked about") {
		t.Errorf("refused by %+v", r)
	}
}

// TestTooManyRoles: what one statement wants is bounded, and what one text names.
func TestTooManyRoles(t *testing.T) {
	list := func(n int) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString("r")
			for ; i > 0; i /= 26 {
				b.WriteByte(byte('a' + i%26))
			}
		}
		return b.String()
	}
	a, err := Analyze("GRANT "+list(200)+" TO "+list(200), testOptions)
	if err != nil {
		t.Fatal(err)
	}
	res := a.Rewrite(view(t, a, true), scope.Transparent, nil)
	if len(res.Refusals) != 1 || res.Refusals[0].Code != scope.CodeProgramLimitExceeded {
		t.Errorf("refusals: %v", res.Refusals)
	}
	if _, err := Analyze("GRANT SELECT ON t TO "+list(maxNames+1), testOptions); err == nil || err.Code != scope.CodeProgramLimitExceeded {
		t.Errorf("error: %v", err)
	}
}

// TestTooManySchemas: a text cannot speak of the roles of any number of schemas.
func TestTooManySchemas(t *testing.T) {
	var b strings.Builder
	for i := range maxSchemas {
		if _, err := fmt.Fprintf(&b, "DROP ROLE s%d.r;", i); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := Analyze(b.String(), testOptions); err != nil || len(a.Names()) != maxSchemas {
		t.Errorf("error: %v", err)
	}
	if _, err := Analyze(b.String()+"DROP ROLE another.r", testOptions); err == nil || err.Code != scope.CodeProgramLimitExceeded {
		t.Errorf("error: %v", err)
	}
}

func TestNamesAreCutNowhere(t *testing.T) {
	long := strings.Repeat("é", 40) // 80 bytes: the parser keeps 62 of them
	a, err := Analyze(`GRANT SELECT ON t TO "`+long+`", `+long+`, "`+long+`x"`, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	if n := a.Names(); len(n) != 2 || n[0].Role != scope.Short(long) || n[1].Role != scope.Short(long+"x") {
		t.Errorf("names: %q", n)
	}
}

// TestAnalysisIsShared: one analysis serves many sessions at once.
func TestAnalysisIsShared(t *testing.T) {
	a, err := Analyze("CREATE ROLE newbie IN ROLE customer; DROP ROLE newbie", testOptions)
	if err != nil {
		t.Fatal(err)
	}
	want := a.Rewrite(view(t, a, true), scope.Transparent, nil).SQL
	var wg sync.WaitGroup
	for range 8 {
		v := view(t, a, true)
		wg.Go(func() {
			if got := a.Rewrite(v, scope.Transparent, nil).SQL; got != want {
				t.Errorf("got %s", got)
			}
		})
	}
	wg.Wait()
}
