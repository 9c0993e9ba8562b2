package pgtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// helperEnv makes this test binary a process that launches a cluster and then dies in the way that the value names.
const helperEnv = "PGTEST_HELPER"

func TestMain(m *testing.M) {
	if way := os.Getenv(helperEnv); way != "" {
		launchAndDie(way)
	}
	os.Exit(m.Run())
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func query(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	var value string
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func TestStart(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var c *pgtest.Cluster
	t.Run("running", func(t *testing.T) {
		c = pgtest.Start(t, pgtest.Options{Config: map[string]string{"fsync": "on", "pgscope.text": `it's a \ text`}})
		for _, dsn := range []string{c.DSN(), c.DSN("host=" + c.SocketDir)} {
			conn := connect(t, dsn)
			for setting, want := range map[string]string{
				"full_page_writes": "off",           // the package's own
				"fsync":            "on",            // overridden
				"pgscope.text":     `it's a \ text`, // quoted
				"ssl":              "off",           //
				"data_directory":   c.SocketDir + "/data",
			} {
				if got := query(t, conn, "SHOW "+setting); got != want {
					t.Errorf("%s: got %q, want %q", setting, got, want)
				}
			}
			if got := query(t, conn, "SHOW server_version"); !strings.HasPrefix(got, c.Major) {
				t.Errorf("server_version: got %q, want major %s", got, c.Major)
			}
		}
		var st syscall.Stat_t
		if err := syscall.Stat(filepath.Join(c.SocketDir, "data", "postmaster.pid"), &st); err != nil || st.Uid == 0 {
			t.Errorf("the server runs as user %d (%v)", st.Uid, err)
		}
	})
	if _, err := os.Stat(c.SocketDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cluster's directory is still there: %v", err)
	}
	if conn, err := pgx.Connect(t.Context(), c.DSN()); err == nil {
		t.Errorf("the server still answers: %v", conn.Close(t.Context()))
	}
}

func TestHBA(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{HBA: []string{"host all app 127.0.0.1/32 scram-sha-256"}})
	if got := c.Psql(t, "postgres", "CREATE ROLE app LOGIN PASSWORD 'secret'; SELECT 'by the socket'"); got != "by the socket\n" {
		t.Errorf("got %q", got)
	}
	connect(t, c.DSN("user=app", "password=secret"))
	for _, params := range []string{"user=app password=wrong", "user=postgres"} {
		if conn, err := pgx.Connect(t.Context(), c.DSN(params)); err == nil {
			t.Errorf("%s: let in: %v", params, conn.Close(t.Context()))
		}
	}
}

func TestTLS(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{TLS: true, HBA: []string{"hostssl all app 127.0.0.1/32 cert"}})
	c.Psql(t, "postgres", "CREATE ROLE app LOGIN")
	cert, key, err := c.ClientCert(t.TempDir(), "app", "another") // the server takes the first
	if err != nil {
		t.Fatal(err)
	}
	params := []string{"user=app", "sslcert=" + cert, "sslkey=" + key}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		conn := connect(t, c.DSN(append(params, "host="+host)...))
		if got := query(t, conn, "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"); got != "/CN=app/CN=another" {
			t.Errorf("client_dn: got %q", got)
		}
	}
	if conn, err := pgx.Connect(t.Context(), c.DSN("user=app")); err == nil {
		t.Errorf("let in without a certificate: %v", conn.Close(t.Context()))
	}
}

