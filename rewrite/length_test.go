package rewrite

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/scope"
)

// repeated are statements, and parts of one, of which there may be many in a text: what stands before them, between them,
// behind them, and as often at the end.
var repeated = map[string]struct {
	before, each, after, ends string
	asks                      bool // its names are asked about, and no more
}{
	"roles":      {each: "CREATE ROLE a; SET ROLE customer; RESET ROLE; "},
	"refused":    {each: "DROP ROLE orders_taken; "},
	"paths":      {each: "SET search_path TO sales; GRANT buyer TO clerk; "},
	"others":     {each: "INSERT INTO t VALUES (1, 'é'); ", after: "GRANT customer TO clerk"},
	"catalogs":   {each: "SELECT rolname FROM pg_roles WHERE rolname = 'clerk'; "},
	"one query":  {before: "SELECT current_user", each: ", pg_get_userbyid(10)"},
	"one grant":  {before: "GRANT SELECT ON t TO boss", each: ", customer, clerk"},
	"block":      {before: "DO $$ BEGIN ", each: "CREATE ROLE a; EXECUTE 'DROP ROLE clerk'; RAISE NOTICE 'é'; ", after: "END $$"},
	"functions":  {each: "CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DROP ROLE ' || x; END $$; "},
	"no SQL":     {before: "GRANT a TO ", each: "foo bar; GRANT clerk TO "},
	"names":      {each: "GRANT SELECT ON t TO r{i}; "},
	"schemas":    {each: `GRANT SELECT ON t TO "s{i}.a.b.c.d.e"; `, asks: true},
	"tables":     {before: "SELECT rolname FROM pg_user", each: ", pg_roles r{i}"},
	"columns":    {before: "SELECT 1", each: ", pg_roles.oid, relacl::text, 'clerk'::regrole", after: " FROM pg_roles, pg_class"},
	"queries":    {before: "WITH ", each: "c{i} AS (SELECT rolname FROM pg_roles), ", after: "z AS (SELECT) TABLE c1"},
	"subselects": {before: "SELECT 1", each: ", (SELECT rolname FROM pg_roles WHERE oid = 10)"},
	"values":     {before: "INSERT INTO t VALUES (1)", each: ", (current_user)"},
	"copies":     {each: "COPY pg_authid (rolname) TO STDOUT; COPY (SELECT * FROM pg_roles) TO STDOUT; "},
	"policies":   {each: "CREATE POLICY p ON t TO clerk USING (owner = current_user); "},
	"databases":  {each: "ALTER DATABASE x OWNER TO clerk; CREATE SCHEMA s AUTHORIZATION clerk; DROP OWNED BY boss; "},
	"settings":   {each: "ALTER ROLE clerk IN DATABASE d{i} RESET ALL; "},
	"creates":    {each: "CREATE ROLE r{i} ROLE clerk; "},
	"modes":      {each: "SET pgscope.mode = explicit; GRANT customer TO ann; SET pgscope.mode = transparent; "},
	"strings":    {before: "DO $$ BEGIN ", each: "EXECUTE format('GRANT clerk TO %I', x); PERFORM current_user; ", after: "END $$"},
	"nested":     {before: "SELECT current_user, ", each: "least(", after: "relacl", ends: ")"},
	"plans":      {each: "EXPLAIN SELECT rolname FROM pg_roles; PREPARE p{i} AS SELECT current_user; "},
}

// BenchmarkLength reads and maps texts of some length.
func BenchmarkLength(b *testing.B) {
	for name, text := range repeated {
		for _, n := range []int{200, 400, 800} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				sql := text.before
				for i := range n {
					sql += strings.ReplaceAll(text.each, "{i}", strconv.Itoa(i))
				}
				sql += text.after + strings.Repeat(text.ends, n)
				for b.Loop() {
					a, refusal := Analyze(sql, testOptions)
					if refusal != nil {
						refusal.Position()
						continue
					}
					if text.asks {
						a.Inquire(scope.NewDatabase(16384, "orders", ""))
						continue
					}
					r := a.Rewrite(view(b, a, true), scope.Transparent, nil)
					Positions(r.Notices)
				}
			})
		}
	}
}

// TestWorkGrowsWithTheText: twice the text is twice the work, whatever there is much of. Work is how many statements of the
// program run, its own and those of the packages that look through texts for it: not a time, so not the machine's.
func TestWorkGrowsWithTheText(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "length.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, "-covermode", "count",
		"-coverpkg", "github.com/pgscope/pgscope-proxy/rewrite/...,github.com/pgscope/pgscope-proxy/scope,bytes,slices,strings,unicode/utf8", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name := range repeated {
		t.Run(name, func(t *testing.T) {
			work := func(n int) float64 {
				profile := filepath.Join(dir, "profile")
				out, err := exec.CommandContext(t.Context(), program, "-test.run", "^$", "-test.benchtime", "1x", "-test.coverprofile", profile,
					"-test.bench", fmt.Sprintf("^BenchmarkLength$/^%s$/^%d$", strings.ReplaceAll(name, " ", "_"), n)).CombinedOutput()
				if err != nil || !strings.Contains(string(out), "ns/op") {
					t.Fatalf("%v: %s", err, out)
				}
				return executed(t, profile)
			}
			a, b, c := work(200), work(400), work(800)
			if growth := (c - b) / (b - a); growth > 2.2 || growth < 1.8 {
				t.Errorf("with 200, 400 and 800 the work is %g, %g and %g: the second step is %.2f times the first", a, b, c, growth)
			}
		})
	}
}

// TestShownIsBounded: what stands for a catalog is much longer than its name, so there is an end to how many a text may
// have.
func TestShownIsBounded(t *testing.T) {
	for name, sql := range map[string]string{
		"statements": strings.Repeat("TABLE pg_roles; ", 10_000),
		"one query":  "SELECT 1" + strings.Repeat(", (TABLE pg_roles)", 10_000),
		"block":      "DO $$ BEGIN " + strings.Repeat("PERFORM rolname FROM pg_roles; ", 15_000) + "END $$",
	} {
		a, refusal := Analyze(sql, testOptions)
		if refusal != nil {
			t.Fatal(refusal)
		}
		r := a.Rewrite(view(t, a, true), scope.Transparent, nil)
		if len(r.SQL) > maxShown+len(sql)*3 || len(r.Refusals) == 0 || r.Refusals[0].Code != codeTooComplex || r.Refusals[0].Position() == 0 {
			t.Errorf("%s: %d bytes become %d, with %d refusals", name, len(sql), len(r.SQL), len(r.Refusals))
		}
	}
}

// executed counts the statements that a profile says have run. A line is file:from,to statements times.
func executed(t *testing.T, profile string) (n float64) {
	t.Helper()
	f, err := os.Open(profile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan(); lines.Scan(); { // the first says how it was counted
		fields := strings.Fields(lines.Text())
		statements, err := strconv.ParseFloat(fields[len(fields)-2], 64)
		if err != nil {
			t.Fatal(err)
		}
		times, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			t.Fatal(err)
		}
		n += statements * times
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}
