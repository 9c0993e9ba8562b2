package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// TestReload changes all that can change while the proxy runs, under a session that goes on.
func TestReload(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{TLS: true})
	dir := t.TempDir()
	file := filepath.Join(dir, "pgscope.yaml")
	configure := func(text string) {
		t.Helper()
		text = fmt.Sprintf("upstream: %q\nhttp-listen: \"\"\n%s", c.DSN("sslmode=disable"), text)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate := func(name string) (settings string) {
		t.Helper()
		cert, key, err := c.ClientCert(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("client-tls: {mode: allow, cert: %s, key: %s}\n", cert, key)
	}
	shown := func(address string) string { // the certificate's name
		t.Helper()
		config, err := pgx.ParseConfig("postgres://postgres@" + address + "/postgres?sslmode=require")
		if err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.ConnectConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }() // it was looked at
		secure, ok := conn.PgConn().Conn().(*tls.Conn)
		if !ok {
			t.Fatal("no TLS")
		}
		return secure.ConnectionState().PeerCertificates[0].Subject.CommonName
	}

	withTLS := certificate("first")
	configure("listen: 127.0.0.1:0\n" + withTLS)
	log := serveCommand(t, "--config", file)
	address := log.until("ready").Listen
	conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+address+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	if got := shown(address); got != "first" {
		t.Errorf("the certificate of %s", got)
	}

	withTLS = certificate("second") // the same files
	configure("listen: 127.0.0.1:1\nmax-connections: 1\nlog-level: debug\n" + withTLS)
	hangup(t)
	if r := log.until("some settings have changed that need a restart"); strings.Join(r.Settings, " ") != "listen" {
		t.Errorf("need a restart: %v", r.Settings)
	}
	log.until("reloaded")
	if _, err := pgx.Connect(t.Context(), "postgres://postgres@"+address+"/postgres?sslmode=disable"); err == nil || !strings.Contains(err.Error(), "53300") {
		t.Errorf("max-connections is not in force: %v", err)
	}
	knock, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if err := knock.Close(); err != nil {
		t.Error(err)
	}
	log.until("client left before the login") // of level debug

	configure("listen: 127.0.0.1:0\n" + withTLS)
	hangup(t)
	log.until("reloaded")
	if got := shown(address); got != "second" {
		t.Errorf("the certificate of %s", got)
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("the session has not outlived it: %v", err)
	}
}

// TestUselessSetting: who gives a certificate and no mode is told that clients have no TLS.
func TestUselessSetting(t *testing.T) {
	log := serveCommand(t, "--upstream", "host=127.0.0.1 port=1", "--listen", "127.0.0.1:0", "--http-listen", "", "--client-tls-cert", "server.crt")
	if r := log.until("a setting has no effect"); r.Level != "warn" {
		t.Errorf("%+v", r)
	}
}
