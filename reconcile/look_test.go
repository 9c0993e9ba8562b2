package reconcile

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Of things that are alike one is looked at: whatever one of many differs in is found all the same.
func TestOneOfManyDiffers(t *testing.T) {
	b := newBench(t, "rec_alike")
	b.sql(`CREATE SCHEMA app; CREATE ROLE rec_alike_stranger;
SELECT format('CREATE TABLE app.t%s (id int, note text); CREATE VIEW app.v%1$s AS SELECT 1; CREATE SEQUENCE app.s%1$s; CREATE TYPE app.e%1$s AS ENUM ();
CREATE FUNCTION app.f%1$s(int) RETURNS int LANGUAGE sql AS ''SELECT 1''; CREATE FUNCTION app.f%1$s(text) RETURNS int LANGUAGE sql AS ''SELECT 1''', i) FROM generate_series(1, 20) i \gexec`)
	o := b.options(b.manifest(`
roles: [{name: reader}, {name: writer}]
schemas: [{name: app}]
grants:
  - {role: reader, privileges: [SELECT], object: {type: table, schema: app, name: "*"}}
  - {role: reader, privileges: [SELECT], object: {type: view, schema: app, name_pattern: "v1%"}}
  - {role: writer, privileges: [INSERT], object: {type: table, schema: app, name: t7}}
  - {role: writer, privileges: [UPDATE], object: {type: table, schema: app, name: t8, columns: [note]}}
  - {role: writer, privileges: [REFERENCES], object: {type: table, schema: app, name: "*", columns: [id]}}
  - {role: writer, privileges: [EXECUTE], object: {type: function, schema: app, name: "f3(text)"}}
  - {role: PUBLIC, ensure: absent, privileges: [EXECUTE], object: {type: function, schema: app, name: "*"}}
default_privileges: [{owner: writer, schema: app, grant: [{role: reader, privileges: [SELECT], on_type: table}]}]
`))
	b.apply(o)
	b.settled(o)
	for _, drift := range []string{
		`REVOKE SELECT ON app.t13 FROM rec_alike_reader`,
		`GRANT UPDATE ON app.t13 TO rec_alike_reader`,
		`REVOKE INSERT ON app.t7 FROM rec_alike_writer`,
		`GRANT INSERT ON app.t9 TO rec_alike_writer`,
		`GRANT UPDATE (id) ON app.t9 TO rec_alike_writer`,
		`REVOKE UPDATE (note) ON app.t8 FROM rec_alike_writer`,
		`GRANT UPDATE (id) ON app.t8 TO rec_alike_writer`,
		`REVOKE SELECT ON app.v12 FROM rec_alike_reader`,
		`GRANT SELECT ON app.v2 TO rec_alike_reader`,
		`GRANT USAGE ON SEQUENCE app.s5 TO rec_alike_reader`,
		`GRANT USAGE ON TYPE app.e5 TO rec_alike_reader`,
		`GRANT EXECUTE ON FUNCTION app.f3(int) TO rec_alike_writer`,
		`REVOKE EXECUTE ON FUNCTION app.f3(text) FROM rec_alike_writer`,
		`GRANT EXECUTE ON FUNCTION app.f9(int) TO PUBLIC`,
		`ALTER TABLE app.t4 OWNER TO rec_alike_stranger; REVOKE SELECT ON app.t4 FROM rec_alike_reader`,
		`CREATE TABLE app.more (id int)`,
		`ALTER DEFAULT PRIVILEGES FOR ROLE rec_alike_writer IN SCHEMA app GRANT UPDATE ON TABLES TO rec_alike_reader`,
	} {
		b.sql(drift)
		if p := b.plan(o); len(p.Changes) == 0 {
			t.Errorf("not found: %s", drift)
		}
		b.apply(o)
		b.settled(o)
	}
	b.sql(`GRANT INSERT ON app.t9 TO rec_alike_stranger`) // nobody's business
	b.settled(o)
}

