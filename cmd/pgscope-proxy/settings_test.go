package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// reloads has for each setting, or section, that a running proxy can take anew: what stands in
// the file then, and how it shows.
var reloads = []struct {
	settings, file string
	shows          func(*reloadStage) error
}{
	{"mode", `mode: explicit`, (*reloadStage).explicit},
	{"databases.NAME.mode", `databases: {reload_each: {mode: explicit}}`, (*reloadStage).explicit},
	{"policy", `policy: FILE.policy`, func(s *reloadStage) error { return s.refuses("42501", "CREATE ROLE nobody") }},
	{"log-level", `log-level: debug`, func(s *reloadStage) error {
		conn, err := new(net.Dialer).DialContext(s.t.Context(), "tcp", s.address)
		if err != nil {
			return err
		}
		err = conn.Close()
		s.until(func(r record) bool { return r.Msg == "client left before the login" })
		return err
	}},
	{"login-timeout", `login-timeout: 100ms`, func(s *reloadStage) error {
		conn, err := new(net.Dialer).DialContext(s.t.Context(), "tcp", s.address)
		if err != nil {
			return err
		}
		_, err = io.ReadAll(conn) // until the proxy closes it
		return errors.Join(err, conn.Close())
	}},
	{"max-connections", `max-connections: 1`, (*reloadStage).one},
	{"max-connections-per-address", `max-connections-per-address: 1`, (*reloadStage).one},
	{"max-connections-per-user", `max-connections-per-user: 1`, (*reloadStage).one},
	{"max-connections-per-database", `max-connections-per-database: 1`, (*reloadStage).one},
	{"idle-timeout", `idle-timeout: 1s`, func(s *reloadStage) error { return s.ends("57P05", "SELECT 1") }},
	{"idle-in-transaction-timeout", `idle-in-transaction-timeout: 1s`, func(s *reloadStage) error { return s.ends("25P03", "BEGIN") }},
	{"max-statement-size", `max-statement-size: 8KiB`, func(s *reloadStage) error {
		return s.refuses("54000", "SELECT '"+strings.Repeat("x", 9<<10)+"'")
	}},
	{"auth", `auth: reject`, func(s *reloadStage) error { return s.refuses("28000", "SELECT 1") }},
	{"auth-rules", `auth-rules: [{users: [postgres], method: reject}]`, func(s *reloadStage) error { return s.refuses("28000", "SELECT 1") }},
	{"login-failures", "auth: verify\nlogin-failures: 1", func(s *reloadStage) error {
		if _, err := s.open("", "user=someone password=wrong"); code(err) != "28P01" {
			return err
		}
		return s.refuses("53300", "SELECT 1")
	}},
	{"login-failure-delay", "auth: verify\nlogin-failure-delay: 1h\nlogin-timeout: 500ms", func(s *reloadStage) error {
		began := time.Now()
		_, err := s.open("", "user=someone password=wrong")
		if time.Since(began) < 500*time.Millisecond { // up to then it waits
			return fmt.Errorf("it was told at once: %w", err)
		}
		return wantCode("28P01", err)
	}},
	{"proxy-protocol.mode", `proxy-protocol: {mode: require, from: [127.0.0.1]}`, func(s *reloadStage) error {
		_, err := s.ask("SELECT 1", "PROXY TCP4 192.0.2.9 127.0.0.1 1024 6432\r\n")
		return err
	}},
	{"proxy-protocol.from", `proxy-protocol: {mode: require, from: [192.0.2.1]}`, func(s *reloadStage) error {
		if _, err := s.ask("SELECT 1", "PROXY TCP4 192.0.2.9 127.0.0.1 1024 6432\r\n"); err == nil {
			return errors.New("it was let in")
		}
		return nil
	}},
	{"application-name-add-host", `application-name-add-host: true`, func(s *reloadStage) error {
		return s.shows("SELECT current_setting('application_name') LIKE '%127.0.0.1%'", "t")
	}},
	{"client-tls.mode, client-tls.cert, client-tls.key", `client-tls: {mode: allow, cert: FILE.crt, key: FILE.key}`, func(s *reloadStage) error {
		_, err := s.open("", "sslmode=require")
		return err
	}},
	{"client-tls.ca", `client-tls: {mode: verify-full, cert: FILE.crt, key: FILE.key, ca: FILE.ca}`, func(s *reloadStage) error {
		if _, err := s.open("", "sslmode=require"); err == nil {
			return errors.New("it was let in without a certificate")
		}
		_, err := s.open("", s.files.Replace("sslmode=require sslcert=FILE.crt sslkey=FILE.key"))
		return err
	}},
	{"reconcile.interval", `reconcile: {interval: 1s}`, func(s *reloadStage) error {
		for range 2 { // the first may be seen by the look that comes with the reload
			s.drift()
			s.repaired()
		}
		return nil
	}},
	{"reconcile.on-drift, reconcile.required", `reconcile: {interval: 1s, on-drift: report, required: true}`, func(s *reloadStage) error {
		s.drift()
		s.until(func(r record) bool { return r.Msg == "differs from the manifest" })
		if got := get(s.t, "http://"+s.http+"/readyz"); !strings.HasPrefix(got, "not as the manifest has it") {
			return errors.New(got)
		}
		return nil
	}},
	{"reconcile.mode", `reconcile: {interval: 1s, mode: additive}`, func(s *reloadStage) error {
		s.repaired() // from the case before
		s.cluster.Psql(s.t, "postgres", "ALTER ROLE reload_each_reader CREATEDB")
		s.drift()
		s.repaired()
		if got := s.cluster.Psql(s.t, "postgres", "SELECT rolcreatedb FROM pg_roles WHERE rolname = 'reload_each_reader'"); got != "t\n" {
			return errors.New("the role was altered")
		}
		return nil
	}},
	{"reconcile.database", `reconcile: {interval: 1h, database: reload_other}`, func(s *reloadStage) error {
		s.until(func(r record) bool { return r.Msg == "repaired" && r.Database == "reload_other" })
		return nil
	}},
	{"shutdown-grace", `shutdown-grace: 0s`, func(s *reloadStage) error { // the last: it ends the proxy
		conn, err := s.open("")
		if err != nil {
			return err
		}
		if _, err := conn.Exec(s.t.Context(), "BEGIN").ReadAll(); err != nil {
			return err
		}
		s.stop()
		return wantCode("57P01", conn.WaitForNotification(s.t.Context()))
	}},
}

