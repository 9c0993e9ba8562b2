package integration

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// refused is a statement that the proxy does not forward (the role is one of another database), and that a plain server
// refuses too (the role is not there).
const refused = "GRANT SELECT ON t TO billing_clerk"

// TestPipeline sends pipelines in one write, directly and through the proxy. "|" stands for Sync.
func TestPipeline(t *testing.T) {
	via := both(t)
	database(t, scoped(), "billing")
	via.open(t, "billing", "postgres").query("CREATE ROLE clerk")
	for _, e := range []endpoint{direct(plain()), via} {
		e.open(t, "orders", "postgres").query("CREATE TABLE t (a int PRIMARY KEY); CREATE ROLE reader")
	}
	for _, texts := range [][]string{
		// a role statement at each place
		{"CREATE ROLE x", "SELECT 1", "SELECT 2", "DROP ROLE x", "|"},
		{"SELECT 1", "CREATE ROLE x", "SELECT 2", "|", "DROP ROLE x", "|"},
		{"SELECT 1", "SELECT 2", "CREATE ROLE x", "|", "DROP ROLE x", "SELECT 3", "|"},
		{"CREATE ROLE x", "|", "GRANT reader TO x", "|", "DROP ROLE x", "|"},
		{"CREATE ROLE x", "CREATE ROLE y", "GRANT x TO y", "GRANT y TO reader", "DROP ROLE x, y", "|"},
		// a refusal at each place: what follows is skipped up to Sync, what stood before it is undone
		{refused, "|", "SELECT 1", "|"},
		{refused, "SELECT 1", "CREATE ROLE lost", "|", "DROP ROLE lost", "|", "SELECT 2", "|"},
		{"INSERT INTO t VALUES (1)", refused, "SELECT 1", "|", "SELECT * FROM t", "|"},
		{"CREATE ROLE lost", "GRANT reader TO lost", refused, "|", "DROP ROLE lost", "|", "SELECT 1", "|"},
		{"CREATE ROLE lost", refused, refused, "SELECT 1", "|", refused, "|", "|", "SELECT 1", "|"},
		// the last statement of an implicit transaction fails
		{"CREATE ROLE lost", "GRANT reader TO lost", "SELECT 1/0", "|", "DROP ROLE lost", "|"},
		{"CREATE ROLE lost", "GRANT reader TO lost", "SELECT nosuch", "CREATE ROLE more", "|", "DROP ROLE lost", "|"},
		// explicit transactions
		{"BEGIN", "CREATE ROLE lost", refused, "SELECT 1", "|", "SELECT 1", "|", "CREATE ROLE lost", "|", "COMMIT", "|", "DROP ROLE lost", "|"},
		{"BEGIN", "|", "CREATE ROLE x", "|", "SAVEPOINT a", refused, "|", "ROLLBACK TO a", "|", "GRANT reader TO x", "COMMIT", "|", "DROP ROLE x", "|"},
		{"BEGIN", refused, "|", "ROLLBACK", "CREATE ROLE x", "|", "DROP ROLE x", "|"},
		// an error of Parse, of Bind and of Execute
		{"SELECT FROM WHERE", "CREATE ROLE lost", "|", "DROP ROLE lost", "|"},
		{"CREATE ROLE reader", "CREATE ROLE lost", "|", "DROP ROLE lost", "|"},
		{"SELECT $1::int", "CREATE ROLE lost", "|", "DROP ROLE lost", "|"},
		// Syncs alone
		{"|", "|", "CREATE ROLE x", "|", "|", "DROP ROLE x", "|"},
	} {
		t.Run(strings.Join(texts, " "), func(t *testing.T) {
			var all []pgproto3.FrontendMessage
			syncs := 0
			for _, text := range texts {
				if text == "|" {
					all = append(all, &pgproto3.Sync{})
					syncs++
					continue
				}
				all = append(all, statement(text)...)
			}
			compare(t, via, func(d *dialogue) {
				d.say(all...)
				d.ready(syncs)
				withoutPositions(d)
			})
		})
	}
}

