package rewrite

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// corpus is the texts of the golden files.
func corpus(tb testing.TB) (list []string) {
	files, err := filepath.Glob("testdata/*.sqltest")
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		for _, c := range cases(tb, string(content)) {
			list = append(list, c.sql())
		}
	}
	return list
}

// checkRewrite holds what is true of every text, in every mode.
func checkRewrite(tb testing.TB, sql string, o Options, mode scope.Mode) {
	a, err := Analyze(sql, o)
	if err != nil {
		if a != nil || err.Fault != "" || len(err.Code) != 5 || err.Message == "" || err.Position() < 0 || err.Position() > len(sql)+1 {
			tb.Errorf("%q: %#v", sql, err)
		}
		return
	}
	checkPrefilter(tb, sql, o)
	if a == nil {
		return
	}
	res := a.Rewrite(view(tb, a, true, "sales"), mode, nil)
	if first, rest, ok := a.Leave(); ok && (!strings.HasPrefix(sql, first) || strings.Repeat(" ", utf8.RuneCountInString(first))+sql[len(first):] != rest) {
		tb.Errorf("%q is cut into %q and %q", sql, first, rest)
	}
	if mode == scope.Off && !a.SetsMode() && res.SQL != sql {
		tb.Errorf("%q: becomes %q where the mode is off", sql, res.SQL)
	}
	checkTree(tb, sql, res, o)
	if mode != scope.Off {
		checkForeign(tb, sql, res, o)
	}
	if got := res.Edits.apply(sql); got != res.SQL {
		tb.Errorf("%q: the edits make %q of it, but %q is sent", sql, got, res.SQL)
	}
	for i := 1; i < len(res.Edits); i++ {
		if res.Edits[i].start < res.Edits[i-1].end {
			tb.Errorf("%q: overlapping edits %v", sql, res.Edits)
		}
	}
	for p := 0; p < len(res.SQL)+2; p += 1 + len(res.SQL)/400 {
		if q := res.Position(p); q < 0 || q > len(sql)+1 {
			tb.Errorf("%q: position %d of %q is %d", sql, p, res.SQL, q)
		}
	}
	for _, r := range res.Refusals {
		if r.Fault != "" || r.Position() < 0 || r.Position() > len(sql)+1 || len(r.Code) != 5 {
			tb.Errorf("%q: %#v", sql, r)
		}
	}
}

// checkForeign: the text that is sent names no role of another database, and no marker but to join it.
func checkForeign(tb testing.TB, sql string, res *Result, o Options) {
	for _, a := range res.Actions {
		if a.Mode == scope.Off {
			return
		}
	}
	tree, err := pg.Parse(asRead(res.SQL, o))
	if err != nil || res.SQL == sql && res.Actions == nil {
		return
	}
	joined := 0
	var visit func(proto.Message)
	visit = func(m proto.Message) {
		switch n := m.(type) {
		case *pg.DoStmt:
			for _, d := range options(n.Args, "as") {
				for _, t := range blockTrees(d.Arg.GetString_().GetSval(), o) {
					walk(t.ProtoReflect(), visit)
				}
			}
		case *pg.CreateRoleStmt:
			joined += len(options(n.Options, "addroleto"))
		case *pg.RoleSpec:
			if foreign[n.Rolename] != "" {
				tb.Errorf("%q: the role of another database is named: %q", sql, res.SQL)
			}
			if n.Rolename == "pgscope_db_orders" {
				joined--
			}
		}
	}
	walk(tree.ProtoReflect(), visit)
	if joined < 0 {
		tb.Errorf("%q: a marker is named: %q", sql, res.SQL)
	}
}

// checkPrefilter: where the prefilter says no to the client's bytes, the text that is read names no role.
func checkPrefilter(tb testing.TB, client string, o Options) {
	if MayNameRole([]byte(client)) || MayReadRoles([]byte(client)) {
		return
	}
	sql := asRead(client, o)
	list, err := scan(sql)
	if err != nil || strings.IndexByte(sql, 0) >= 0 {
		return
	}
	if _, deep := tooDeep(list); deep {
		return
	}
	if tree, err := pg.Parse(sql); err == nil && namesRole(tree) {
		tb.Errorf("the prefilter passes over %q", sql)
	}
	if a, err := Analyze(sql, testOptions); err == nil && a != nil && a.ReadsCatalog() {
		tb.Errorf("the prefilter for queries passes over %q", sql)
	}
}