func TestRestartAndKill(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.Psql(t, "postgres", "CREATE TABLE kept AS SELECT 1 AS n")
	port := c.Port
	for _, step := range []struct {
		name string
		end  func() error
		log  string
	}{
		{"restart", func() error { return nil }, "database system was shut down at"},
		{"stop", c.Stop, "database system was shut down at"},
		{"kill", c.Kill, "database system was interrupted"},
	} {
		conn := connect(t, c.DSN())
		seen := len(c.Log())
		if err := errors.Join(step.end(), c.Restart()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if err := conn.Ping(t.Context()); err == nil {
			t.Errorf("%s: a connection has outlived it", step.name)
		}
		if got := c.Psql(t, "postgres", "TABLE kept"); got != "1\n" || c.Port != port {
			t.Errorf("%s: got %q on port %d, want 1 on port %d", step.name, got, c.Port, port)
		}
		if log := c.Log()[seen:]; !strings.Contains(log, step.log) {
			t.Errorf("%s: log says\n%s", step.name, log)
		}
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if c.Stop() == nil || c.Kill() == nil {
		t.Error("a dead server was stopped")
	}
}

// openDir is a directory for a test's clusters that every account may enter, unlike t.TempDir.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestServerGoneByItself(t *testing.T) {
	c, err := pgtest.Launch(t.Context(), openDir(t), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(filepath.Join(c.SocketDir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var postmaster int
	if _, err := fmt.Fscan(bytes.NewReader(pid), &postmaster); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(postmaster, syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	// Whether the server is gone already or still going, Close must not hang, and nothing may remain.
	_ = c.Close()
	if _, err := os.Stat(c.SocketDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cluster's directory is still there: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	parent := openDir(t)
	_, err := pgtest.Launch(t.Context(), parent, pgtest.Options{Config: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such_setting"`) {
		t.Errorf("the server's reason is missing: %v", err)
	}
	_, err = pgtest.Launch(t.Context(), parent, pgtest.Options{InitdbArgs: []string{"--no-such-option"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("initdb's reason is missing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = pgtest.Launch(ctx, parent, pgtest.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancelled launch", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestDeath lets processes with a cluster die without a word to it.
func TestDeath(t *testing.T) {
	for _, way := range []string{"exit", "panic", "kill"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			alive, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer alive.Close()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), helperEnv+"="+way)
			cmd.ExtraFiles = []*os.File{w} // inherited by the reaper
			var stdout strings.Builder
			cmd.Stdout = &stdout
			if err := cmd.Run(); err == nil {
				t.Fatal("the helper has not died")
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if err := alive.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, alive); err != nil {
				t.Fatalf("the reaper has not ended: %v", err)
			}
			dir, dsn, _ := strings.Cut(stdout.String(), "\n")
			if !filepath.IsAbs(dir) {
				t.Fatalf("the helper said %q", stdout.String())
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the cluster's directory is still there: %v", err)
			}
			if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
				t.Errorf("the server still answers: %v", conn.Close(t.Context()))
			}
		})
	}
}

func launchAndDie(way string) {
	c, err := pgtest.Launch(context.Background(), "", pgtest.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("%s\n%s", c.SocketDir, c.DSN())
	switch way {
	case "exit":
		os.Exit(1)
	case "panic":
		go panic("in a goroutine that is no test's")
		select {}
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}

func TestShared(t *testing.T) {
	c := pgtest.Shared(t)
	if pgtest.Shared(t) != c {
		t.Error("there are two")
	}
	const name = `od"d' name`
	t.Run("database", func(t *testing.T) {
		c.CreateDatabase(t, name)
		connect(t, c.DSN(`dbname='od"d\' name'`)) // its session does not keep it from being dropped
		if got := c.Psql(t, name, "SELECT current_database()"); got != name+"\n" {
			t.Errorf("got %q", got)
		}
	})
	if got := c.Psql(t, "postgres", `SELECT count(*) FROM pg_database WHERE datname LIKE 'od"d%'`); got != "0\n" {
		t.Errorf("databases left: %s", got)
	}
}

func TestParallel(t *testing.T) {
	for range 3 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			pgtest.Start(t, pgtest.Options{}).Psql(t, "postgres", "SELECT 1")
		})
	}
}

func TestFind(t *testing.T) {
	c := pgtest.Shared(t)
	majors, err := pgtest.Versions(t.Context())
	if err != nil || !slices.Contains(majors, c.Major) {
		t.Errorf("Versions: %v %v, but %s runs", majors, err, c.Major)
	}
	t.Run("named", func(t *testing.T) {
		t.Setenv(pgtest.BinEnv, c.BinDir)
		if got := pgtest.Start(t, pgtest.Options{Version: c.Major}); got.BinDir != c.BinDir {
			t.Errorf("got %s, want %s", got.BinDir, c.BinDir)
		}
	})
	t.Run("named in error", func(t *testing.T) {
		t.Setenv(pgtest.BinEnv, t.TempDir())
		if msg := fatal(func(r *recorder) { pgtest.Start(r, pgtest.Options{}) }); !strings.Contains(msg, pgtest.BinEnv) {
			t.Errorf("the message does not say where to look: %s", msg)
		}
	})
	t.Run("unknown version", func(t *testing.T) {
		if msg := fatal(func(r *recorder) { pgtest.Start(r, pgtest.Options{Version: "9"}) }); !strings.Contains(msg, "PostgreSQL 9") {
			t.Errorf("got %q", msg)
		}
	})
}

func TestAwait(t *testing.T) {
	c := pgtest.Shared(t)
	ended := make(chan error, 1)
	conn := connect(t, c.DSN("application_name=awaited"))
	go func() {
		_, err := conn.Exec(context.WithoutCancel(t.Context()), "SELECT pg_sleep(600)")
		ended <- err
	}()
	const session = "(SELECT FROM pg_stat_activity WHERE application_name = 'awaited' AND wait_event = 'PgSleep')"
	c.Await(t, "EXISTS "+session)
	c.Psql(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'awaited'")
	c.Await(t, "NOT EXISTS "+session)
	if err := <-ended; err == nil {
		t.Error("the session was to be ended")
	}
	if msg := fatal(func(r *recorder) { c.Await(r, "1 / 0 = 1") }); !strings.Contains(msg, "division by zero") {
		t.Errorf("got %q", msg)
	}
}

func TestReload(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	for _, want := range []string{"5MB", "6MB", "7MB"} {
		c.Psql(t, "postgres", "ALTER SYSTEM SET work_mem = '"+want+"'")
		c.Reload(t)
		if got := strings.TrimSpace(c.Psql(t, "postgres", "SHOW work_mem")); got != want {
			t.Errorf("work_mem is %s, want %s", got, want)
		}
	}
}

func TestPsqlFails(t *testing.T) {
	c := pgtest.Shared(t)
	msg := fatal(func(r *recorder) { c.Psql(r, "postgres", "SELECT 1;\nSELECT 1/0;\nSELECT 2") })
	if !strings.Contains(msg, "division by zero") {
		t.Errorf("got %q", msg)
	}
}

// recorder is a test that keeps what it was told to fail with.
type recorder struct {
	testing.TB
	msg string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.msg = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// fatal returns the message that f ends its test with.
func fatal(f func(*recorder)) string {
	var r recorder
	var wg sync.WaitGroup
	wg.Go(func() { f(&r) })
	wg.Wait()
	return r.msg
}