// TestQueryBehindUnsynced sends Queries behind messages of the extended protocol that no Sync follows: what of it is one
// transaction, and what stays open, is the server's own, and another in each version.
func TestQueryBehindUnsynced(t *testing.T) {
	via := both(t)
	for _, e := range []endpoint{direct(plain()), via} {
		e.open(t, "orders", "postgres").query("CREATE TABLE t (a int PRIMARY KEY); CREATE ROLE reader")
	}
	parse := func(name, sql string) pgproto3.FrontendMessage { return &pgproto3.Parse{Name: name, Query: sql} }
	query := func(sql string) pgproto3.FrontendMessage { return &pgproto3.Query{String: sql} }
	insert := statement("INSERT INTO t VALUES (1)")
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"parsed":            {parse("", "SELECT 1"), query("CREATE ROLE x"), query("DROP ROLE x")},
		"parsed by name":    {parse("a", "SELECT 1"), query("CREATE ROLE x"), query("GRANT x TO reader"), query("DROP ROLE x")},
		"bound":             {parse("b", "SELECT 1"), &pgproto3.Bind{PreparedStatement: "b"}, query("CREATE ROLE x"), query("DROP ROLE x")},
		"parsed wrongly":    {parse("", "SELECT FROM WHERE"), query("CREATE ROLE lost"), &pgproto3.Sync{}, query("DROP ROLE lost")},
		"skipped":           {query("BEGIN"), parse("", "SELECT FROM WHERE"), query("ROLLBACK; CREATE ROLE lost"), &pgproto3.Sync{}, query("ROLLBACK; DROP ROLE lost")},
		"left":              {query("BEGIN"), parse("", "SELECT 1"), query("ROLLBACK; CREATE ROLE x"), query("DROP ROLE x")},
		"in a transaction":  {query("BEGIN"), parse("", "SELECT 1"), query("CREATE ROLE lost"), query("ROLLBACK"), query("DROP ROLE lost")},
		"an error":          {parse("", "SELECT 1"), query("CREATE ROLE reader"), query("CREATE ROLE x"), query("DROP ROLE x")},
		"a role statement":  {parse("c", "CREATE ROLE x"), query("CREATE ROLE y"), &pgproto3.Bind{PreparedStatement: "c"}, &pgproto3.Execute{}, &pgproto3.Sync{}, query("DROP ROLE x, y")},
		"executed":          append(insert, query("CREATE ROLE x"), query("DROP ROLE x"), query("TABLE t"), &pgproto3.Sync{}, query("ROLLBACK"), query("DELETE FROM t")),
		"discarded":         slices.Concat(statement("RESET ROLE"), []pgproto3.FrontendMessage{query("CREATE ROLE x"), query("DROP ROLE x")}, statement("DISCARD ALL"), syncPoint()),
		"executed, failing": append(insert, query("CREATE ROLE reader"), &pgproto3.Sync{}, query("TABLE t"), query("ROLLBACK"), query("DELETE FROM t")),
	} {
		for _, patient := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, patient %t", name, patient), func(t *testing.T) {
				compare(t, via, func(d *dialogue) {
					skipping := false
					var owed int
					for _, m := range messages {
						d.say(m)
						_, isQuery := m.(*pgproto3.Query)
						_, isSync := m.(*pgproto3.Sync)
						p, isParse := m.(*pgproto3.Parse)
						skipping = !isSync && (skipping || isParse && p.Query == "SELECT FROM WHERE")
						if isSync || isQuery && !skipping {
							if owed++; patient {
								d.ready(1)
								owed = 0
							}
						}
					}
					if owed > 0 {
						d.ready(owed)
					}
					withoutPositions(d)
				})
			})
		}
	}
}

