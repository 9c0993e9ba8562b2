package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options says what cluster to make. The zero value is good for most.
type Options struct {
	Version    string            // the major version, "15"; empty: whichever is found first
	HBA        []string          // lines of pg_hba.conf; empty: trust for everybody. postgres gets in by the socket always
	Ident      []string          // lines of pg_ident.conf
	Config     map[string]string // settings of postgresql.conf, over those that make the server fast
	TLS        bool              // ssl = on, with a certificate for localhost and 127.0.0.1 from the authority in Cluster.CACert
	InitdbArgs []string          // further arguments of initdb
}

// Cluster is a running PostgreSQL. Its superuser is postgres, without a password. The methods are not safe for
// concurrent use, except those that only read.
type Cluster struct {
	Host      string // 127.0.0.1
	Port      int
	SocketDir string
	BinDir    string // the directory of pg_ctl and, in most installations, psql, pg_dump, pgbench
	Major     string // "15"
	CACert    string // with TLS, the file of the authority that signed the server's certificate, for sslrootcert; else empty

	dir    string // all files
	acct   account
	ca     *authority
	reaper *reaper
	alive  *os.File // ends when no process of the server lives any more; nil: not running
}

const (
	startTimeout = 60 * time.Second // also for recovery after Kill on a busy machine
	stopTimeout  = 30 * time.Second // of a stop that waits for transactions to be rolled back
	deadTimeout  = 10 * time.Second // of the last process of a server whose postmaster is gone
)

// fast trades durability, which nobody needs here, for speed.
var fast = map[string]string{
	"fsync":              "off",
	"synchronous_commit": "off",
	"full_page_writes":   "off",
	"max_connections":    "100",
	// In files of the data directory rather than in shared memory objects, which outlive a server that was killed.
	"dynamic_shared_memory_type": "mmap",
}

// trust is the pg_hba.conf of a cluster that nobody said anything about.
var trust = []string{
	"local all,replication all trust",
	"host  all,replication all 127.0.0.1/32 trust",
}

// Launch makes a cluster in a new directory inside parent (empty: the system's for temporary files) and starts it. For
// root, parent must be open to the account that the server runs as. The caller must Close the cluster; if this process
// dies before that, it is stopped and removed all the same. ctx bounds the way to a started server, not its life.
func Launch(ctx context.Context, parent string, o Options) (*Cluster, error) {
	acct, err := serverAccount()
	if err != nil {
		return nil, err
	}
	in, err := find(ctx, acct, o.Version)
	if err != nil {
		return nil, err
	}
	dir, err := acct.tempDir(ctx, parent)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Host: "127.0.0.1", SocketDir: dir, BinDir: in.bin, Major: in.major, dir: dir, acct: acct}
	if c.reaper, err = newReaper(acct, c.program("pg_ctl"), dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := errors.Join(c.init(ctx, o), ctx.Err()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if err := c.startSomewhere(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// init makes the data directory and its configuration.
func (c *Cluster) init(ctx context.Context, o Options) error {
	args := append([]string{"-D", c.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"},
		o.InitdbArgs...)
	if _, err := c.acct.run(ctx, c.program("initdb"), args...); err != nil {
		return err
	}
	settings := maps.Clone(fast)
	settings["listen_addresses"] = c.Host
	settings["unix_socket_directories"] = c.SocketDir
	if o.TLS {
		if err := c.initTLS(settings); err != nil {
			return err
		}
	}
	maps.Copy(settings, o.Config)

	hba := o.HBA
	if len(hba) == 0 {
		hba = trust
	}
	hba = append([]string{"local all,replication postgres trust"}, hba...)
	return errors.Join(
		c.append("data/postgresql.conf", configuration(settings)),
		c.write("data/pg_hba.conf", []byte(strings.Join(hba, "\n")+"\n")),
		c.write("data/pg_ident.conf", []byte(strings.Join(o.Ident, "\n")+"\n")),
	)
}

// configuration writes settings in the form of postgresql.conf, in a fixed order.
func configuration(settings map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(settings[name]))
	}
	return b.String()
}

// startSomewhere starts the server on a free port. Another process may take the port just before the server does.
func (c *Cluster) startSomewhere() error {
	for range 5 {
		port, err := freePort()
		if err != nil {
			return err
		}
		c.Port = port
		if err = c.start(); err == nil {
			return nil
		}
		if !strings.Contains(c.Log(), "Address already in use") {
			return err
		}
		if err := os.Remove(c.logFile()); err != nil {
			return err
		}
	}
	return errors.New("no free port")
}

// freePort looks for a port that nobody listens on. It keeps away from those that the system gives to outgoing
// connections (from 32768 on; from 49152 elsewhere than on Linux), one of which might get it while the server restarts.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(10000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

// start starts the server on c.Port and waits until it takes connections. All its processes inherit the writing end of
// a pipe, so that the reading end tells when the last of them is gone.
func (c *Cluster) start() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := c.acct.command(context.Background(), c.program("pg_ctl"), "start", "-w", "-s", "-t", seconds(startTimeout),
		"-D", c.data(), "-l", c.logFile(), "-o", fmt.Sprintf("-p %d", c.Port))
	cmd.ExtraFiles = []*os.File{w}
	out, err := cmd.CombinedOutput()
	err = errors.Join(err, w.Close())
	c.alive = r
	if err == nil {
		return nil
	}
	err = fmt.Errorf("pg_ctl start: %w\n%s%s", err, out, c.Log())
	return errors.Join(err, c.Kill()) // it may still be starting
}

// Stop shuts the server down in order: sessions are ended, transactions rolled back.
func (c *Cluster) Stop() error { return c.stop("fast") }

func (c *Cluster) stop(mode string) error {
	if c.alive == nil {
		return errors.New("the server is not running")
	}
	_, err := c.acct.run(context.Background(), c.program("pg_ctl"), "stop", "-w", "-s", "-t", seconds(stopTimeout),
		"-D", c.data(), "-m", mode)
	if err != nil {
		return errors.Join(fmt.Errorf("%w%s", err, c.Log()), c.Kill())
	}
	return c.awaitEnd()
}

// Kill ends all processes of the server at once, as a power failure does. Restart brings it back, by crash recovery.
func (c *Cluster) Kill() error {
	if c.alive == nil {
		return errors.New("the server is not running")
	}
	postmaster, err := c.readPostmaster()
	if errors.Is(err, os.ErrNotExist) {
		return c.awaitEnd() // it has ended, or never came that far
	}
	if err != nil {
		return err
	}
	if err := errors.Join(killTree(postmaster.pid), c.awaitEnd()); err != nil {
		return err
	}
	// What a reboot takes away: the segment, and the process of that number. Where nobody has collected the dead
	// postmaster yet, the next one would take it for alive.
	return errors.Join(
		removeSharedMemory(postmaster.shmid),
		os.Remove(filepath.Join(c.data(), "postmaster.pid")),
		os.Remove(filepath.Join(c.SocketDir, fmt.Sprintf(".s.PGSQL.%d.lock", c.Port))),
	)
}

// Restart starts the server again on the same port, after it has been shut down in order if it runs.
func (c *Cluster) Restart() error {
	if c.alive != nil {
		if err := c.Stop(); err != nil {
			return err
		}
	}
	return c.start()
}

// Close stops the server if it runs and removes all its files.
func (c *Cluster) Close() error {
	var err error
	if c.alive != nil {
		err = c.stop("immediate")
	}
	return errors.Join(err, c.reaper.dismiss(), os.RemoveAll(c.dir))
}

// awaitEnd waits until no process of the server is left, and nothing listens. A process that is killed closes its files one
// after the other: its sockets may take a connection when alive has ended.
func (c *Cluster) awaitEnd() error {
	by := time.Now().Add(deadTimeout)
	if err := c.alive.SetReadDeadline(by); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c.alive); err != nil {
		return fmt.Errorf("waiting for the server's processes to end: %w", err)
	}
	err := c.alive.Close()
	c.alive = nil
	return errors.Join(err,
		awaitRefusal("tcp", net.JoinHostPort(c.Host, strconv.Itoa(c.Port)), by),
		awaitRefusal("unix", filepath.Join(c.SocketDir, fmt.Sprintf(".s.PGSQL.%d", c.Port)), by),
	)
}

