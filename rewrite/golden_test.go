package rewrite

import (
	"encoding/json"
	"flag"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

var update = flag.Bool("update", false, "write what comes out into testdata/*.sqltest")

// world is the cluster of the golden tests: database orders (prefix orders) with its roles, two roles of database
// billing, one of database a_b, and some that belong to no database.
var (
	ownRoles    = []string{"customer", "clerk", "boss", "Mixed Case", `q"uote`, "é", "select", "dbonly", "alter system", "5", "a'b\\c"}
	globalRoles = []string{"postgres", "ann", "Bob", "orders_taken"}
	foreign     = map[string]string{"billing_customer": "billing", "billing_clerk": "billing", "orders_x_y": "orders_x"}
)

// Schema sales of orders has roles, schema hr has none yet, and schema "Old One" is gone, but its role is not.
var (
	namespaces = map[string]uint32{"public": 2200, "sales": 30000, "hr": 30001}
	salesRoles = []string{"buyer", "customer", "ann", "é"}
	oldRoles   = []string{"left over"}
)

// view answers the inquiry that the proxy would make before it rewrites; path is the session's search_path.
func view(tb testing.TB, a *Analysis, enrolled bool, path ...string) *scope.View {
	tb.Helper()
	db := scope.NewDatabase(16384, "orders", "")
	ask := func(db scope.Database) *scope.View { // as the proxy does
		return answer(tb, a.Inquire(db), enrolled, path)
	}
	v := ask(db)
	if !v.Knows(a.Names()...) {
		v = ask(v.DB)
	}
	return v
}

func answer(tb testing.TB, q scope.Inquiry, enrolled bool, path []string) *scope.View {
	tb.Helper()
	const schemaComment = `{"oid":16384,"database":"orders","prefix":"orders","schema":%q,"schemaoid":%d,"version":1}`
	db := scope.NewDatabase(16384, "orders", "")
	markers := func(d scope.Database) string {
		return fmt.Sprintf(`[[%q, %s, null]]`, string(d.Marker), strconv.Quote(d.Comment()))
	}
	searched, err := json.Marshal(append([]string{}, path...))
	if err != nil {
		tb.Fatal(err)
	}
	rows := [][]string{{"database", "orders", "16384", ""}, {"session", `["orders_customer", "orders_clerk"]`, `"$user", public`, string(searched)}}
	role := func(name, markers string) {
		if slices.Contains(q.Names, scope.Cluster(name)) || name == "orders_customer" || name == "orders_clerk" {
			rows = append(rows, []string{"role", name, "false", markers})
		}
	}
	for name, oid := range namespaces {
		rows = append(rows, []string{"namespace", name, strconv.Itoa(int(oid)), "true"})
	}
	if enrolled {
		rows = append(rows, []string{"marker", "pgscope_db_orders", "16385", db.Comment()})
		for _, n := range ownRoles {
			role("orders_"+n, markers(db))
		}
		role("pgscope_db_orders", "")
		for _, s := range []struct {
			name, now string
			oid       int
			roles     []string
		}{{"sales", "sales", 30000, salesRoles}, {"Old One", "", 29000, oldRoles}} {
			marker, comment := "pgscope_schema_orders_"+s.name, fmt.Sprintf(schemaComment, s.name, s.oid)
			rows = append(rows, []string{"schema", marker, s.now, comment})
			role(marker, "")
			for _, n := range s.roles {
				role("orders_"+s.name+"_"+n, fmt.Sprintf("[[%q, %s, %q]]", marker, strconv.Quote(comment), s.now))
			}
		}
	}
	if q.Resets {
		rows = append(rows, []string{"reset", "role", "none", ""}, []string{"reset", "session_authorization", "orders_clerk", ""},
			[]string{"reset", "search_path", `"$user", public, hr`, ""})
	}
	for _, n := range globalRoles {
		role(n, "")
	}
	if slices.Contains(q.Others, "billing") {
		rows = append(rows, []string{"other", "billing", "", ""})
	}
	for n, d := range foreign {
		role(n, markers(scope.NewDatabase(20000, d, "")))
	}
	v, err := q.Answer(rows, "")
	if err != nil {
		tb.Fatal(err)
	}
	v.Columns, v.DefaultPath = testColumns, `"$user", public, "A b"`
	return v
}

// testColumns are the columns of the catalogs' relations: those with names in them, and one more.
var testColumns = func() map[string][]string {
	all := make(map[string][]string)
	for name, r := range relations {
		columns := slices.Sorted(maps.Keys(r.columns))
		for _, c := range r.roles {
			if c.oid != "" {
				columns = append(columns, c.oid)
			}
		}
		all[name] = append(columns, "other")
	}
	return all
}()

// testOptions is how most sessions read.
var testOptions = Options{ServerVersion: 150000, StandardStrings: true, Encoding: "UTF8", ServerEncoding: "UTF8"}

// TestGolden runs testdata/*.sqltest. A file is a list of cases; a case is
//
//	== name [mode=explicit] [version=180000] [strings=off] [encoding=LATIN1] [server=UTF8] [unenrolled] [path=sales,hr] [block] [switched] [deny=kind|change]
//	the client's text
//	----
//	what is sent, or how it is refused
//	----
//	what it wants
//
// In the texts <CR> stands for a carriage return, and <pg_roles> for what is put in the catalog's place. They are written
// in UTF-8, whatever encoding they are tested in.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sqltest")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata/*.sqltest", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".sqltest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			for _, c := range cases(t, string(content)) {
				got := c.run(t)
				fmt.Fprintf(&out, "== %s\n%s\n%s", strings.Join(c.header, " "), c.text, got)
				t.Run(c.header[0], func(t *testing.T) {
					if got != c.want && !*update {
						t.Errorf("%s\ngot:\n%s\nwant:\n%s", c.text, got, c.want)
					}
				})
			}
			if *update {
				if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// subsets yields what a query may read of a relation.
func subsets(columns []string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for bits := range 1 << len(columns) {
			var read []string
			for i, c := range columns {
				if bits&(1<<i) != 0 {
					read = append(read, c)
				}
			}
			if !yield(read) {
				return
			}
		}
	}
}