// TestLeaveTransaction leaves a transaction, one that has failed and one that has not, in a
// string that goes on to name roles.
func TestLeaveTransaction(t *testing.T) {
	via := both(t)
	for _, e := range []endpoint{direct(plain()), via} {
		e.open(t, "orders", "postgres").query("CREATE TABLE t (a int PRIMARY KEY); CREATE ROLE reader")
	}
	for _, sql := range []string{
		"ROLLBACK; CREATE ROLE x; DROP ROLE x",
		"/* é;\n*/ ABORT ; -- ;\nCREATE ROLE lost; SELECT nosuch",
		"COMMIT; GRANT SELECT (nosuch) ON t TO reader",
		"END; CREATE ROLE lost; CREATE ROLE reader; SELECT 1",
		"ROLLBACK TO a; GRANT SELECT ON t TO reader; COMMIT; REVOKE SELECT ON t FROM reader",
		"ROLLBACK TO a; CREATE ROLE lost",
		"ROLLBACK TO nosuch; CREATE ROLE lost",
		"SELECT 1; ROLLBACK; CREATE ROLE lost",
		"ROLLBACK; SELECT 1; BEGIN; CREATE ROLE lost; SELECT 1/0; ROLLBACK; SELECT 2",
		"ROLLBACK AND CHAIN; CREATE ROLE lost",
		"CREATE ROLE lost; ROLLBACK; CREATE ROLE lost",
		"ROLLBACK; DO $$ BEGIN CREATE ROLE x; DROP ROLE x; END $$; SELECT rolname FROM pg_roles WHERE rolname = 'reader'",
	} {
		for _, before := range []string{"SELECT 1/0", "SELECT 1"} {
			t.Run(before+", "+sql, func(t *testing.T) {
				compare(t, via, func(d *dialogue) {
					for _, text := range []string{"BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a", before, sql, "SELECT 3", "ROLLBACK"} {
						d.say(&query{String: text})
						d.ready(1)
					}
					d.say(&query{String: "BEGIN; " + before}, &query{String: "ROLLBACK"}, &query{String: "CREATE ROLE x; ROLLBACK; DROP ROLE x"})
					d.ready(3)
					d.say(&query{String: "BEGIN; SAVEPOINT a"}, &query{String: before}, &query{String: sql}, &query{String: "SELECT 3"}, &query{String: "ROLLBACK"})
					d.ready(5)
					for i, line := range d.lines { // where the proxy could not ask, it adds what to do
						if strings.HasPrefix(line, "ERROR 25P02: ") {
							d.lines[i], _, _ = strings.Cut(line, " | hint: ")
						}
					}
					d.say(&query{String: "ROLLBACK; TRUNCATE t; DROP ROLE IF EXISTS lost"})
					d.ready(1)
				})
			})
		}
	}
}

// withoutPositions takes the positions out of what was heard: the server tells where a text does not parse, but not where
// in it a role stands that does not exist.
func withoutPositions(d *dialogue) {
	for i := range d.lines {
		d.lines[i], _, _ = strings.Cut(d.lines[i], " | at ")
	}
}

// TestUndone looks at the cluster after an implicit transaction whose last statement failed: nothing of it is left. What
// may be left is the marker, which does not belong to the client's transaction.
func TestUndone(t *testing.T) {
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"simple":   {&query{String: "CREATE ROLE a; CREATE ROLE b LOGIN; GRANT a TO b; SELECT 1/0"}},
		"extended": pipeline(statement("CREATE ROLE a"), statement("CREATE ROLE b LOGIN"), statement("GRANT a TO b"), statement("SELECT 1/0"), syncPoint()),
		"refused":  pipeline(statement("CREATE ROLE a"), statement("GRANT a TO postgres"), statement("CREATE ROLE pg_b"), syncPoint()),
	} {
		t.Run(name, func(t *testing.T) {
			database(t, scoped(), "orders")
			before := roles(t, scoped())
			d := start(t, scoped(), permissive(t)).open(t, "orders", "postgres")
			d.say(messages...)
			d.ready(1)
			if last := d.lines[len(d.lines)-1]; last != "ready I" {
				t.Errorf("heard %q", d.lines)
			}
			after := slices.DeleteFunc(roles(t, scoped()), func(r string) bool { return r == "pgscope_db_orders" })
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("roles before (-) and after (+):\n%s", diff)
			}
		})
	}
}

// What TestPrograms does, if it is not told to do more.
var (
	programs     = flag.Uint64("programs", 200, "programs of TestPrograms")
	firstProgram = flag.Uint64("first-program", 0, "the first program of TestPrograms")
)

// TestPrograms runs random programs directly and through the proxy: pipelines, strings of statements, transactions, roles
// that come and go. Tags, SQLSTATEs, messages and statuses must be the same, and so must the roles in the end.
func TestPrograms(t *testing.T) {
	via := both(t)
	for _, c := range []*pgtest.Cluster{plain(), scoped()} {
		c.Psql(t, "orders", "CREATE TABLE given (a text); GRANT ALL ON SCHEMA public TO PUBLIC")
	}
	users := sessionUsers(t, via)
	for seed := *firstProgram; seed < *firstProgram+*programs; seed++ {
		p := newProgram(seed, major(t, scoped()) >= 18)
		user := users[seed%uint64(len(users))]
		t.Run(fmt.Sprintf("%d as %s", seed, user), func(t *testing.T) {
			compareAs(t, via, user, p.run)
			if t.Failed() {
				t.Logf("the program:\n%s", strings.Join(p.steps, "\n"))
			}
		})
		forget(t, direct(plain()))
		forget(t, via)
	}
}

