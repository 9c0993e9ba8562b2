package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// TestServeManifest keeps a database at a manifest: what is done by hand is repaired, what the manifest declares cannot be
// changed through the proxy, and what passes it is looked at.
func TestServeManifest(t *testing.T) {
	c := pgtest.Shared(t)
	const database = "serve_kept"
	t.Cleanup(func() { c.DropRoles(t, "^(pgscope_db_)?serve_kept") })
	c.CreateDatabase(t, database)
	c.Psql(t, database, "CREATE SCHEMA app; CREATE TABLE app.t (id int); CREATE PROCEDURE app.p() LANGUAGE sql AS ''")
	path := filepath.Join(t.TempDir(), "access.yaml")
	manifest := `roles:
  - name: reader
  - name: api
    login: true
grants:
  - {role: reader, privileges: [SELECT], object: {type: table, schema: app, name: "*"}}
  - {role: api, privileges: [EXECUTE], object: {type: function, schema: app, name: "*"}}
memberships:
  - role: reader
    members: [{name: api}]
`
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(manifest)
	log := serveCommand(t, "--upstream", c.DSN(), "--admin-dsn", c.DSN(), "--manifest", path, "--reconcile-database", database,
		"--reconcile-interval", "1h", "--reconcile-required", "true", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
	ready := log.until("ready")
	log.until("reconciled")

	if got := get(t, "http://"+ready.HTTP+"/readyz"); !strings.HasPrefix(got, "ok\ndatabase \"serve_kept\": in step, looked at ") {
		t.Errorf("/readyz: %s", got)
	}
	if got := get(t, "http://"+ready.HTTP+"/metrics"); !strings.Contains(got, `pgscope_reconcile_databases{outcome="in_step"} 1`) {
		t.Errorf("/metrics: %s", got)
	}

	conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+ready.Listen+"/"+database+"?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for sql, line := range map[string]string{
		"ALTER ROLE reader LOGIN":                             "access.yaml:2:5",
		"DROP ROLE api":                                       "access.yaml:3:5",
		"REVOKE reader FROM api":                              "access.yaml:10:15",
		"GRANT INSERT ON app.t TO reader":                     "access.yaml:6:5",
		"REVOKE SELECT ON TABLE app.t FROM reader":            "access.yaml:6:5",
		"GRANT EXECUTE ON PROCEDURE app.p() TO api":           "access.yaml:7:5",
		"DROP OWNED BY reader":                                "access.yaml:6:5",
		"REVOKE ALL ON ROUTINE app.p() FROM api":              "access.yaml:7:5",
		"REVOKE ALL ON ALL PROCEDURES IN SCHEMA app FROM api": "access.yaml:7:5",
	} {
		var refused *pgconn.PgError
		if _, err := conn.Exec(t.Context(), sql); !errors.As(err, &refused) || refused.Code != "42501" || !strings.Contains(refused.Hint, line) {
			t.Errorf("%s: %v, hint %q", sql, err, refused.Hint)
		}
	}

	// Nobody said anything of the schema itself to anybody.
	if _, err := conn.Exec(t.Context(), "BEGIN; GRANT USAGE ON SCHEMA app TO reader; COMMIT"); err != nil {
		t.Fatal(err)
	}
	if r := log.until("repaired"); r.Step != "revoke" || r.Subject != "schema app" {
		t.Errorf("after a statement: %+v", r)
	}
	c.Psql(t, "postgres", "ALTER ROLE serve_kept_reader CREATEDB")
	hangup(t)
	if r := log.until("repaired"); r.Step != "alter role" || r.Subject != "reader" {
		t.Errorf("after SIGHUP: %+v", r)
	}

	// What the manifest does not have any more is nobody's.
	log.until("reconciled")
	write(strings.Replace(manifest, "memberships:\n  - role: reader\n    members: [{name: api}]\n", "", 1))
	if r := log.until("repaired"); r.Step != "remove member" {
		t.Errorf("after another manifest: %+v", r)
	}
	if _, err := conn.Exec(t.Context(), "GRANT reader TO api"); err != nil {
		t.Errorf("not declared any more: %v", err)
	}
	log.until("repaired")
}

// TestServeEstate: what an estate declares of the whole cluster cannot be changed in any of its databases either.
func TestServeEstate(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	c.CreateDatabase(t, "serve_estate")
	path := filepath.Join(t.TempDir(), "estate.yaml")
	if err := os.WriteFile(path, []byte(`estate: 1
roles: [{name: watcher}]
grants:
  - {role: watcher, privileges: [CREATE], object: {type: tablespace, name: pg_default}}
databases:
  - {name: serve_estate, roles: [{name: reader}]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	log := serveCommand(t, "--upstream", c.DSN(), "--admin-dsn", c.DSN(), "--manifest", path, "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0")
	ready := log.until("ready")
	for range 2 { // the cluster, and the database
		log.until("reconciled")
	}
	told := get(t, "http://"+ready.HTTP+"/readyz")
	if !strings.HasPrefix(told, "ok\ncluster: in step, ") || !strings.Contains(told, "\ndatabase \"serve_estate\": in step, ") {
		t.Errorf("ready: %s", told)
	}
	conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+ready.Listen+"/serve_estate?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for sql, line := range map[string]string{
		"REVOKE CREATE ON TABLESPACE pg_default FROM watcher": "estate.yaml:4:5",
		"DROP OWNED BY watcher":                               "estate.yaml:4:5",
		"ALTER ROLE watcher LOGIN":                            "estate.yaml:2:9",
		"DROP ROLE reader":                                    "estate.yaml:6:",
	} {
		var refused *pgconn.PgError
		if _, err := conn.Exec(t.Context(), sql); !errors.As(err, &refused) || refused.Code != "42501" || !strings.Contains(refused.Hint, line) {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestServeBrokenManifest does not begin with a manifest that cannot be read.
func TestServeBrokenManifest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(path, []byte("roles: [{nam: reader}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	code := execute(t.Context(), []string{
		"serve", "--upstream", "host=127.0.0.1", "--admin-dsn", "host=127.0.0.1", "--manifest", path,
		"--listen", "127.0.0.1:0", "--http-listen", "",
	}, &out, &out)
	if code != exitFailure || !strings.Contains(out.String(), "access.yaml:1:10") {
		t.Errorf("%d %s", code, &out)
	}
}