type goldenCase struct {
	header []string
	text   string
	want   string
}

func cases(tb testing.TB, content string) (list []goldenCase) {
	for _, part := range strings.Split("\n"+strings.TrimSuffix(content, "\n"), "\n== ")[1:] {
		header, rest, _ := strings.Cut(part, "\n")
		text, want, _ := strings.Cut(rest+"\n", "\n----\n")
		c := goldenCase{strings.Fields(header), strings.TrimSuffix(text, "\n"), "----\n" + want}
		if len(c.header) == 0 {
			tb.Fatalf("a case without a name: %q", part)
		}
		list = append(list, c)
	}
	return list
}

func (c goldenCase) sql() string { return strings.ReplaceAll(c.text, "<CR>", "\r") }

func (c goldenCase) options() (o Options, mode scope.Mode, enrolled bool, path []string, deny policy.Kind) {
	o, mode, enrolled = testOptions, scope.Transparent, true
	for _, h := range c.header[1:] {
		switch key, value, _ := strings.Cut(h, "="); key {
		case "mode":
			mode = scope.Mode(value)
		case "version":
			o.ServerVersion, _ = strconv.Atoi(value)
		case "strings":
			o.StandardStrings = value != "off"
		case "encoding":
			o.Encoding = value
		case "server":
			o.ServerEncoding = value
		case "block", "switched":
		case "unenrolled":
			enrolled = false
		case "path":
			path = strings.Split(value, ",")
		case "deny":
			deny = policy.Kind(strings.ReplaceAll(value, "-", " "))
		default:
			panic("unknown word in the header of a case: " + h)
		}
	}
	return o, mode, enrolled, path, deny
}

func (c goldenCase) run(t *testing.T) string {
	o, mode, enrolled, path, deny := c.options()
	sql, err := o.Charset().Encode(c.sql())
	if err != nil {
		t.Fatal(err)
	}
	if b := []byte(sql); !MayNameRole(b) && !MayReadRoles(b) && !MayFetch(b) && !MayDeallocate(b) {
		if a, err := Analyze(sql, o); a != nil || err != nil {
			t.Errorf("the prefilter passes over %s", sql)
		}
		return "----\nuntouched\n"
	}
	a, failure := Analyze(sql, o)
	if failure != nil {
		return "----\n" + describe(failure)
	}
	if a == nil {
		return "----\nnames no role\n"
	}
	v := view(t, a, enrolled, path...)
	v.InBlock, v.ModeSet = slices.Contains(c.header, "block"), slices.Contains(c.header, "switched")
	res := a.Rewrite(v, mode, func(a policy.Action) *scope.Error {
		if a.Kind == deny {
			return &scope.Error{Code: scope.CodeInsufficientPriv, Message: "denied"}
		}
		return nil
	})
	if deny == "change" {
		for _, c := range a.Changes() {
			a.Refuse(res, c, scope.Error{Code: scope.CodeFeatureNotSupported, Message: "not so"})
		}
	}
	checkTree(t, sql, res, o)
	sent, ok := o.Charset().Decode(res.SQL, nil)
	if !ok {
		t.Errorf("what is sent is not of the session's character set: %q", res.SQL)
	}
	var b strings.Builder
	b.WriteString("----\n")
	for name, columns := range v.Columns {
		_, table := cutSchema(name)
		if !strings.Contains(sent, "."+scope.QuoteIdent(table)+" pgscope_r") {
			continue
		}
		for read := range subsets(columns) {
			text := newLens(v.DB, v.Census).relation(name, read, "")
			sent = strings.NewReplacer(text, "<"+table+">", strings.ReplaceAll(text, "'", "''"), "<"+table+">").Replace(sent)
		}
	}
	if slices.ContainsFunc(a.statements, (*statement).long) && res.SQL != sql && len(res.Refusals) == 0 {
		b.WriteString(describeReferences(a)) // what is sent is long, and the server's to judge
	} else {
		b.WriteString(strings.ReplaceAll(sent, "\r", "<CR>") + "\n")
	}
	for _, r := range res.Refusals {
		b.WriteString(describe(r))
	}
	for _, n := range res.Notices {
		b.WriteString(strings.Replace(describe(n), "ERROR 00000", "NOTICE", 1))
	}
	if res.Enrol {
		b.WriteString("enrol\n")
	}
	for _, s := range res.Schemas {
		fmt.Fprintf(&b, "enrol schema %s with %s\n", s.Name, s.Marker)
	}
	b.WriteString("----\n")
	for _, a := range res.Actions {
		b.WriteString(describeAction(a) + "\n")
	}
	for _, c := range a.Changes() {
		b.WriteString(describeChange(c) + "\n")
	}
	if r := a.Results(); r.Any() || r.Deallocates != nil {
		fmt.Fprintf(&b, "results: typed %t, kept %t, names %v", r.Typed, r.Kept, r.Named)
		if r.Plans != nil {
			fmt.Fprintf(&b, ", plans %v", r.Plans)
		}
		if r.Deallocates != nil {
			fmt.Fprintf(&b, ", deallocates %q", r.Deallocates)
		}
		b.WriteString("\n")
	}
	return b.String()
}