// forget drops what a program may have left, as a client does: a role that is dropped behind the proxy's back, it
// may believe in for one statement more.
func forget(t *testing.T, e endpoint) {
	t.Helper()
	d := e.open(t, "orders", "postgres")
	d.query("TRUNCATE given; DROP TABLE IF EXISTS mine")
	for _, r := range append(slices.Clone(programRoles), `"an""na"`) {
		d.query("DROP OWNED BY " + r) // which fails where there is no such role
		d.query("DROP ROLE IF EXISTS " + r)
	}
	d.say(&pgproto3.Terminate{})
}

var programRoles = []string{"anna", "bert", "cora"}

// program is a session: the bytes that a client sends, and what they say.
type program struct {
	steps  []string
	pieces [][]pgproto3.FrontendMessage
	random *rand.Rand
	tidy   bool // a pipeline is ended by Sync before a simple query
}

// newProgram makes a program up. An untidy one mixes the protocols as no driver does; since version 18 a simple query
// inside a pipeline joins the pipeline's transaction, if it is not the first in it, which a question of the proxy may be.
func newProgram(seed uint64, tidy bool) *program {
	p := &program{random: rand.New(rand.NewPCG(seed, 0)), tidy: tidy}
	for range 1 + p.random.IntN(15) {
		p.step()
	}
	return p
}

func (p *program) pick(list ...string) string { return list[p.random.IntN(len(list))] }

func (p *program) role() string { return p.pick(programRoles...) }

// endsTransaction matches what ends a failed transaction. The names in the rest of such a string cannot be asked about
// before it is sent, so that it fails as a whole.
var endsTransaction = regexp.MustCompile("^(COMMIT|ROLLBACK)")

// sql returns a statement.
func (p *program) sql() string {
	switch p.random.IntN(24) {
	case 0, 1, 2:
		return "CREATE ROLE " + p.role()
	case 3, 4:
		return "DROP ROLE " + p.pick("", "", "IF EXISTS ") + p.role()
	case 5, 6:
		return "GRANT " + p.role() + " TO " + p.role()
	case 7:
		return p.pick("SET ", "SET LOCAL ") + "ROLE " + p.role()
	case 8:
		return p.pick("RESET ROLE", "SET ROLE NONE")
	case 9:
		return "SELECT " + p.pick("1", "'CREATE ROLE x'", "nosuch", "1/0")
	case 10:
		return "BEGIN"
	case 11:
		return p.pick("COMMIT", "ROLLBACK")
	case 12:
		return p.pick("SAVEPOINT s", "ROLLBACK TO s", "RELEASE s")
	case 13:
		return "ALTER ROLE " + p.role() + p.pick(" LOGIN", " CONNECTION LIMIT -5", " RENAME TO "+p.role())
	case 14, 15:
		return p.pick("SELECT current_user", "SELECT session_user, current_role", "SHOW role", "TABLE given",
			"SELECT rolname FROM pg_roles WHERE rolname IN ('anna', 'bert', 'cora') ORDER BY 1",
			"SELECT m.rolname FROM pg_auth_members JOIN pg_roles m ON m.oid = member ORDER BY 1")
	case 16:
		return "DECLARE c CURSOR " + p.pick("", "WITH HOLD ") + "FOR SELECT " + p.pick("current_user", "rolname FROM pg_roles WHERE rolname IN ('anna', 'bert') ORDER BY 1")
	case 17:
		return p.pick("FETCH c", "FETCH ALL FROM c", "CLOSE c", "CLOSE ALL")
	case 18:
		return p.pick("PREPARE q AS SELECT current_user", "EXECUTE q", "DEALLOCATE q", "DEALLOCATE ALL", "DISCARD PLANS", "DEALLOCATE "+p.pick("s1", "s2"),
			"PREPARE "+p.pick("s1", "s2")+" AS SELECT 1, current_user, relacl FROM pg_class WHERE relname = 'given'")
	case 19:
		return p.pick("GRANT SELECT ON given TO ", "REVOKE ALL ON given FROM ") + p.role()
	case 20:
		return "DO $$ BEGIN " + p.pick("CREATE ROLE ", "DROP ROLE ", "SET LOCAL ROLE ") + p.role() + "; END $$"
	case 21:
		return p.pick("SET SESSION AUTHORIZATION "+p.role(), "RESET SESSION AUTHORIZATION", "RESET ALL", "SET role TO DEFAULT", "DISCARD ALL")
	case 22:
		return p.pick(`CREATE ROLE "anna" IN ROLE U&"b\0065rt"`, `DROP ROLE /* /* " */ */ "anna"`, `GRANT anna TO -- bert
			cora`, `SELECT E'\'; CREATE ROLE anna; --'`, `SELECT $x$ DROP ROLE $$ anna $x$`, `CREATE ROLE "an""na"`, `SELECT set_config('role', 'anna', true)`)
	default:
		return p.pick("SELECT pg_has_role('anna', 'MEMBER')", "SELECT to_regrole('bert')", "REASSIGN OWNED BY anna TO bert", "DROP OWNED BY cora",
			"COMMENT ON ROLE anna IS 'x'", "CREATE TABLE mine (a int)", "ALTER TABLE mine OWNER TO "+p.role(), "DROP TABLE mine", "COPY (SELECT current_user) TO STDOUT",
			"SELECT 1 FROM given WHERE false; ", "", "SET search_path TO nosuch, public", "SET standard_conforming_strings TO "+p.pick("on", "off"))
	}
}

