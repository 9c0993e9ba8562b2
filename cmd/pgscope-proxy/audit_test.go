package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// TestAuditOfServe runs the proxy twice with one audit file, and lets its commands check and explain what was done.
func TestAuditOfServe(t *testing.T) {
	c := pgtest.Shared(t)
	c.CreateDatabase(t, "audit_orders")
	file := filepath.Join(t.TempDir(), "audit.log")
	for i := range 2 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			log := serveCommand(t, "--upstream", c.DSN(), "--listen", "127.0.0.1:0", "--http-listen", "", "--audit-file", file)
			ready := log.until("ready")
			conn, err := pgx.Connect(t.Context(), "postgres://postgres@"+ready.Listen+"/audit_orders?sslmode=disable")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), fmt.Sprintf("CREATE ROLE audit_%d PASSWORD 'canary'", i)); err != nil {
				t.Error(err)
			}
			if err := conn.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		c.Psql(t, "postgres", "DROP ROLE IF EXISTS audit_orders_audit_0, audit_orders_audit_1, pgscope_db_audit_orders")
	})
	for _, x := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"audit", "verify", file}, exitOK, "2 records, 1 to 2, unbroken"},
		{[]string{"policy", "test", "--dsn", c.DSN("dbname=audit_orders"), "--database", "audit_orders", "--user", "postgres", "DROP ROLE audit_0"}, exitOK, `allow  drop role "audit_0"`},
		{[]string{"policy", "test", "--dsn", c.DSN("dbname=audit_orders"), "--database", "audit_orders", "--user", "postgres", "CREATE ROLE pgscope_mine"}, exitRefused, "the proxy would refuse"},
		{[]string{"harden", "--dsn", c.DSN("dbname=audit_orders")}, exitOK, `REVOKE CONNECT ON DATABASE "audit_orders" FROM PUBLIC`},
		{[]string{"harden", "--dsn", c.DSN("dbname=postgres")}, exitFailure, ""},
	} {
		var out, diagnostics bytes.Buffer
		if code := execute(t.Context(), x.args, &out, &diagnostics); code != x.code || !strings.Contains(out.String(), x.want) {
			t.Errorf("%v: exit code %d\n%s%s", x.args, code, out.String(), diagnostics.String())
		}
	}
}