// TestReloadsSettings: a setting is one of which docs/configuration.md says that a change needs a restart, or a
// running proxy takes what it is changed to.
func TestReloadsSettings(t *testing.T) {
	s := startReloadStage(t)
	shown := make(map[string]bool)
	for _, r := range reloads {
		for name := range strings.SplitSeq(r.settings, ", ") {
			shown[name] = true
		}
		s.reload(r.file)
		if err := r.shows(s); err != nil {
			t.Errorf("%s: %v", r.settings, err)
		}
		s.close()
	}
	documented := regexp.MustCompile(`(?s)\n### (\S+)\n.*?- Example[^\n]*(\n- A change needs a restart)?`).FindAllStringSubmatch(config.Reference(), -1)
	if len(documented) < len(reloads) {
		t.Errorf("%d settings", len(documented))
	}
	for _, m := range documented {
		section, _, _ := strings.Cut(m[1], ".")
		if fixed := m[2] != ""; fixed == (shown[m[1]] || shown[section]) {
			t.Errorf("%s: a change needs a restart: %v; a case here shows that it does not: %v", m[1], fixed, fixed)
		}
	}
}

// reloadStage is a proxy that runs, and whose configuration changes.
type reloadStage struct {
	t             *testing.T
	cluster       *pgtest.Cluster
	files         *strings.Replacer // what FILE.… stand for
	base, path    string            // of the configuration: what is in it always, where it is
	address, http string
	records       chan record
	conns         []*pgconn.PgConn
	stop          func() // and waits for the end
}

func startReloadStage(t *testing.T) *reloadStage {
	t.Helper()
	c := pgtest.Start(t, pgtest.Options{TLS: true})
	c.CreateDatabase(t, "reload_each")
	c.CreateDatabase(t, "reload_other")
	c.Psql(t, "postgres", "CREATE ROLE someone LOGIN PASSWORD 'right'")
	dir := t.TempDir()
	cert, key, err := c.ClientCert(dir, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	s := &reloadStage{
		t: t, cluster: c, path: filepath.Join(dir, "pgscope.yaml"), records: make(chan record, 1<<14),
		files: strings.NewReplacer("FILE.crt", cert, "FILE.key", key, "FILE.ca", c.CACert,
			"FILE.policy", write("policy.yaml", "rules: [{statement: create role, action: deny}]")),
		base: fmt.Sprintf("upstream: %[1]q\nadmin-dsn: %[1]q\nlisten: 127.0.0.1:0\nhttp-listen: 127.0.0.1:0\nmanifest: %[2]s\n",
			c.DSN("sslmode=disable dbname=reload_each"), write("access.yaml", `roles: [{name: reader}]
grants: [{role: reader, privileges: [USAGE], object: {type: schema, name: public}}]
`)),
	}
	s.configure("")
	log, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"serve", "--config", s.path}, io.Discard, w)
		_ = w.Close() // of a pipe: there is no error
	}()
	go func() {
		defer close(s.records)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			var r record
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				r.Msg = lines.Text()
			}
			s.records <- r
		}
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if code := <-done; code != exitOK {
			t.Errorf("exit code %d", code)
		}
	})
	t.Cleanup(func() { s.close(); s.stop() })
	ready := s.until(func(r record) bool { return r.Msg == "ready" })
	s.address, s.http = ready.Listen, ready.HTTP
	return s
}

