//go:build twins

package twins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// sourceEnv names the environment variable that says where fetch.sh has put the scripts.
const sourceEnv = "PGSCOPE_TEST_REGRESS"

// major is the version of the scripts, and of the servers that they are for.
const major = "15"

// setup makes what the scripts need; it is compared as well.
const setup = "test_setup"

// schedule are the scripts that are about roles, in the order in which they run.
var schedule = []string{
	setup,
	"create_schema", "drop_if_exists", "updatable_views", "roleattributes", "privileges", "init_privs", "security_label",
	"matview", "lock", "rowsecurity", "object_address", "password", "alter_generic", "create_role", "publication",
	"dependency", "foreign_data", "copy2", "sequence",
}

// twins are the databases that run the schedule at the same time.
var twins = []string{"ann", "bob"}

func TestTwins(t *testing.T) {
	source := os.Getenv(sourceEnv)
	if source == "" {
		t.Fatalf("%s does not say where PostgreSQL's regression scripts are: use make twins", sourceEnv)
	}
	expected := readExpected(t, "testdata/expected.txt")
	together := pgtest.Start(t, pgtest.Options{Version: major})
	via := startProxy(t, together)
	results := t.ArtifactDir()

	var running sync.WaitGroup
	outcome := make([]error, len(twins))
	for i, name := range twins {
		alone := pgtest.Start(t, pgtest.Options{Version: major})
		createDatabase(t, alone, name)
		createDatabase(t, together, name)
		running.Go(func() {
			outcome[i] = errors.Join(
				run(t.Context(), source, filepath.Join(results, "direct", name), alone.Host, alone.Port, name),
				run(t.Context(), source, filepath.Join(results, "proxy", name), "127.0.0.1", via, name))
		})
	}
	running.Wait()
	if err := errors.Join(outcome...); err != nil {
		t.Fatal(err)
	}

	var table strings.Builder
	fmt.Fprintf(&table, "script\t%s\texpected\n", strings.Join(twins, "\t"))
	for _, script := range schedule {
		table.WriteString(script)
		known := 0
		for _, name := range twins {
			lines := difference(t, filepath.Join(results, "direct", name, script+".out"), filepath.Join(results, "proxy", name, script+".out"))
			fmt.Fprintf(&table, "\t%d", len(lines))
			for _, line := range lines {
				if expected.match(script, line) {
					known++
				} else {
					t.Errorf("%s in %s: %s", script, name, line)
				}
			}
		}
		fmt.Fprintf(&table, "\t%d\n", known)
	}
	t.Logf("differing lines:\n%s\nwhat the scripts print: %s", aligned(t, table.String()), results)
	for _, e := range expected {
		if !e.seen {
			t.Errorf("testdata/expected.txt: nothing in %s is like %s any more", e.script, e.line)
		}
	}
}

// aligned lays out a table whose columns tabs divide.
func aligned(t *testing.T, table string) string {
	t.Helper()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, err := io.WriteString(w, table)
	if err := errors.Join(err, w.Flush()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// run runs the schedule as pg_regress does (psql_start_test, pg_regress_main.c; initialize_environment, pg_regress.c), and
// puts what it prints into a directory, one file a script.
func run(ctx context.Context, source, results, host string, port int, database string) error {
	if err := os.MkdirAll(results, 0o755); err != nil {
		return err
	}
	for _, script := range schedule {
		in, err := os.ReadFile(filepath.Join(source, "sql", script+".sql"))
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "psql", "-X", "-a", "-q", "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on",
			"-h", host, "-p", fmt.Sprint(port), "-U", "postgres", "-d", database)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_MESSAGES=C", "LANG=C", "PGTZ=America/Los_Angeles", "PGDATESTYLE=Postgres, MDY",
			"PGOPTIONS=-c intervalstyle=postgres_verbose", "PGAPPNAME=pg_regress/" + script, "PG_ABS_SRCDIR=" + source,
			"PG_ABS_BUILDDIR=" + results, "PG_LIBDIR=" + source, "PG_DLSUFFIX=.so",
		}
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.CombinedOutput()
		if err != nil { // errors of the scripts are not psql's
			return fmt.Errorf("%s in %s: %w\n%s", script, database, err, out)
		}
		if err := os.WriteFile(filepath.Join(results, script+".out"), out, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// createDatabase makes a database as pg_regress does (create_database).
func createDatabase(t *testing.T, c *pgtest.Cluster, name string) {
	t.Helper()
	c.CreateDatabase(t, name)
	for _, setting := range []string{
		"lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'", "bytea_output TO 'hex'",
		"timezone_abbreviations TO 'Default'",
	} {
		c.Psql(t, "postgres", fmt.Sprintf("ALTER DATABASE %s SET %s", name, setting))
	}
}

// startProxy runs a proxy that leaves everything to the server (the scripts make superusers), and returns its port.
func startProxy(t *testing.T, c *pgtest.Cluster) int {
	t.Helper()
	upstream, err := proxy.NewUpstream(c.DSN())
	if err != nil {
		t.Fatal(err)
	}
	allow, err := policy.Parse("allow.yaml", []byte("rules: [{action: allow}]"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := proxy.New(proxy.Options{
		Listen: []string{"127.0.0.1:0"}, Upstream: upstream, Settings: proxy.Settings{Policy: allow, Grace: 5 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	if err := s.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	var port int
	if _, err := fmt.Sscanf(s.Addresses()[0], "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	return port
}

// difference returns the lines that only one of two files has: "-" before those of the first, "+" before the second's.
func difference(t *testing.T, direct, proxied string) (lines []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "diff", "--unchanged-line-format=", "--old-line-format=-%L", "--new-line-format=+%L",
		direct, proxied).Output()
	if ended := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &ended) || ended.ExitCode() != 1) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	return lines
}
