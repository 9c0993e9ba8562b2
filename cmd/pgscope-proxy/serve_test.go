package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// runUntilEnd runs f until the test ends, and waits for it.
func runUntilEnd(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// record is a log record.
type record struct {
	Msg, Level, Listen, HTTP string
	Settings                 []string
	Step, Subject, Reason    string // of what the reconciler did
	Database                 string
}

// logReader reads the log of a proxy.
type logReader struct {
	t     *testing.T
	lines *bufio.Scanner
	drain func() // reads what nobody looks at, from now on
}

// until returns the next record with that message.
func (l logReader) until(msg string) record {
	l.t.Helper()
	for l.lines.Scan() {
		var r record
		if err := json.Unmarshal(l.lines.Bytes(), &r); err != nil {
			l.t.Fatalf("not a log record: %s", l.lines.Text())
		}
		if r.Msg == msg {
			return r
		}
	}
	l.t.Fatalf("the log ends without %q", msg)
	return record{}
}

// serveCommand runs "serve" until the test ends, and returns its log.
func serveCommand(t *testing.T, args ...string) logReader {
	t.Helper()
	log, w := io.Pipe()
	runUntilEnd(t, func(ctx context.Context) error {
		code := execute(ctx, append([]string{"serve"}, args...), io.Discard, w)
		if err := w.Close(); err != nil {
			return err
		}
		if code != exitOK {
			return fmt.Errorf("exit code %d", code)
		}
		return nil
	})
	lines := bufio.NewScanner(log)
	r := logReader{t, lines, sync.OnceFunc(func() {
		go func() {
			for lines.Scan() {
			}
		}()
	})}
	t.Cleanup(r.drain) // registered last, so run first: what is logged at the end must find a reader
	return r
}

// TestServeLogNotRead: sessions go on while nobody reads what is logged of them.
func TestServeLogNotRead(t *testing.T) {
	c := pgtest.Shared(t)
	c.CreateDatabase(t, "serve_unread")
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("rules: [{action: warn, statement: [create role]}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := serveCommand(t, "--upstream", c.DSN(), "--policy", policy, "--listen", "127.0.0.1:0", "--http-listen", "")
	through := "postgres://postgres@" + log.until("ready").Listen + "/serve_unread?sslmode=disable"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for a session that hangs
	defer cancel()
	const sessions = 3
	for range sessions {
		conn, err := pgx.Connect(ctx, through)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(ctx, "BEGIN; CREATE ROLE reader; ROLLBACK"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	for range sessions {
		log.until("the policy warns")
		log.until("session ended")
	}
}

// TestStartIsCollected: what the start has left is garbage no longer when the first client may come.
func TestStartIsCollected(t *testing.T) {
	var before, ready runtime.MemStats
	runtime.ReadMemStats(&before)
	log := serveCommand(t, "--upstream", "host=127.0.0.1", "--listen", "127.0.0.1:0", "--http-listen", "")
	log.until("ready")
	if runtime.ReadMemStats(&ready); ready.NumForcedGC == before.NumForcedGC {
		t.Error("nothing was collected")
	}
}

func TestServe(t *testing.T) {
	c := pgtest.Shared(t)
	c.CreateDatabase(t, "serve_orders")
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("rules: [{action: deny, statement: [create role]}]")
	log := serveCommand(t, "--upstream", c.DSN(), "--admin-dsn", c.DSN(), "--policy", policy,
		"--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
	ready := log.until("ready")

	for path, want := range map[string]string{"livez": "ok", "readyz": "ok", "metrics": "pgscope_sessions 0"} {
		if got := get(t, "http://"+ready.HTTP+"/"+path); !strings.Contains(got, want) {
			t.Errorf("/%s: %s", path, got)
		}
	}
	through := "postgres://postgres@" + ready.Listen + "/serve_orders?sslmode=disable"
	conn, err := pgx.Connect(t.Context(), through)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()

	const create = "BEGIN; CREATE ROLE reader; ROLLBACK"
	var refused *pgconn.PgError
	if _, err := conn.Exec(t.Context(), create); !errors.As(err, &refused) || refused.Code != "42501" {
		t.Errorf("not refused by the policy: %v", err)
	}
	if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}

	manifest := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(manifest, []byte("roles: [{name: reader}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"plan", "-f", manifest}, {"roles"}, {"init"}, {"harden"}} {
		said, code := command(t, append(args, "--dsn", through)...)
		if code != exitFailure || !strings.Contains(said, "the connection leads to the proxy, and must lead to the server behind it\n") {
			t.Errorf("%s: exit code %d, %s", args[0], code, said)
		}
	}

	write("rules: [{action: nonsense}]")
	hangup(t)
	if r := log.until("not reloaded: everything stays as it was"); r.Level != "error" {
		t.Errorf("level %s", r.Level)
	}
	write("rules: [{action: allow}]")
	hangup(t)
	log.until("reloaded")
	if _, err := conn.Exec(t.Context(), create); err != nil {
		t.Errorf("the session under way does not see the new policy: %v", err)
	}
}

// TestServerNotThere: the log says why the proxy is not ready, and when it is, each once.
func TestServerNotThere(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	log := serveCommand(t, "--upstream", c.DSN("sslmode=disable"), "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
	address := log.until("ready").HTTP
	at := "http://" + address + "/readyz"
	check := func(code int, want string) {
		t.Helper()
		var said strings.Builder
		if got := execute(t.Context(), []string{"healthcheck", "--http-listen", address}, &said, &said); got != code || said.String() != want {
			t.Errorf("healthcheck ends with %d and says %q", got, said.String())
		}
	}
	check(exitOK, "ok\n")
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := get(t, at); got != "the PostgreSQL server cannot be reached\n" {
			t.Errorf("/readyz of a proxy whose server is down: %q", got)
		}
	}
	check(exitFailure, "pgscope-proxy: not ready: the PostgreSQL server cannot be reached\n")
	if err := c.Restart(); err != nil {
		t.Fatal(err)
	}
	if got := get(t, at); got != "ok\n" {
		t.Errorf("/readyz of a proxy whose server is back: %q", got)
	}
	var said []string
	for _, want := range []string{"not ready: the server cannot be reached", "ready again: the server can be reached"} {
		if !log.lines.Scan() || !strings.Contains(log.lines.Text(), want) {
			t.Errorf("the log says %s", log.lines.Text())
		}
		said = append(said, log.lines.Text())
	}
	if !strings.Contains(said[0], "connection refused") {
		t.Errorf("no reason: %s", said[0])
	}
}

// TestStartSaysWhatWillFail: what the first client would find out, the log says at the start, and of other settings when
// they come into force.
func TestStartSaysWhatWillFail(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.Psql(t, "postgres", "CREATE ROLE poor LOGIN")
	settings := filepath.Join(t.TempDir(), "pgscope.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := func() logReader {
		t.Helper()
		return serveCommand(t, "--config", settings, "--upstream", c.DSN(), "--admin-dsn", c.DSN("user=poor"), "--listen", "127.0.0.1:0", "--http-listen", "")
	}
	said := func(l logReader, level, msg, because string) {
		t.Helper()
		if r := l.until(msg); r.Level != level || !strings.Contains(l.lines.Text(), because) {
			t.Errorf("the log says %s", l.lines.Text())
		}
	}
	const unverified = "passwords cannot be verified: who must be is not let in"

	write("audit: {syslog: \"unix:" + filepath.Join(t.TempDir(), "nobody") + "\"}\nauth-rules: [{users: [app], method: verify}]")
	log := start()
	said(log, "warn", "the syslog server cannot be reached: audit records wait until it can", "no such file")
	log.until("ready")
	said(log, "warn", unverified, "permission denied for table pg_authid")

	write("auth: passthrough")
	log = start()
	log.until("ready")
	write("auth: verify")
	hangup(t)
	said(log, "warn", unverified, `"role":"poor"`)
}

func hangup(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestServeBoundsHTTP: of the connections to the monitor those beyond the bound are closed, and there is room again when
// others are.
func TestServeBoundsHTTP(t *testing.T) {
	log := serveCommand(t, "--upstream", "host=127.0.0.1 port=1", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
	address := log.until("ready").HTTP
	connect := func() net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	answers := func(c net.Conn) bool {
		if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: proxy\r\n\r\n"); err != nil {
			return false
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err == nil
	}
	var open []net.Conn
	for c := connect(); answers(c); c = connect() {
		open = append(open, c)
	}
	if len(open) != maxMonitors {
		t.Errorf("%d connections are answered, not %d", len(open), maxMonitors)
	}
	_ = open[0].Close()
	for !answers(connect()) { // the proxy has not seen it yet
	}
}

// TestServeStopsDespiteHTTP: who has connected to the monitor and asks nothing, or not to the end, is no failure of the stop.
func TestServeStopsDespiteHTTP(t *testing.T) {
	for _, asks := range []string{"", "GET /livez HTTP/1.1\r\nHost"} {
		var c net.Conn
		t.Run(asks, func(t *testing.T) {
			log := serveCommand(t, "--upstream", "host=127.0.0.1 port=1", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
			var err error
			if c, err = new(net.Dialer).DialContext(t.Context(), "tcp", log.until("ready").HTTP); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, asks); err != nil {
				t.Fatal(err)
			}
		})
		if c != nil {
			_ = c.Close() // the other end has
		}
	}
}
