package keeper_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/pgscope/pgscope-proxy/keeper"
	"github.com/pgscope/pgscope-proxy/manifest"
	"github.com/pgscope/pgscope-proxy/reconcile"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is a log record of the keeper's.
type record struct {
	Level, Msg, Database, Outcome, Error, Step, Subject string
	Statements                                          int
}

// stage is a keeper that runs until the test ends. It looks when it is told to, and not by the clock, unless the test
// says so.
type stage struct {
	*keeper.Keeper
	t       *testing.T
	cluster *pgtest.Cluster
	log     *bufio.Scanner
	metrics *prometheus.Registry
	stop    func()
}

func (s *stage) until(matches func(record) bool) record {
	s.t.Helper()
	for s.log.Scan() {
		var r record
		if err := json.Unmarshal(s.log.Bytes(), &r); err != nil {
			s.t.Fatal(err)
		}
		if matches(r) {
			return r
		}
	}
	s.t.Fatal("the log ends")
	return record{}
}

// outcome waits until a database is told to be so.
func (s *stage) outcome(database string, o keeper.Outcome) record {
	s.t.Helper()
	return s.until(func(r record) bool { return r.Database == database && r.Outcome == string(o) })
}

// loader reads a manifest for a database.
func loader(c *pgtest.Cluster, path, database string) func() (keeper.Source, error) {
	return func() (keeper.Source, error) {
		m, err := manifest.Load(path, manifest.Options{Database: database})
		if err != nil {
			return keeper.Source{}, err
		}
		source := keeper.Source{Files: m.Files}
		for i := range m.Databases {
			d := &m.Databases[i]
			source.Parts = append(source.Parts, keeper.Part{Database: d.Database, Options: reconcile.Options{
				Desired: d,
				Connect: func(ctx context.Context, name string) (*pgconn.PgConn, error) {
					if name == "" {
						name = d.Database
					}
					return pgconn.Connect(ctx, c.DSN("dbname="+name))
				},
			}})
		}
		return source, nil
	}
}

func start(t *testing.T, c *pgtest.Cluster, load func() (keeper.Source, error), change ...func(*keeper.Options)) *stage {
	t.Helper()
	r, w := io.Pipe()
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg", LevelKey: "level", EncodeLevel: zapcore.LowercaseLevelEncoder}),
		zapcore.AddSync(w), zapcore.DebugLevel))
	s := &stage{t: t, cluster: c, log: bufio.NewScanner(r), metrics: prometheus.NewRegistry()}
	o := keeper.Options{Settings: keeper.Settings{Load: load, Interval: time.Hour}, Log: log, Metrics: s.metrics}
	for _, f := range change {
		f(&o)
	}
	s.Keeper = keeper.New(o)
	if err := s.Load(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		read := make(chan struct{})
		go func() { // what it still has to say must find a reader
			for s.log.Scan() {
			}
			close(read)
		}()
		<-done
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		<-read
	}
	t.Cleanup(s.stop)
	return s
}

