package integration

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What TestConcurrently does, if it is not told to do more.
var (
	concurrent = flag.Int("sessions", 6, "sessions in each database of TestConcurrently")
	steps      = flag.Int("steps", 40, "steps of each session of TestConcurrently")
	seed       = flag.Uint64("seed", 0, "what the steps of TestConcurrently depend on")
)

// member is a session of TestConcurrently. Its roles are its own, called the same in every database, so that a model tells
// what each statement must come to, whatever the others do at the same time.
type member struct {
	database string
	id       int
	conn     *pgx.Conn
	rng      *rand.Rand

	now  roster // as this session sees it
	kept roster // as the others do
	open bool   // a transaction
}

// roster is the model: roles, and the roles that each is a member of.
type roster map[string]map[string]bool

func (r roster) clone() roster {
	c := make(roster)
	for role, in := range r {
		c[role] = maps.Clone(in)
	}
	return c
}

// lines are the model as [memberships] lists the cluster.
func (r roster) lines() (all []string) {
	for _, role := range slices.Sorted(maps.Keys(r)) {
		line := role
		if in := r[role]; len(in) > 0 {
			line += " IN " + strings.Join(slices.Sorted(maps.Keys(in)), ", ")
		}
		all = append(all, line)
	}
	return all
}

func (m *member) role() string {
	return fmt.Sprintf("m%d_%s", m.id, []string{"a", "b", "c"}[m.rng.IntN(3)])
}

// step does one thing, and tells the model. It returns the statement and the SQLSTATE that it must have.
func (m *member) step() (sql, want string) {
	a, b := m.role(), m.role()
	_, hasA := m.now[a]
	_, hasB := m.now[b]
	switch n := m.rng.IntN(10); {
	case n == 0 && !m.open:
		m.open = true
		return "BEGIN", ""
	case n <= 1 && m.open:
		m.open = false
		m.now = m.kept.clone()
		return "ROLLBACK", ""
	case n <= 3 && m.open:
		m.open = false
		m.kept = m.now.clone()
		return "COMMIT", ""
	case n <= 4 && hasA:
		delete(m.now, a)
		for _, in := range m.now {
			delete(in, a)
		}
		return "DROP ROLE " + a, ""
	case n <= 5 && hasA && !hasB:
		m.now[b] = m.now[a]
		delete(m.now, a)
		for _, in := range m.now {
			if in[a] {
				delete(in, a)
				in[b] = true
			}
		}
		return "ALTER ROLE " + a + " RENAME TO " + b, ""
	case n <= 6 && hasA && hasB && a != b && !m.reaches(b, a):
		m.now[a][b] = true
		return "GRANT " + b + " TO " + a, ""
	case n <= 7 && hasA && !m.open:
		return "SET ROLE " + a + "; SELECT current_user; RESET ROLE", ""
	case !hasA:
		m.now[a] = make(map[string]bool)
		return "CREATE ROLE " + a, ""
	case !m.open: // whom only the other database has, or nobody
		return "GRANT " + a + " TO only_in_" + other(m.database), "42704"
	}
	return "SELECT 1", ""
}

// reaches reports whether a role is a member of another, itself or by others.
func (m *member) reaches(role, of string) bool {
	for in := range m.now[role] {
		if in == of || m.reaches(in, of) {
			return true
		}
	}
	return false
}

func other(database string) string {
	if database == "orders" {
		return "billing"
	}
	return "orders"
}

// run makes steps, and looks after each: at the session's own view, and that no name of the other database is in anything.
func (m *member) run(t *testing.T, n int) {
	var program []string
	for range n {
		sql, want := m.step()
		program = append(program, sql)
		if !m.open && sql != "ROLLBACK" {
			m.kept = m.now.clone()
		}
		results, err := m.conn.PgConn().Exec(t.Context(), sql).ReadAll()
		var got string
		var failed *pgconn.PgError
		if errors.As(err, &failed) {
			got = failed.Code
			if strings.Contains(failed.Message+failed.Detail, m.database+"_m") || strings.Contains(failed.Detail, other(m.database)+"_") {
				t.Errorf("%s %d: %s: an error shows a name of the cluster: %v", m.database, m.id, sql, err)
			}
		} else if err != nil {
			t.Errorf("%s %d: %s: %v", m.database, m.id, sql, err)
			return
		}
		if got != want {
			t.Errorf("%s %d: %v: want %q: %v", m.database, m.id, program, want, err)
			return
		}
		if strings.HasPrefix(sql, "SET ROLE") {
			if user := string(results[1].Rows[0][0]); !strings.HasPrefix(sql, "SET ROLE "+user+";") {
				t.Errorf("%s %d: %s: current_user is %s", m.database, m.id, sql, user)
			}
		}
		if diff := cmp.Diff(m.now.lines(), m.sees(t)); diff != "" {
			t.Errorf("%s %d: after %v: model (-) and session (+):\n%s", m.database, m.id, program, diff)
			return
		}
	}
	if _, err := m.conn.Exec(t.Context(), "COMMIT"); err != nil {
		t.Error(err)
	}
	m.kept = m.now
}

