// Command drivers runs a small program in each language's driver three times: directly on a server, and through the proxy
// in two databases of one cluster at once. What the program prints must be the same each time.
//
//	go run ./test/drivers [DRIVER…]
//
// Each folder beside this file is a driver: install.sh brings what it needs into $CACHE, run.sh runs it. A program
// prints "== case" before each of its cases. Where install.sh fails, the driver is reported as not run.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

const user, password = "admin", "admin's password"

// Names of databases. A program may print its own, which is then no difference.
const direct = "the_plain_database"

var scoped = [...]string{"the_first_database", "the_second_database"} // behind the proxy

func main() {
	same, err := run(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "drivers:", err)
	}
	if err != nil || !same {
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) (same bool, err error) {
	dir := filepath.Join("test", "drivers")
	if len(names) == 0 {
		if names, err = drivers(dir); err != nil {
			return false, err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return false, err
	}
	plain, err := launch(ctx, direct)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, plain.Close()) }()
	behind, err := launch(ctx, scoped[:]...)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, behind.Close()) }()
	address, stop, err := serve(ctx, behind)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, stop()) }()

	var rows strings.Builder
	rows.WriteString("driver\tcases\tresult\n")
	same = true
	for _, name := range names {
		d := driver{dir: filepath.Join(dir, name), cache: filepath.Join(cache, "pgscope-proxy", "drivers", name)}
		result, cases := d.compare(ctx, environment(plain.Host, plain.Port, direct), func(database string) []string {
			host, port, _ := strings.Cut(address, ":")
			n, _ := strconv.Atoi(port) // the listener's own
			return environment(host, n, database)
		})
		fmt.Fprintf(&rows, "%s\t%d\t%s\n", name, cases, result)
		same = same && (result == equal || strings.HasPrefix(result, notRun))
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, err = table.Write([]byte(rows.String()))
	return same, errors.Join(err, table.Flush())
}

func drivers(dir string) (names []string, err error) {
	scripts, err := filepath.Glob(filepath.Join(dir, "*", "run.sh"))
	for _, s := range scripts {
		names = append(names, filepath.Base(filepath.Dir(s)))
	}
	slices.Sort(names)
	return names, err
}

// launch starts a cluster with these databases, whose clients log in with passwords.
func launch(ctx context.Context, databases ...string) (*pgtest.Cluster, error) {
	c, err := pgtest.Launch(ctx, "", pgtest.Options{HBA: []string{"host all all 127.0.0.1/32 scram-sha-256"}})
	if err != nil {
		return nil, err
	}
	statements := []string{fmt.Sprintf("CREATE ROLE %s SUPERUSER LOGIN PASSWORD '%s'", user, strings.ReplaceAll(password, "'", "''"))}
	for _, d := range databases {
		statements = append(statements, "CREATE DATABASE "+d)
	}
	conn, err := pgx.Connect(ctx, c.DSN("host="+c.SocketDir, "sslmode=disable"))
	for _, sql := range statements {
		if err == nil {
			_, err = conn.Exec(ctx, sql)
		}
	}
	if conn != nil {
		err = errors.Join(err, conn.Close(ctx))
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// serve starts the proxy in front of a cluster.
func serve(ctx context.Context, c *pgtest.Cluster) (address string, stop func() error, err error) {
	upstream, err := proxy.NewUpstream(c.DSN("sslmode=disable"))
	if err != nil {
		return "", nil, err
	}
	admin, err := pgconn.ParseConfig(c.DSN("host="+c.SocketDir, "sslmode=disable"))
	if err != nil {
		return "", nil, err
	}
	s, err := proxy.New(proxy.Options{
		Listen: []string{"127.0.0.1:0"}, Upstream: upstream, Admin: admin, Settings: proxy.Settings{Policy: policy.Default()},
	})
	if err != nil {
		return "", nil, err
	}
	if err := s.Listen(ctx); err != nil {
		return "", nil, err
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()
	return s.Addresses()[0], func() error {
		cancel()
		return <-done
	}, nil
}

// environment is the environment by which a driver finds a server.
func environment(host string, port int, database string) []string {
	return []string{
		"PGHOST=" + host, "PGPORT=" + strconv.Itoa(port), "PGDATABASE=" + database, "PGUSER=" + user, "PGPASSWORD=" + password,
		"PGSSLMODE=disable",
	}
}

type driver struct{ dir, cache string }

const (
	equal  = "equal"
	notRun = "not run: "
)

// compare runs the driver's program directly, and then in both databases behind the proxy at once.
func (d driver) compare(ctx context.Context, direct []string, behind func(database string) []string) (result string, cases int) {
	if err := os.MkdirAll(d.cache, 0o755); err != nil { //nolint:gosec // a cache of public programs
		return err.Error(), 0
	}
	if out, err := d.script(ctx, "install.sh", nil); err != nil {
		return notRun + lastLine(out, err), 0
	}
	want, err := d.script(ctx, "run.sh", direct)
	if err != nil {
		return "fails without the proxy: " + lastLine(want, err), 0
	}
	cases = strings.Count("\n"+want, "\n== ")
	var got [len(scoped)]string
	var failed [len(scoped)]error
	var running sync.WaitGroup
	for i, database := range scoped {
		running.Go(func() { got[i], failed[i] = d.script(ctx, "run.sh", behind(database)) })
	}
	running.Wait()
	for i, database := range scoped {
		if failed[i] != nil {
			fmt.Printf("%s in %s: %v\n%s\n", d.dir, database, failed[i], got[i])
			return "fails", cases
		}
		if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(got[i], "\n")); diff != "" {
			fmt.Printf("%s in %s (-direct +proxy)\n%s\n", d.dir, database, diff)
			return "differs", cases
		}
	}
	return equal, cases
}

var databaseName = regexp.MustCompile(`\bthe_[a-z]+_database\b`)

// script runs a script in the driver's folder. Its output is what it writes, errors included.
func (d driver) script(ctx context.Context, name string, env []string) (string, error) {
	if _, err := os.Stat(filepath.Join(d.dir, name)); errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "sh", "-e", name)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), append(env, "CACHE="+d.cache, "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return databaseName.ReplaceAllString(out.String(), "DATABASE"), err
}

func lastLine(out string, err error) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return last
	}
	return err.Error()
}
