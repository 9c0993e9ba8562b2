package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// contended is a manifest that many work on.
const contended = `roles:
  - name: reader
  - name: writer
    comment: writes
  - name: api
    login: true
grants:
  - {role: reader, privileges: [USAGE], object: {type: schema, name: app}}
  - {role: reader, privileges: [SELECT], object: {type: table, schema: app, name: "*"}}
  - {role: writer, privileges: [INSERT, UPDATE], object: {type: table, schema: app, name: "*"}}
memberships:
  - role: reader
    members: [{name: writer}]
  - role: writer
    members: [{name: api}]
`

// noise are the statements of sessions that come through the proxies, about what the manifest declares and about what it
// has nothing to say of; and, with a %s for the prefix, those of an administrator who comes to the server directly.
var noise = struct{ proxied, direct []string }{
	proxied: []string{
		"CREATE ROLE reader", "DROP ROLE writer", "GRANT writer TO reader", "REVOKE reader FROM writer", "ALTER ROLE api NOLOGIN",
		"GRANT SELECT ON app.t1 TO reader", "REVOKE SELECT ON app.t2 FROM reader", "GRANT DELETE ON app.t1 TO writer",
		"GRANT INSERT ON app.t1, app.t2, app.t3 TO reader", "GRANT TRUNCATE ON ALL TABLES IN SCHEMA app TO reader",
		"CREATE ROLE visitor", "DROP ROLE visitor", "GRANT SELECT ON app.t1, app.t2 TO visitor", "REVOKE ALL ON app.t1, app.t2 FROM visitor",
		"BEGIN; GRANT UPDATE ON app.t1 TO visitor; GRANT SELECT ON app.t3 TO visitor; COMMIT", "ROLLBACK", "DROP OWNED BY visitor",
	},
	direct: []string{
		"ALTER ROLE %sreader CREATEDB", "ALTER ROLE %sapi NOLOGIN", "COMMENT ON ROLE %swriter IS 'drifts'", "REVOKE %[1]sreader FROM %[1]swriter",
		"GRANT %[1]sapi TO %[1]sreader", "REVOKE ALL ON ALL TABLES IN SCHEMA app FROM %sreader", "GRANT DELETE ON app.t1 TO %sreader",
		"REVOKE INSERT ON app.t2 FROM %swriter", "REVOKE USAGE ON SCHEMA app FROM %sreader", "DROP OWNED BY %sapi; DROP ROLE %[1]sapi",
	},
}

// mayHear are the errors that a session must be ready for while others work on the same: that the policy keeps to the
// manifest what is declared (42501), that a role is there, is not, or is used (42710, 42704, 2BP01), and that another was
// in the way (40001, 40P01); and 25P02, in a transaction that one of those has ended. XX000 is none.
var mayHear = []string{"42501", "42710", "42704", "2BP01", "0LP01", "40001", "40P01", "25P02"}

// TestKeepersAtOnce has two proxies keep one database at a manifest, while sessions through both make, drop and grant the
// same roles, and an administrator changes them on the server. No session hears of an internal error. When the noise
// ends, what the manifest says is there soon, and then nothing is written any more.
func TestKeepersAtOnce(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Config: map[string]string{
		"autovacuum": "off", "checkpoint_timeout": "1d", "wal_level": "minimal", "max_wal_senders": "0", // so that the server writes nothing of its own accord
	}})
	const database = "contended"
	c.CreateDatabase(t, database)
	c.Psql(t, database, "CREATE SCHEMA app; CREATE TABLE app.t1 (id int); CREATE TABLE app.t2 (id int); CREATE TABLE app.t3 (id int)")
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte(contended), 0o600); err != nil {
		t.Fatal(err)
	}
	var proxies []record
	for range 2 {
		log := serveCommand(t, "--upstream", c.DSN(), "--admin-dsn", c.DSN(), "--manifest", path, "--reconcile-database", database,
			"--reconcile-interval", "1s", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
		proxies = append(proxies, log.until("ready"))
		log.drain()
	}

	heard := make(map[string]int)
	var mu sync.Mutex
	var sessions sync.WaitGroup
	work := func(dsn string, seed uint64, statements []string, prefix string) {
		rng := rand.New(rand.NewPCG(seed, seed))
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }() // nothing is left to say
		for range 100 {
			sql := statements[rng.IntN(len(statements))]
			if prefix != "" {
				sql = fmt.Sprintf(sql, prefix)
			}
			var mode []any
			if rng.IntN(2) == 0 || strings.Contains(sql, ";") {
				mode = append(mode, pgx.QueryExecModeSimpleProtocol)
			}
			_, err := conn.Exec(t.Context(), sql, mode...)
			var refused *pgconn.PgError
			code := "00000"
			switch {
			case errors.As(err, &refused):
				code = refused.Code
			case err != nil:
				t.Errorf("%s: %v", sql, err)
				return
			}
			if prefix == "" && err != nil && !slices.Contains(mayHear, code) {
				t.Errorf("%s: %v", sql, err)
			}
			mu.Lock()
			heard[code]++
			mu.Unlock()
		}
	}
	for i := range 6 {
		sessions.Go(func() {
			work("postgres://postgres@"+proxies[i%2].Listen+"/"+database+"?sslmode=disable", uint64(i), noise.proxied, "")
		})
	}
	sessions.Go(func() { work(c.DSN("dbname="+database), 6, noise.direct, database+"_") })
	sessions.Wait()
	t.Logf("heard: %v", heard)

	// Each proxy looks again and again. What they have done when both have found everything in its place, they have done.
	state := func() (looks, statements [2]int) {
		for i, p := range proxies {
			text := get(t, "http://"+p.HTTP+"/metrics")
			looks[i], statements[i] = metric(t, text, `pgscope_reconcile_runs_total{outcome="in_step"}`), metric(t, text, "pgscope_reconcile_statements_total")
		}
		return looks, statements
	}
	const settled = 3 // looks that find nothing to do
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(time.Minute) // it only ends a test that hangs
	began, noisy := state()
	from, done := began, noisy
	for {
		looks, statements := state()
		if statements != done {
			from, done = looks, statements
		}
		if looks[0] >= from[0]+settled && looks[1] >= from[1]+settled {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no end: from %v to %v statements, in step %v to %v times", noisy, statements, began, looks)
		}
		<-tick.C
	}
	t.Logf("statements of the two proxies: %v under way, %v in the end", noisy, done)
	const all = 40 // statements that make everything that the manifest says, or take away what the noise may have left
	if after := done[0] + done[1] - noisy[0] - noisy[1]; after > all {
		t.Errorf("%d statements after the noise has ended", after)
	}
	if code := execute(t.Context(), []string{"plan", "-f", path, "--dsn", c.DSN("dbname=" + database)}, io.Discard, io.Discard); code != exitOK {
		t.Errorf("plan ends with %d", code)
	}
	next := func() string {
		return c.Psql(t, database, "SELECT pg_snapshot_xmax(pg_current_snapshot()), pg_current_wal_insert_lsn()")
	}
	before := next()
	from, _ = state()
	for looks := from; looks[0] < from[0]+settled || looks[1] < from[1]+settled; looks, _ = state() {
		<-tick.C
	}
	if after := next(); after != before {
		t.Errorf("something was written: %s, then %s", before, after)
	}
}