// sees asks the session for its roles, and for all roles whether one is not of this database.
func (m *member) sees(t *testing.T) (lines []string) {
	rows, err := m.conn.Query(t.Context(), `SELECT r.rolname, coalesce((
			SELECT string_agg(g.rolname, ', ' ORDER BY g.rolname) FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid
			WHERE a.member = r.oid), '')
		FROM pg_roles r WHERE r.rolname !~ '^(pg_|postgres$)' ORDER BY 1`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Error(err)
		return nil
	}
	var role, in string
	_, err = pgx.ForEachRow(rows, []any{&role, &in}, func() error {
		switch {
		case role == "only_in_"+m.database:
		case strings.HasPrefix(role, fmt.Sprintf("m%d_", m.id)):
			if in != "" {
				role += " IN " + in
			}
			lines = append(lines, role)
		case !strings.HasPrefix(role, "m"):
			t.Errorf("%s %d sees %q", m.database, m.id, role)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return lines
}

// TestConcurrently lets many sessions in two databases run random role programs at once, through two proxies. After each
// step a session's view is what its model says, and in the end so is the cluster.
func TestConcurrently(t *testing.T) {
	c := scoped()
	var members []*member
	proxies := []endpoint{start(t, c, permissive(t)), start(t, c, permissive(t), withAdmin(t, c))}
	for _, name := range []string{"orders", "billing"} {
		database(t, c, name)
		proxies[0].open(t, name, "postgres").query("CREATE ROLE only_in_" + name)
		for id := range *concurrent {
			members = append(members, &member{
				database: name, id: id, conn: proxies[id%len(proxies)].connect(t, name, "postgres"),
				rng: rand.New(rand.NewPCG(*seed<<16|uint64(id), uint64(len(name)))), now: make(roster), kept: make(roster),
			})
		}
	}
	var all sync.WaitGroup
	for _, m := range members {
		all.Go(func() { m.run(t, *steps) })
	}
	all.Wait()
	for _, name := range []string{"orders", "billing"} {
		want := []string{"only_in_" + name}
		for _, m := range members {
			if m.database == name {
				want = append(want, m.kept.lines()...)
			}
		}
		slices.Sort(want)
		got := memberships(t, c, name+"_")
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: models (-) and cluster (+):\n%s", name, diff)
		}
	}
}

// TestSnapshot looks at roles in a transaction whose snapshot is older than what became of them.
func TestSnapshot(t *testing.T) {
	database(t, scoped(), "orders")
	database(t, scoped(), "billing")
	via := start(t, scoped(), permissive(t))
	orders, billing := via.open(t, "orders", "postgres"), via.open(t, "billing", "postgres")
	orders.query("CREATE ROLE stays; CREATE ROLE goes; CREATE ROLE was; CREATE TABLE t (a int); ALTER TABLE t OWNER TO was; GRANT SELECT ON t TO was, stays")
	billing.query("CREATE ROLE alien; CREATE ROLE strange; CREATE ROLE foreigner")
	const list = "SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|postgres$)' ORDER BY 1"
	d := via.open(t, "orders", "postgres")
	d.query("BEGIN ISOLATION LEVEL REPEATABLE READ")
	want := d.query(list)
	orders.query("DROP ROLE goes; ALTER ROLE was RENAME TO now")
	billing.query("DROP ROLE alien; ALTER ROLE strange RENAME TO stranger")
	if diff := cmp.Diff(want, d.query(list)); diff != "" {
		t.Errorf("before (-) and after (+) others changed roles:\n%s", diff)
	}
	for _, sql := range []string{ // names that functions return are new, those of rows are old
		"SELECT tableowner FROM pg_tables WHERE tablename = 't'", "SELECT pg_get_userbyid(relowner) || '' FROM pg_class WHERE relname = 't'",
		"SELECT relacl::text FROM pg_class WHERE relname = 't'", "SELECT rolname FROM pg_roles WHERE rolname = 'was'",
		"SELECT string_agg(grantee, ' ' ORDER BY grantee) FROM information_schema.role_table_grants WHERE table_name = 't'",
		"SELECT m::regrole::text FROM (SELECT relowner FROM pg_class WHERE relname = 't') AS x (m)",
	} {
		if got := d.query(sql); strings.Contains(strings.Join(got, " "), "orders_") || !strings.HasPrefix(got[1], "row ") {
			t.Errorf("%s: %q", sql, got)
		}
	}
	d.query("COMMIT")
	t.Cleanup(func() { direct(scoped()).psql(t, "orders", "postgres", "DROP TABLE t") }) // before roles are dropped
	if got := d.query(list); !slices.Contains(got, `row "now"`) || slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, "_") && !isError(line) }) {
		t.Errorf("heard %q", got)
	}
}
