package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// process is the program, started as a service manager would.
type process struct {
	*exec.Cmd
	log logReader
	t   *testing.T
}

// start runs a command of which the last is the program, until it is stopped or the test ends.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, logReader{t: t, lines: bufio.NewScanner(stderr)}, t}
	t.Cleanup(p.stop)
	return p
}

// stop ends the process as a service manager does, and waits until it has ended well.
func (p *process) stop() {
	p.t.Helper()
	if p.ProcessState != nil {
		return
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	for p.log.lines.Scan() { // to the end of its log
	}
	if err := p.Wait(); err != nil {
		p.t.Error(err)
	}
}

// TestNothingToldIsLost has clients write while something happens to the proxy or the server, and compares what they were
// told to be committed with what the server has. -v shows the counts.
func TestNothingToldIsLost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pgscope.yaml")
	configure := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		ends  string // with which SQLSTATE sessions may end; empty for none
		event func(h *history)
	}{
		{"reload", "", func(h *history) {
			configure("log-level: warn\nmax-connections: 100")
			if err := h.proxy.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}},
		{"drain, and another proxy in its place", "57P01", func(h *history) {
			h.proxy.stop()
			h.serve(h.address).log.until("ready")
		}},
		{"upgrade beside the old one", "57P01", func(h *history) {
			old := h.proxy
			h.serve(h.address).log.until("ready")
			h.writes(500)
			old.stop()
		}},
		{"failover", "08006", func(h *history) {
			configure("log-level: error") // what logins come to until there is a primary, nobody reads here
			if err := h.proxy.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			if err := h.server.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := h.standby.Promote(); err != nil {
				t.Fatal(err)
			}
			h.server = h.standby
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			configure("log-level: info")
			h := newHistory(t, file)
			h.writes(500)
			c.event(h)
			h.writes(500)
			h.check(c.ends)
		})
	}
}

// history is of clients that write rows through a proxy, each in a transaction of its own.
type history struct {
	t               *testing.T
	file            string // settings
	server, standby *pgtest.Cluster
	proxy           *process // the one that was started last
	address, http   string

	wg     sync.WaitGroup
	over   atomic.Bool
	logins atomic.Int64
	told   chan row
	rows   map[row]bool // that were told to be there
	mu     sync.Mutex
	ends   map[string]int // of sessions, by SQLSTATE
}

type row struct{ Client, Number int }

const writers = 4

// newHistory begins one, on a server whose standby has what is committed.
func newHistory(t *testing.T, file string) *history {
	h := &history{t: t, file: file, server: pgtest.Start(t, pgtest.Options{}), told: make(chan row), rows: make(map[row]bool), ends: make(map[string]int)}
	h.server.Psql(t, "postgres", "CREATE TABLE written (client int, number int)")
	h.standby = h.server.Standby(t)
	h.server.Psql(t, "postgres", "ALTER SYSTEM SET synchronous_commit = on; ALTER SYSTEM SET synchronous_standby_names = '*'")
	h.server.Reload(t)
	h.address, h.http = "127.0.0.1:0", "127.0.0.1:0"
	ready := h.serve(h.address).log.until("ready")
	h.address, h.http = ready.Listen, ready.HTTP
	for client := range writers {
		h.wg.Go(func() { h.write(client) })
	}
	t.Cleanup(func() { h.over.Store(true) })
	return h
}

func (h *history) serve(listen string) *process {
	upstream := fmt.Sprintf("host=%s,%s port=%d,%d user=postgres sslmode=disable target_session_attrs=read-write",
		h.server.Host, h.standby.Host, h.server.Port, h.standby.Port)
	h.proxy = start(h.t, exec.CommandContext(context.WithoutCancel(h.t.Context()), program, "serve", "--config", h.file, "--upstream", upstream,
		"--listen", listen, "--reuse-port=true", "--http-listen", h.http))
	return h.proxy
}

// write is one client: when its session has ended, it connects again and goes on with the next row.
func (h *history) write(client int) {
	ctx := context.WithoutCancel(h.t.Context())
	for number := 0; !h.over.Load(); {
		conn, err := pgx.Connect(ctx, "postgres://postgres@"+h.address+"/postgres?sslmode=disable")
		if err != nil {
			continue // it had arrived where nobody accepts any more, or there is no primary
		}
		h.logins.Add(1)
		for err == nil && !h.over.Load() {
			number++
			if _, err = conn.Exec(ctx, "INSERT INTO written VALUES ($1, $2)", pgx.QueryExecModeExec, client, number); err == nil {
				h.told <- row{client, number}
			}
		}
		if err != nil {
			ended := "closed without a word"
			var failed *pgconn.PgError
			if errors.As(err, &failed) {
				ended = failed.Code
			}
			h.mu.Lock()
			h.ends[ended]++
			h.mu.Unlock()
		}
		_ = conn.Close(ctx) // all is written, or it is broken
	}
}