// metric reads a number out of what /metrics says; 0 where it is not there.
func metric(t *testing.T, text, name string) int {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// TestApplyKilled kills apply (SIGKILL) while the server is at one of its statements: another session holds what it waits
// for. Each database is as it was before, or as the manifest has it; the next apply does the rest.
func TestApplyKilled(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	names := []string{"killed_one", "killed_two"}
	for _, name := range names {
		c.CreateDatabase(t, name)
		c.Psql(t, name, "CREATE SCHEMA app; CREATE TABLE app.a (id int); CREATE TABLE app.b (id int)")
	}
	path := filepath.Join(t.TempDir(), "estate.yaml")
	const entry = `
  - name: %s
    roles: [{name: reader}, {name: writer, comment: writes}]
    grants:
      - {role: reader, privileges: [SELECT], object: {type: table, schema: app, name: a}}
      - {role: writer, privileges: [INSERT], object: {type: table, schema: app, name: b}}
    memberships: [{role: reader, members: [{name: writer}]}]`
	if err := os.WriteFile(path, []byte("estate: 1\ndatabases:"+fmt.Sprintf(entry, names[0])+fmt.Sprintf(entry, names[1])+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	access := func(database string) string {
		return c.Psql(t, database, fmt.Sprintf(`SELECT (SELECT string_agg(rolname || coalesce(': ' || shobj_description(oid, 'pg_authid'), ''), ', ' ORDER BY rolname)
				FROM pg_roles WHERE rolname ~ '^%s_'),
			(SELECT string_agg(relname || ' ' || coalesce(relacl::text, ''), ', ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'app'::regnamespace),
			(SELECT count(*) FROM pg_auth_members WHERE member = to_regrole('%[1]s_writer'))`, database))
	}
	apply := func() *exec.Cmd {
		return exec.CommandContext(context.WithoutCancel(t.Context()), program, "apply", "-f", path, "--dsn", c.DSN("application_name=apply"))
	}
	for _, stop := range []struct{ in, at string }{ // who waits for whom
		{names[0], "CREATE ROLE killed_one_writer"},
		{names[0], "GRANT SELECT ON app.b TO PUBLIC"},
		{names[1], "CREATE ROLE killed_two_reader"},
		{names[1], "GRANT SELECT ON app.a TO PUBLIC"},
	} {
		t.Run(stop.in+"/"+stop.at, func(t *testing.T) {
			before := map[string]string{names[0]: access(names[0]), names[1]: access(names[1])}
			lock, err := pgx.Connect(t.Context(), c.DSN("dbname="+stop.in))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = lock.Close(t.Context()) }() // and with it goes what it has done
			if _, err := lock.Exec(t.Context(), "BEGIN; "+stop.at, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			p := apply()
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			c.Await(t, fmt.Sprintf(`EXISTS (SELECT FROM pg_stat_activity WHERE datname = '%s' AND wait_event_type = 'Lock')`, stop.in))
			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = p.Wait() // killed
			if _, err := lock.Exec(t.Context(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
			c.Await(t, `NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'apply')`)
			killed := map[string]string{names[0]: access(names[0]), names[1]: access(names[1])}
			if out, err := apply().CombinedOutput(); err != nil {
				t.Fatalf("the next: %v\n%s", err, out)
			}
			for _, name := range names {
				if whole := access(name); killed[name] != before[name] && killed[name] != whole {
					t.Errorf("%s: before %s, whole %s, killed %s", name, before[name], whole, killed[name])
				}
				c.Psql(t, name, fmt.Sprintf("DROP OWNED BY %[1]s_reader, %[1]s_writer; DROP ROLE %[1]s_reader, %[1]s_writer", name))
			}
		})
	}
}