// step adds a message or a few.
func (p *program) step() {
	var what string
	var messages []pgproto3.FrontendMessage
	switch p.random.IntN(10) {
	case 0, 1:
		what, messages = "sync", syncPoint()
	case 2:
		what, messages = "flush", []pgproto3.FrontendMessage{&flush{}}
	case 3, 4, 5:
		texts := []string{p.sql()}
		for p.random.IntN(3) == 0 && !endsTransaction.MatchString(texts[len(texts)-1]) {
			texts = append(texts, p.sql())
		}
		what = strings.Join(texts, "; ")
		messages = []pgproto3.FrontendMessage{&query{String: what}}
		what = "simple: " + what
		if p.tidy {
			messages = pipeline(syncPoint(), messages)
			what = "sync, " + what
		}
	case 6:
		what, messages = p.message()
	case 7:
		what = p.pick("", "CREATE ROLE anna; ") + "COPY given FROM STDIN"
		messages = []pgproto3.FrontendMessage{&query{String: what}}
		what = "simple: " + what
		if p.random.IntN(2) == 0 {
			what = "COPY given FROM STDIN"
			messages = statement(what)
		}
		if p.tidy {
			messages = pipeline(syncPoint(), messages)
		}
		messages = append(messages, &copyData{Data: []byte("a\n")})
		if p.random.IntN(3) > 0 {
			messages = append(messages, &pgproto3.CopyDone{})
		} else {
			messages = append(messages, &pgproto3.CopyFail{Message: "no"})
		}
	default:
		what = p.sql()
		messages = statement(what)
	}
	p.steps = append(p.steps, what)
	p.pieces = append(p.pieces, messages)
}

// message returns a message about a named statement or portal, which need not be there.
func (p *program) message() (what string, messages []pgproto3.FrontendMessage) {
	name, portal := p.pick("s1", "s2"), p.pick("", "p1", "p2")
	var m pgproto3.FrontendMessage
	switch p.random.IntN(6) {
	case 0, 1:
		sql := p.sql()
		return "parse " + name + ": " + sql, []pgproto3.FrontendMessage{&parse{Name: name, Query: sql}}
	case 2:
		m = &bind{PreparedStatement: name, DestinationPortal: portal}
	case 3:
		m = &pgproto3.Execute{Portal: portal, MaxRows: uint32(p.random.IntN(2))}
	case 4:
		m = &pgproto3.Describe{ObjectType: p.pick("S", "P")[0], Name: p.pick(name, portal)}
	default:
		m = &pgproto3.Close{ObjectType: p.pick("S", "P")[0], Name: p.pick(name, portal)}
	}
	return fmt.Sprintf("%T %+v", m, m), []pgproto3.FrontendMessage{m}
}

// run sends the program, some of it at once, and hears it out: a ROLLBACK is always answered, and so is what follows it.
func (p *program) run(d *dialogue) {
	end := pipeline(syncPoint(), []pgproto3.FrontendMessage{&query{String: "ROLLBACK"}, &query{String: "SELECT 'the end'"}})
	b := encode(d.t, append(pipeline(p.pieces...), end...)...)
	for len(b) > 0 {
		n := min(len(b), 1+p.random.IntN(400))
		d.write(b[:n])
		b = b[n:]
	}
	if err := d.hearUntil(func(m pgproto3.BackendMessage) bool { return describe(m) == `row "the end"` }); err != nil {
		d.t.Errorf("%v after %q", err, d.lines)
	}
	withoutPositions(d)
	for i, line := range d.lines {
		if strings.HasPrefix(line, "ERROR 25P02: ") { // where the proxy could not ask, it adds what to do
			d.lines[i], _, _ = strings.Cut(line, " | hint: ")
		}
	}
}