// A table that somebody makes between the observation and the last look gets its privileges too.
func TestMadeMeanwhile(t *testing.T) {
	b := newBench(t, "rec_mean")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.a (id int); CREATE TABLE app.b (id int)`)
	o := b.options(b.manifest(readers))
	o.Undo = true
	made, table := false, "late"
	o.Progress = func(done, total int) {
		if done == total && !made {
			made = true
			b.sql(`CREATE TABLE app.` + table + ` (id int)`)
		}
	}
	r := b.apply(o)
	b.settled(o)
	if len(r.Made) != len(r.Plan.Changes) || len(r.Undo) != len(r.Made) {
		t.Errorf("%d changes planned, %d made, %d to undo", len(r.Plan.Changes), len(r.Made), len(r.Undo))
	}
	b.sql("BEGIN;" + strings.Join(r.Undo, ";\n") + ";COMMIT")
	if got := b.sql(`SELECT count(*) FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relacl::text ~ 'rec_mean'`); got != "0\n" {
		t.Errorf("%s tables have privileges after the undo", got)
	}

	o.Expect = b.fingerprint(b.options(b.manifest(readers))) // who agreed to one plan has not agreed to another
	made, table = false, "later"
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "still to be made") {
		t.Errorf("more than the plan was made: %v", err)
	}
}

func (b *bench) fingerprint(o Options) string {
	b.Helper()
	o.DryRun = true
	r, err := Run(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	return r.Fingerprint
}

// metered counts what goes over a connection.
type metered struct {
	net.Conn
	sent, received *atomic.Int64
}

func (m metered) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.received.Add(int64(n))
	return n, err
}

func (m metered) Write(b []byte) (int, error) {
	m.sent.Add(int64(len(b)))
	return m.Conn.Write(b)
}

// An observation behind a pooler leaves nothing in its session: the next one may be in another. A pooler does not tell
// which process has the session. What a retired role has in other databases is shut to who has no way there.
func TestObservationLeavesNothing(t *testing.T) {
	b := newBench(t, "rec_leaves")
	b.CreateDatabase(t, "rec_leaves_two")
	b.apply(b.options(b.manifest(`roles: [{name: old}]`)))
	b.Psql(t, "rec_leaves_two", `CREATE TABLE t (id int); GRANT SELECT ON t TO rec_leaves_old`)
	conn, err := pgconn.Connect(t.Context(), b.DSN("dbname=rec_leaves", "user=postgres"))
	if err != nil {
		t.Fatal(err)
	}
	pooled, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	pooled.PID++
	if conn, err = pgconn.Construct(pooled); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	o := b.options(b.manifest(`retirements: [{role: old, drop_owned: true}]`))
	state, err := Observe(t.Context(), conn, ExtentOf(o.Desired))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(state.Uses, func(u Use) bool { return u.Database == "rec_leaves_two" && u.Shut }) {
		t.Errorf("uses %+v", state.Uses)
	}
	left, err := conn.Exec(t.Context(), `SELECT name FROM pg_prepared_statements UNION ALL SELECT name FROM pg_cursors UNION ALL SELECT name FROM pg_settings WHERE source = 'session'`).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if rows := left[0].Rows; len(rows) > 0 {
		t.Errorf("left: %s", rows)
	}
}

// applyMetered is apply that tells how many bytes went over its connections.
func (b *bench) applyMetered(o Options) (r Report, sent, received int64) {
	b.Helper()
	var out, in atomic.Int64
	o.Connect = func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		config, err := pgconn.ParseConfig(b.DSN("dbname="+cmp.Or(database, b.database), "user=postgres"))
		if err != nil {
			return nil, err
		}
		dial := config.DialFunc
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return metered{conn, &out, &in}, err
		}
		return pgconn.ConnectConfig(ctx, config)
	}
	r = b.apply(o)
	return r, out.Load(), in.Load()
}

// What a run sends and receives does not grow with the objects, where it gives all of them the same or finds that they
// have it; unless somebody wants their names.
func TestAlikeAreNotNamed(t *testing.T) {
	b := newBench(t, "rec_short")
	o := b.options(b.manifest(readers))
	const digits = 100 // OIDs and the snapshot may have more of them, and many rights go in a text of their own
	run := func(tables string, undo bool) (first, again [2]int64) {
		t.Helper()
		b.sql(`DROP SCHEMA IF EXISTS app CASCADE; CREATE SCHEMA app; SELECT format('CREATE TABLE app.t%s (id int)', i) FROM generate_series(1, ` + tables + `) i \gexec`)
		o.Undo = undo
		r, sent, received := b.applyMetered(o)
		if rights := r.Made[len(r.Made)-1].Rights; strconv.Itoa(rights) != tables {
			t.Errorf("%d rights for %s tables", rights, tables)
		}
		first = [2]int64{sent, received}
		if r, sent, received = b.applyMetered(o); len(r.Made) > 0 {
			t.Fatal(r.Made)
		}
		return first, [2]int64{sent, received}
	}
	run("1", false) // makes the roles
	few, fewAgain := run("10", false)
	many, manyAgain := run("1000", false)
	undone, undoneAgain := run("1000", true)
	if many[0] > few[0]+digits || many[1] > few[1]+digits {
		t.Errorf("bytes sent and received: 10 tables %d, 1,000 %d", few, many)
	}
	if manyAgain[0] != fewAgain[0] || manyAgain[1] > fewAgain[1]+digits || undoneAgain[1] > manyAgain[1]+digits {
		t.Errorf("bytes sent and received where there is nothing to do: 10 tables %d, 1,000 %d, %d", fewAgain, manyAgain, undoneAgain)
	}
	if undone[1] < many[1]+1000 {
		t.Errorf("bytes received: %d, with the names that an undo needs %d", many[1], undone[1])
	}
}