var formNames = map[form]string{
	asItIs: "as it is", aclSet: "set of items",
	subselect: "relation", fixed: "instead", shortName: "short name", shortNames: "short name", shortText: "short text", shortSystem: "short name of system_user",
	clusterOID: "OID of name", clusterMember: "OID of member", clusterRegrole: "regrole of text", clusterIdent: "identifier of text", clusterRegroles: "regroles of texts",
	clusterText: "name on the server", regroleText: "text of regrole", regroleTexts: "texts of regroles", aclTexts: "texts of access list", aclText: "text of item",
	quotedName: "identifier of name", storedName: "short name, kept", storedText: "short text, kept", maybeRole: "maybe a role", definition: "definition",
	noRoleSetting: "setting, no role", newText: "name to be on the server",
}

// long tells of a statement that it has more references than a few relations in a body.
func (s *statement) long() bool {
	return s.references != nil || slices.ContainsFunc(s.bodies, func(b body) bool {
		return slices.ContainsFunc(b.statements, func(s *statement) bool {
			return slices.ContainsFunc(s.references, func(r reference) bool { return r.form != subselect && r.form != fixed })
		})
	})
}

// describeReferences lists them in the order of the text: how they are seen, what stands there, what it is called.
func describeReferences(a *Analysis) string { return describeReferencesIn(a.statements, a.source.text) }

func describeReferencesIn(list []*statement, text string) string {
	var b strings.Builder
	for _, s := range list {
		slices.SortStableFunc(s.references, func(x, y reference) int { return x.start - y.start })
		for _, r := range s.references {
			fmt.Fprintf(&b, "%s: %s", formNames[r.form], strings.Join(strings.Fields(text[r.start:r.end]), " "))
			if r.as != "" {
				fmt.Fprintf(&b, " AS %s", r.as)
			}
			if r.cast != "" {
				fmt.Fprintf(&b, " with %s", r.cast)
			}
			if r.bound {
				b.WriteString(", bound")
			}
			if r.shown {
				b.WriteString(", shown")
			}
			if r.form == subselect && r.constant != "" {
				fmt.Fprintf(&b, ", only %s", r.constant)
			}
			b.WriteString("\n")
		}
		for _, inner := range s.bodies {
			b.WriteString(describeReferencesIn(inner.statements, inner.layers[len(inner.layers)-1].text))
		}
	}
	return b.String()
}

func describeChange(c Change) string {
	s := []string{"drop database", "rename database", "copy database", "drop schema", "rename schema"}[c.Kind] + ": " + c.Name
	if c.To != "" {
		s += " -> " + c.To
	}
	if !c.Alone {
		s += ", among others"
	}
	return s
}

func describe(e *Error) string {
	s := fmt.Sprintf("ERROR %s at %d: %s\n", e.Code, e.Position(), e.Message)
	if e.Detail != "" {
		s += "DETAIL: " + e.Detail + "\n"
	}
	if e.Hint != "" {
		s += "HINT: " + e.Hint + "\n"
	}
	return s
}

func describeAction(a policy.Action) string {
	homes := []string{"missing", "own", "global", "foreign", "marker"}
	role := func(r policy.Role) string {
		if r.Cluster == "" {
			return string(r.Name)
		}
		return fmt.Sprintf("%s (%s, %s)", r.Name, r.Cluster, homes[r.Home])
	}
	s := string(a.Kind)
	if a.Object != "" {
		s += " on " + a.Object
	}
	if a.Role.Name != "" {
		s += ": " + role(a.Role)
	}
	if a.Grantee.Name != "" {
		s += " -> " + role(a.Grantee)
	}
	if a.Mode != "" {
		s += " = " + string(a.Mode)
	}
	if len(a.Attributes) > 0 {
		s += " " + strings.Join(a.Attributes, ",")
	}
	return s
}
