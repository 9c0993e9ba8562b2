package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// What apply --undo writes, psql runs to its end, whatever things are called: in a database whose name psql could take
// for a connection string, with a role that goes and whose name would end a comment.
func TestUndoScript(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	const database = `user=nobody "d" 'q'`
	c.CreateDatabase(t, database)
	dir := t.TempDir()
	manifest, undo := filepath.Join(dir, "access.yaml"), filepath.Join(dir, "undo.sql")
	apply := func(text string, more ...string) {
		t.Helper()
		if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		written(t, append([]string{"apply", "-f", manifest, "--dsn", c.DSN(`dbname='user=nobody "d" \'q\''`)}, more...)...)
	}
	apply("roles: [{name: \"old\\nSELECT 1/0\\r;SELECT 1/0\", login: true, comment: é}, {name: reader}]")
	const state = `SELECT string_agg(rolname || rolcanlogin || coalesce(shobj_description(oid, 'pg_authid'), ''), ' ' ORDER BY rolname) FROM pg_roles WHERE starts_with(rolname, 'user')`
	before := c.Psql(t, "postgres", state)
	apply("roles: [{name: reader, login: true}, {name: new}]\nretirements: [{role: \"old\\nSELECT 1/0\\r;SELECT 1/0\", drop_owned: true}]", "--undo", undo)
	psql := exec.CommandContext(t.Context(), "psql", "-X", "-q", "-d", c.DSN(), "-f", undo)
	psql.Env = append(withoutLibpq(os.Environ()), "PGCLIENTENCODING=LATIN1")
	if out, err := psql.CombinedOutput(); err != nil || len(out) > 0 {
		text, _ := os.ReadFile(undo)
		t.Errorf("%v: %s\n%s", err, out, text)
	}
	if got := c.Psql(t, "postgres", state); got != before {
		t.Errorf("undone: %q, was %q", got, before)
	}
}