func databases(t *testing.T, c *pgtest.Cluster, names ...string) {
	t.Helper()
	for _, name := range names {
		t.Cleanup(func() { c.DropRoles(t, "^(pgscope_db_)?"+name) })
		c.CreateDatabase(t, name)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Everything that makes the keeper look: the start, a statement, a signal, a file that is written, and one that is put in
// the place of another.
func TestRepairs(t *testing.T) {
	c := pgtest.Shared(t)
	databases(t, c, "keep_repair")
	path := filepath.Join(t.TempDir(), "access.yaml")
	write(t, path, `roles: [{name: reader}]`)
	s := start(t, c, loader(c, path, "keep_repair"))
	if r := s.outcome("keep_repair", keeper.InStep); r.Statements == 0 {
		t.Error("nothing was done")
	}
	repaired := func(what string) {
		t.Helper()
		if r := s.until(func(r record) bool { return r.Msg == "reconciled" }); r.Outcome != string(keeper.InStep) || r.Statements == 0 {
			t.Errorf("%s: %+v", what, r)
		}
	}
	c.Psql(t, "postgres", `ALTER ROLE keep_repair_reader LOGIN CREATEDB`)
	s.Nudge("another_database")
	s.Nudge("keep_repair")
	repaired("a statement")
	c.Psql(t, "postgres", `ALTER ROLE keep_repair_reader LOGIN`)
	s.Reload()
	repaired("a signal")
	write(t, path, `roles: [{name: reader, comment: it reads}]`)
	repaired("a file that is written")
	next := path + ".new"
	write(t, next, `roles: [{name: reader, comment: it still reads}]`)
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
	repaired("a file in the place of another")
	if got := c.Psql(t, "postgres", `SELECT rolcanlogin, rolcreatedb, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'keep_repair_reader'`); !strings.Contains(got, "f|f|it still reads") {
		t.Errorf("the role after the repair: %q", got)
	}

	write(t, path, `roles: [{nam: reader}]`)
	s.until(func(r record) bool { return r.Level == "error" && strings.Contains(r.Error, "access.yaml:1:10") })
	if s.Err() == nil || !strings.Contains(s.Summary(), "cannot be read") {
		t.Errorf("a broken manifest: %v, %s", s.Err(), s.Summary())
	}
	c.Psql(t, "postgres", `ALTER ROLE keep_repair_reader LOGIN`)
	s.Nudge("keep_repair")
	repaired("with the manifest of before")

	c.Psql(t, "postgres", `ALTER ROLE keep_repair_reader LOGIN`)
	s.Configure(keeper.Settings{Load: loader(c, path, "keep_repair"), Interval: time.Hour, Report: true})
	s.until(func(r record) bool { return r.Msg == "differs from the manifest" && r.Subject == "reader" }) // of before, likewise
}

// Kubernetes puts a new version of mounted files in place by turning one link.
func TestLinkedFiles(t *testing.T) {
	c := pgtest.Shared(t)
	databases(t, c, "keep_link")
	dir := t.TempDir()
	version := func(name, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "access.yaml"), text)
		if err := errors.Join(os.Symlink(name, filepath.Join(dir, "..data_tmp")),
			os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", `roles: [{name: first}]`)
	path := filepath.Join(dir, "access.yaml")
	if err := os.Symlink(filepath.Join("..data", "access.yaml"), path); err != nil {
		t.Fatal(err)
	}
	s := start(t, c, loader(c, path, "keep_link"))
	s.outcome("keep_link", keeper.InStep)
	for i, name := range []string{"second", "third"} {
		version("..1"+name, `roles: [{name: first}, {name: `+name+`}]`)
		if r := s.until(func(r record) bool { return r.Msg == "repaired" }); r.Subject != name {
			t.Errorf("turn %d: %+v", i, r)
		}
		s.outcome("keep_link", keeper.InStep)
		if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil { // as Kubernetes does
			t.Fatal(err)
		}
	}
}

// The trouble of one database, and of one role, is not that of the others, and ends when its cause does.
func TestTroubleOfOne(t *testing.T) {
	c := pgtest.Shared(t)
	databases(t, c, "keep_one", "keep_two")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "estate.yaml"), `estate: 1
databases:
  - {name: keep_missing, roles: [{name: nobody}]}
  - {name: keep_one, roles: [{name: reader}, {name: api, login: true, password: {from_file: secret}}]}
  - {name: keep_two, roles: [{name: reader}]}
`)
	s := start(t, c, loader(c, filepath.Join(dir, "estate.yaml"), ""), func(o *keeper.Options) { o.Interval = time.Second })
	failed := make(map[string]bool)
	for len(failed) < 2 {
		failed[s.until(func(r record) bool { return r.Level == "error" }).Database] = true
	}
	s.outcome("keep_two", keeper.InStep)
	if !failed["keep_missing"] || !failed["keep_one"] {
		t.Errorf("failed: %v", failed)
	}
	if got := c.Psql(t, "postgres", `SELECT count(*) FROM pg_roles WHERE rolname IN ('keep_one_reader', 'keep_one_api', 'keep_two_reader')`); !strings.HasPrefix(got, "3") {
		t.Errorf("of three roles: %s", got)
	}
	databases(t, c, "keep_missing")
	s.outcome("keep_missing", keeper.InStep)
	write(t, filepath.Join(dir, "secret"), "a password\n")
	s.outcome("keep_one", keeper.InStep)
	if err := s.Err(); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(s.metrics); err != nil || n == 0 {
		t.Errorf("%d metrics, error %v", n, err)
	}
}