// configure writes the configuration: some settings, and where they do not say otherwise those
// that keep everything as it is.
func (s *reloadStage) configure(text string) {
	s.t.Helper()
	for _, quiet := range []string{"login-failures: 0", "shutdown-grace: 1h", "reconcile: {interval: 1h}"} {
		if name, _, _ := strings.Cut(quiet, " "); !strings.Contains("\n"+text, "\n"+name) {
			text = quiet + "\n" + text
		}
	}
	if err := os.WriteFile(s.path, []byte(s.base+s.files.Replace(text)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *reloadStage) reload(text string) {
	s.t.Helper()
	s.configure(text)
	hangup(s.t)
	s.until(func(r record) bool {
		if r.Msg == "not reloaded: everything stays as it was" || r.Settings != nil {
			s.t.Errorf("%s: %+v", text, r)
		}
		return r.Msg == "reloaded"
	})
}

func (s *reloadStage) until(matches func(record) bool) record {
	s.t.Helper()
	hopeless := time.After(time.Minute)
	for {
		select {
		case r, ok := <-s.records:
			if !ok {
				s.t.Fatal("the log ends")
			}
			if matches(r) {
				return r
			}
		case <-hopeless:
			s.t.Fatal("the log does not say it")
		}
	}
}

// open connects through the proxy; before is done first on the connection.
func (s *reloadStage) open(before string, params ...string) (*pgconn.PgConn, error) {
	host, port, _ := strings.Cut(s.address, ":")
	config, err := pgconn.ParseConfig(strings.Join(append([]string{"host=" + host, "port=" + port, "dbname=reload_each user=postgres sslmode=disable"}, params...), " "))
	if err != nil {
		s.t.Fatal(err)
	}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			_, err = io.WriteString(conn, before)
		}
		return conn, err
	}
	conn, err := pgconn.ConnectConfig(s.t.Context(), config)
	if err == nil {
		s.conns = append(s.conns, conn)
	}
	return conn, err
}

// close closes what was opened.
func (s *reloadStage) close() {
	for _, conn := range s.conns {
		_ = conn.Close(context.WithoutCancel(s.t.Context())) // the proxy may have done it
	}
	s.conns = nil
}

// ask is the first value of the answer to a statement in a new session.
func (s *reloadStage) ask(sql, before string) (string, error) {
	conn, err := s.open(before)
	if err != nil {
		return "", err
	}
	results, err := conn.Exec(s.t.Context(), sql).ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

func code(err error) string {
	var e *pgconn.PgError
	errors.As(err, &e)
	if e == nil {
		return ""
	}
	return e.Code
}

func wantCode(want string, err error) error {
	if code(err) != want {
		return fmt.Errorf("%v, not %s", err, want) //nolint:errorlint // it may be nil
	}
	return nil
}

// shows wants an answer.
func (s *reloadStage) shows(sql, want string) error {
	if got, err := s.ask(sql, ""); err != nil || got != want {
		return fmt.Errorf("%s: %s, %w", sql, got, err)
	}
	return nil
}

func (s *reloadStage) explicit() error { return s.shows("SHOW pgscope.mode", "explicit") }

// refuses wants a statement to fail in a new session, or such a session not to begin.
func (s *reloadStage) refuses(want, sql string) error {
	_, err := s.ask(sql, "")
	return wantCode(want, err)
}

// ends wants a session to be ended that has said that, and then nothing.
func (s *reloadStage) ends(want, sql string) error {
	conn, err := s.open("")
	if err != nil {
		return err
	}
	if _, err := conn.Exec(s.t.Context(), sql).ReadAll(); err != nil {
		return err
	}
	return wantCode(want, conn.WaitForNotification(s.t.Context()))
}

// one wants there to be one session at most.
func (s *reloadStage) one() error {
	const full = "53300"
	_, err := s.open("")
	for code(err) == full { // sessions of before may still end
		_, err = s.open("")
	}
	if err != nil {
		return err
	}
	return s.refuses(full, "SELECT 1")
}

// drift takes away what the manifest gives.
func (s *reloadStage) drift() {
	s.t.Helper()
	s.cluster.Psql(s.t, "reload_each", "REVOKE USAGE ON SCHEMA public FROM reload_each_reader")
}

func (s *reloadStage) repaired() {
	s.t.Helper()
	s.until(func(r record) bool { return r.Msg == "repaired" && r.Step == "grant" })
}
