package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// TestPackagedConfiguration: with the file that the packages bring, who has a password gets to a server whose
// pg_hba.conf is the one that Debian's and PostgreSQL's own packages begin with. By its socket that server would want
// the role to be called like the proxy's account.
func TestPackagedConfiguration(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{HBA: []string{
		"local all all peer", "host all all 127.0.0.1/32 scram-sha-256", "host all all ::1/128 scram-sha-256",
	}})
	c.Psql(t, "postgres", "CREATE ROLE clerk LOGIN PASSWORD 'secret'")
	text, err := os.ReadFile("../../packaging/systemd/pgscope.yaml")
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("host=127.0.0.1", fmt.Sprintf("host=127.0.0.1 port=%d", c.Port),
		"host=/var/run/postgresql", fmt.Sprintf("host=%s port=%d", c.SocketDir, c.Port), ":6432", ":0", ":9632", ":0")
	path := filepath.Join(t.TempDir(), "pgscope.yaml")
	if err := os.WriteFile(path, []byte(here.Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	address := serveCommand(t, "--config", path).until("ready").Listen
	conn, err := pgx.Connect(t.Context(), "postgres://clerk:secret@"+address+"/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
