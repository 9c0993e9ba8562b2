package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
	p := &process{cmd, logReader{t, bufio.NewScanner(stderr)}, t}
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

// TestHandover starts a second process on the port of the first, stops the first, and counts what clients were told.
func TestHandover(t *testing.T) {
	c := pgtest.Shared(t)
	const database = "handover"
	c.CreateDatabase(t, database)
	c.Psql(t, database, "CREATE TABLE written ()")
	serve := func(listen string) *process {
		return start(t, exec.CommandContext(context.WithoutCancel(t.Context()), program,
			"serve", "--upstream", c.DSN(), "--listen", listen, "--reuse-port=true", "--http-listen="))
	}
	first := serve("127.0.0.1:0")
	address := first.log.until("ready").Listen

	// Each client writes, and when its session is ended connects again.
	const clients = 4
	ctx := context.WithoutCancel(t.Context())
	told := make(chan struct{}) // each of a row that the client was told is written
	over := make(chan struct{}) // closed: no more
	var sessions atomic.Int64
	var writing sync.WaitGroup
	for range clients {
		writing.Go(func() {
			for {
				conn, err := pgx.Connect(ctx, "postgres://postgres@"+address+"/"+database+"?sslmode=disable")
				if err != nil {
					continue // it had arrived where nobody accepts any more
				}
				sessions.Add(1)
				for err == nil {
					if _, err = conn.Exec(ctx, "INSERT INTO written DEFAULT VALUES"); err == nil {
						select {
						case told <- struct{}{}:
						case <-over:
							_ = conn.Close(ctx) // all is written
							return
						}
					}
				}
				var ended *pgconn.PgError
				if !errors.As(err, &ended) || ended.Code != "57P01" {
					t.Errorf("a session ended with %v", err)
				}
			}
		})
	}
	rows := 0
	write := func(n int) {
		for range n {
			<-told
			rows++
		}
	}
	write(500)
	serve(address).log.until("ready")
	write(500)
	first.stop()
	write(500)
	close(over)
	writing.Wait()

	// Each client's last row it could not tell of any more.
	if got, want := strings.TrimSpace(c.Psql(t, database, "SELECT count(*) FROM written")), strconv.Itoa(rows+clients); !strings.Contains(got, want) {
		t.Errorf("clients were told of %s rows, the table has:\n%s", want, got)
	}
	if n := sessions.Load(); n <= clients {
		t.Errorf("%d sessions: none moved to the second process", n)
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