// Who only reports changes nothing.
func TestReports(t *testing.T) {
	c := pgtest.Shared(t)
	databases(t, c, "keep_report")
	path := filepath.Join(t.TempDir(), "access.yaml")
	write(t, path, `roles: [{name: reader}]`)
	s := start(t, c, loader(c, path, "keep_report"), func(o *keeper.Options) { o.Report = true })
	s.until(func(r record) bool { return r.Msg == "differs from the manifest" && r.Subject == "reader" })
	if got := c.Psql(t, "postgres", `SELECT count(*) FROM pg_roles WHERE rolname = 'keep_report_reader'`); !strings.HasPrefix(got, "0") {
		t.Error("it was repaired")
	}
	s.Reload()
	s.stop()
	if s.Err() == nil || s.States()[0].Outcome != keeper.Drifted || !strings.Contains(s.Summary(), "drifted (changes to make: 2") {
		t.Errorf("%v, %s", s.Err(), s.Summary())
	}
}

// While another process applies to the cluster, this one stands by, and takes over when that one has gone.
func TestTakesOver(t *testing.T) {
	c := pgtest.Shared(t)
	databases(t, c, "keep_over")
	other, err := pgconn.Connect(t.Context(), c.DSN("dbname=postgres"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), "SELECT pg_advisory_lock(x'706773636f706552'::bigint)").ReadAll(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "access.yaml")
	write(t, path, `roles: [{name: reader}]`)
	s := start(t, c, loader(c, path, "keep_over"))
	if r := s.outcome("keep_over", keeper.Standby); r.Statements > 0 {
		t.Errorf("one that stands by has run statements: %+v", r)
	}
	if err := other.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := s.outcome("keep_over", keeper.InStep); r.Statements == 0 {
		t.Errorf("one that has taken over has run no statements: %+v", r)
	}
}

// A password that the server does not show is set once after each reading of the manifest, also where something else
// cannot be made and is tried again and again; and what is told to be repaired is what was.
func TestSetsPasswordsOnce(t *testing.T) {
	c := pgtest.Shared(t)
	databases(t, c, "keep_blind")
	c.Psql(t, "postgres", `CREATE ROLE keep_admin LOGIN CREATEROLE; GRANT CREATE ON DATABASE keep_blind TO keep_admin`)
	t.Cleanup(func() { c.Psql(t, "postgres", `DROP OWNED BY keep_admin CASCADE; DROP ROLE keep_admin`) })
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "a password\n")
	path := filepath.Join(dir, "access.yaml")
	const text = `roles:
  - {name: reader, config: {nosuch_parameter: "1"}}
  - {name: api, login: true, password: {from_file: secret}}
  - {name: late, login: true, password: {from_file: nosuch/secret}}
grants:
  - {role: reader, privileges: [SELECT], object: {type: table, schema: public, name: nosuch}}
`
	write(t, path, text)
	load := func() (keeper.Source, error) {
		source, err := loader(c, path, "keep_blind")()
		for i := range source.Parts {
			source.Parts[i].Connect = func(ctx context.Context, _ string) (*pgconn.PgConn, error) {
				return pgconn.Connect(ctx, c.DSN("dbname=keep_blind user=keep_admin"))
			}
		}
		return source, err
	}
	stored := func() string {
		return c.Psql(t, "postgres", `SELECT rolpassword FROM pg_authid WHERE rolname = 'keep_blind_api'`)
	}
	s := start(t, c, load, func(o *keeper.Options) { o.Interval = time.Second })
	var repaired []string
	failures := func(n int) { // reads the log until so many runs have failed
		t.Helper()
		for range n {
			s.until(func(r record) bool {
				if r.Msg == "repaired" {
					repaired = append(repaired, r.Step+" "+r.Subject)
				}
				return r.Level == "error"
			})
		}
	}
	failures(1)
	first := stored()
	failures(3)
	if got := stored(); got != first {
		t.Error("the password was set again, though nobody has read the manifest")
	}
	want := []string{"enrol keep_blind", "create role reader", "create role api", "create role late", "set password api"}
	if diff := cmp.Diff(want, repaired); diff != "" {
		t.Error("what was repaired:\n", diff)
	}

	repaired = nil
	write(t, path+".new", text+"# read again\n")
	if err := os.Rename(path+".new", path); err != nil { // so that it is read once
		t.Fatal(err)
	}
	s.until(func(r record) bool { return r.Msg == "repaired" && r.Step == "set password" && r.Subject == "api" })
	failures(2)
	if repaired != nil || stored() == first {
		t.Errorf("after another reading: %v", repaired)
	}

	if err := os.Mkdir(filepath.Join(dir, "nosuch"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "nosuch", "secret"), "another password\n")
	s.until(func(r record) bool { return r.Msg == "repaired" && r.Step == "set password" && r.Subject == "late" })
}
