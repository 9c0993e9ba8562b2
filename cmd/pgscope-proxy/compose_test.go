package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// TestComposeStory runs what docker-compose.yml runs, without Docker: its databases are made, the proxy is started
// as it says, and psql reads the story.
func TestComposeStory(t *testing.T) {
	text, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Command []string
			Configs []struct{ UID string }
		}
		Configs map[string]struct{ Content string }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for name, service := range file.Services {
		for _, c := range service.Configs {
			if c.UID != "" {
				t.Errorf("%s: a file for user %s: Docker before 28 looks for that in the host's /etc/passwd", name, c.UID)
			}
		}
	}
	c := pgtest.Start(t, pgtest.Options{})
	c.Psql(t, "postgres", file.Configs["databases"].Content)

	server := strings.NewReplacer("host=postgres port=5432", "host="+c.Host+" port="+strconv.Itoa(c.Port), "host=postgres", "host="+c.Host+" port="+strconv.Itoa(c.Port))
	secret := filepath.Join(t.TempDir(), "admin-dsn")
	if err := os.WriteFile(secret, []byte(server.Replace(file.Configs["admin-dsn"].Content)), 0o600); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, a := range file.Services["proxy"].Command {
		args = append(args, server.Replace(a))
	}
	proxy := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	proxy.Env = append(os.Environ(), "PGSCOPE_ADMIN_DSN_FILE="+secret,
		"PGSCOPE_LISTEN=127.0.0.1:0", "PGSCOPE_HTTP_LISTEN=127.0.0.1:0") // the image has others
	host, port, _ := strings.Cut(start(t, proxy).log.until("ready").Listen, ":")

	here := strings.NewReplacer("host=proxy port=6432", "host="+host+" port="+port)
	story := filepath.Join(t.TempDir(), "story.sql")
	script := here.Replace(server.Replace(file.Configs["story"].Content))
	if err := os.WriteFile(story, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	command := file.Services["story"].Command
	for i, a := range command {
		command[i] = strings.Replace(here.Replace(a), "/story.sql", story, 1)
	}
	psql := exec.CommandContext(t.Context(), command[0], append([]string{"-q", "-At"}, command[1:]...)...)
	psql.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	out, err := psql.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said := make(map[bool][]string) // whether the story has the line
	for line := range strings.Lines(string(out)) {
		ours := strings.Contains(script, line)
		said[ours] = append(said[ours], strings.Replace(strings.TrimSpace(line), story, "story.sql", 1))
	}
	if diff := cmp.Diff([]string{
		"psql:story.sql:11: ERROR:  permission denied for table note",
		"reader|a note of orders",
		"billing_reader|{pgscope_db_billing}",
		"orders_reader|{pgscope_db_orders}",
	}, said[false]); diff != "" {
		t.Errorf("the story's answers (-want +got)\n%s", diff)
	}
}