// awaitRefusal waits until nothing listens at the address.
func awaitRefusal(network, address string, by time.Time) error {
	for time.Now().Before(by) {
		conn, err := net.DialTimeout(network, address, time.Until(by))
		if err != nil {
			return nil //nolint:nilerr // this is what is waited for
		}
		_ = conn.Close()
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("something listens at %s", address)
}

// postmaster is what the server wrote about itself into postmaster.pid (src/include/utils/pidfile.h).
type postmaster struct {
	pid   int
	shmid int // of the System V segment that guards the data directory; 0: none
}

func (c *Cluster) readPostmaster() (postmaster, error) {
	const pidLine, shmLine = 0, 6
	content, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return postmaster{}, err
	}
	lines := bytes.Split(content, []byte("\n"))
	var p postmaster
	if p.pid, err = strconv.Atoi(string(lines[pidLine])); err != nil {
		return postmaster{}, fmt.Errorf("postmaster.pid: %w", err)
	}
	if len(lines) > shmLine && len(lines[shmLine]) > 0 {
		var key uint64
		if _, err := fmt.Sscan(string(lines[shmLine]), &key, &p.shmid); err != nil {
			return postmaster{}, fmt.Errorf("postmaster.pid: shared memory: %w", err)
		}
	}
	return p, nil
}

// DSN returns a connection string in libpq's key/value form: the superuser, over TCP, without TLS unless the cluster
// has it, database postgres. Params such as "user=app" or "dbname=orders" are added and win.
func (c *Cluster) DSN(params ...string) string {
	dsn := []string{"host=" + c.Host, "port=" + strconv.Itoa(c.Port), "user=postgres", "dbname=postgres"}
	if c.CACert == "" {
		dsn = append(dsn, "sslmode=disable")
	} else {
		dsn = append(dsn, "sslmode=verify-full", "sslrootcert='"+c.CACert+"'")
	}
	return strings.Join(append(dsn, params...), " ")
}

// Log returns what the server has logged.
func (c *Cluster) Log() string {
	content, err := os.ReadFile(c.logFile())
	if err != nil {
		return fmt.Sprintf("(no server log: %v)", err)
	}
	return string(content)
}

func (c *Cluster) data() string               { return filepath.Join(c.dir, "data") }
func (c *Cluster) logFile() string            { return filepath.Join(c.dir, "server.log") }
func (c *Cluster) program(name string) string { return filepath.Join(c.BinDir, name) }

// write makes a file in the cluster's directory that only the server can read.
func (c *Cluster) write(name string, content []byte) error {
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	return c.acct.own(path)
}

func (c *Cluster) append(name, content string) error {
	f, err := os.OpenFile(filepath.Join(c.dir, name), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Close())
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