// writes waits until clients were told of so many rows more.
func (h *history) writes(n int) {
	for range n {
		h.rows[<-h.told] = true
	}
}

// check ends the clients, and compares what they were told with what is there. A row may be there that nobody was told
// of: of a session that ended before the answer.
func (h *history) check(ends string) {
	t := h.t
	t.Helper()
	h.over.Store(true)
	go func() {
		h.wg.Wait()
		close(h.told)
	}()
	for r := range h.told { // the last that each was about to tell of
		h.rows[r] = true
	}
	conn, err := pgx.Connect(t.Context(), h.server.DSN("sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }() // it was read from
	list, err := conn.Query(t.Context(), "SELECT client, number FROM written")
	if err != nil {
		t.Fatal(err)
	}
	there, err := pgx.CollectRows(list, pgx.RowToStructByPos[row])
	if err != nil {
		t.Fatal(err)
	}
	untold, twice := 0, len(there)
	seen := make(map[row]bool)
	for _, r := range there {
		if !h.rows[r] {
			untold++
		}
		seen[r] = true
	}
	twice -= len(seen)
	lost := 0
	for r := range h.rows {
		if !seen[r] {
			lost++
		}
	}
	broken := 0
	for how, n := range h.ends {
		broken += n
		if how != ends {
			t.Errorf("%d sessions ended by %s", n, how)
		}
	}
	t.Logf("%d transactions told as committed: %d lost, %d twice; %d more in the table that nobody was told of; %d sessions, ended: %v",
		len(h.rows), lost, twice, untold, h.logins.Load(), h.ends)
	if lost > 0 || twice > 0 || untold > broken {
		t.Error("what was told is not what is there")
	}
	if ends != "" && broken == 0 {
		t.Error("nothing has happened to anybody")
	}
}

// TestServiceManager starts the program with a socket that is open already, and reads what it tells of itself.
func TestServiceManager(t *testing.T) {
	c := pgtest.Shared(t)
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // the process has its own
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = manager.Close() }()
	told := func(want string) {
		t.Helper()
		message := make([]byte, 4096)
		n, err := manager.Read(message)
		if got := string(message[:max(n, 0)]); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("told %q, %v; not %q", got, err, want)
		}
	}

	// LISTEN_PID is the process's own number: the shell becomes the program.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`,
		program, "serve", "--upstream", c.DSN(), "--http-listen=")
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "NOTIFY_SOCKET="+path)
	cmd.ExtraFiles = []*os.File{socket}
	p := start(t, cmd)
	if r := p.log.until("ready"); r.Listen != l.Addr().String() {
		t.Errorf("listens on %s", r.Listen)
	}
	told("READY=1")
	conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+l.Addr().String()+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	told("RELOADING=1\nMONOTONIC_USEC=")
	told("READY=1")
	p.stop()
	told("STOPPING=1")
}

// TestLogReaderGone: sessions outlive whoever read the log.
func TestLogReaderGone(t *testing.T) {
	c := pgtest.Shared(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "serve", "--upstream", c.DSN("sslmode=disable"), "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
	cmd.Stderr = write
	if err := errors.Join(cmd.Start(), write.Close()); err != nil {
		t.Fatal(err)
	}
	ready := logReader{t: t, lines: bufio.NewScanner(read)}.until("ready")
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is said of the first is not read
		conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+ready.Listen+"/postgres?sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	lost := regexp.MustCompile(`(?m)^pgscope_log_lost_lines_total [1-9]`)
	for !lost.MatchString(get(t, "http://"+ready.HTTP+"/metrics")) { // until they are counted
	}
	if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

// TestFewDescriptors: a process says that it is ready where it has what it takes, and else ends.
func TestFewDescriptors(t *testing.T) {
	c := pgtest.Shared(t)
	ended, ready := 0, 0
	for descriptors := 6; ready == 0; descriptors++ {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n "$0" && exec "$@"`, fmt.Sprint(descriptors),
			program, "serve", "--upstream", c.DSN("sslmode=disable"), "--listen", "127.0.0.1:0", "--http-listen=")
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if !strings.Contains(lines.Text(), `"msg":"ready"`) {
				continue
			}
			ready++
			var r record
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Listen)
			if err != nil {
				t.Errorf("with %d descriptors: %v", descriptors, err)
			} else if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Wait(); err != nil {
			ended++
		}
	}
	if ended == 0 {
		t.Error("it always had enough")
	}
}