// TestMutations mixes the texts of the corpus: tokens of one put into another, cut, doubled, spelled otherwise.
func TestMutations(t *testing.T) {
	texts := corpus(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var words []string
	for _, s := range texts {
		words = append(words, strings.Fields(s)...)
	}
	words = append(words, ";", "/*;*/", "--;\n", "DBONLY", `U&"c!0075stomer" UESCAPE '!'`, "é", "$x$;$x$", "billing_customer", "pgscope_db_orders", "(", ")", ",", "''",
		`\'`, "DO", "$$", "BEGIN", "END", "EXECUTE", "IF", "THEN", "表", "sales.", ".", "user.id", "$1", "set_config('role',", "RENAME")
	for range 4000 {
		fields := strings.Fields(texts[rng.IntN(len(texts))])
		for range 1 + rng.IntN(3) {
			i := rng.IntN(len(fields) + 1)
			switch w := words[rng.IntN(len(words))]; rng.IntN(4) {
			case 0:
				fields = append(fields[:i:i], append([]string{w}, fields[i:]...)...)
			case 1:
				if i < len(fields) {
					fields[i] = w
				}
			case 2:
				if i < len(fields) {
					fields = append(fields[:i:i], fields[i+1:]...)
				}
			case 3:
				if i < len(fields) {
					fields[i] = strings.ToUpper(fields[i])
				}
			}
		}
		sql := strings.Join(fields, []string{" ", "\n", "\t/* c */ ", " -- c\n"}[rng.IntN(4)])
		o := testOptions
		o.StandardStrings = rng.IntN(4) > 0
		o.Encoding = testCharsets[rng.IntN(len(testCharsets))]
		if sql, err := o.Charset().Encode(sql); err == nil {
			checkRewrite(t, sql, o, scope.Modes[rng.IntN(len(scope.Modes))])
		}
	}
}

// testCharsets are those with characters of one, two and four bytes, with backslashes among their bytes, and none.
var testCharsets = []string{"UTF8", "LATIN1", "SJIS", "BIG5", "GB18030", "SQL_ASCII", "EUC_TW"}

func FuzzRewrite(f *testing.F) {
	for i, s := range corpus(f) {
		f.Add(s, i%2 == 0, i%3 == 0, i%5 == 0, uint8(i%256))
	}
	f.Fuzz(func(t *testing.T, sql string, explicit, newer, escapes bool, set uint8) {
		o, mode := testOptions, scope.Transparent
		if explicit {
			mode = scope.Explicit
		}
		if newer {
			o.ServerVersion = 180000
		}
		o.StandardStrings = !escapes
		o.Encoding = testCharsets[int(set)%len(testCharsets)]
		checkRewrite(t, sql, o, mode)
		checkRewrite(t, sql, o, scope.Off)
	})
}

func FuzzPrefilter(f *testing.F) {
	for _, s := range corpus(f) {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, sql string, escapes bool) {
		o := testOptions
		o.StandardStrings = !escapes
		checkPrefilter(t, sql, o)
	})
}

func FuzzLocalize(f *testing.F) {
	f.Add(`role "orders_customer" does not exist`)
	f.Add("orders_orders_customer_x\xff orders_Mixed Case")
	l := testLocalizer()
	f.Fuzz(func(t *testing.T, text string) {
		got := l.Field('M', "0LP01", "AddRoleMems", text)
		if len(got) > len(text) {
			t.Errorf("%q became longer: %q", text, got)
		}
		if !strings.Contains(text, "orders_") && got != text {
			t.Errorf("%q was changed to %q", text, got)
		}
		if got := l.Field('M', "42P01", "parserOpenTable", text); got != text {
			t.Errorf("%q was changed to %q", text, got)
		}
	})
}
