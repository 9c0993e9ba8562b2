package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// example is one of examples/, and what must come of it.
type example struct {
	dir       string
	databases []string // the first is the one that a manifest is for
	bootstrap []string // options that name what is applied before the migrations; nil for the whole
	whole     []string // options that name everything
	// passwords are the variables that the logins' passwords come from; a login is a user and a database, or a user alone.
	passwords  map[string]string
	migrations []migration
	checks     []check
	drift      map[string]string // by database, what somebody does by hand
	drifted    int               // how many of the manifest's parts it is about
	// afterwards holds where nothing but the drift would let it be otherwise.
	afterwards []check
}

// migration is a script that a login runs through the proxy. Between two of them everything is applied.
type migration struct{ database, user, script string }

// check is a statement of a login through the proxy, and the SQLSTATE that it ends with; empty where it is allowed.
type check struct{ database, user, sql, code string }

const (
	denied     = "42501" // insufficient_privilege
	noSuchRow  = "23503" // foreign_key_violation
	wrongLogin = "28P01" // invalid_password
)

var exampleList = []example{
	{
		dir: "single", databases: []string{"app"}, whole: []string{"-f", "manifest.yaml"},
		passwords: map[string]string{"migrator": "APP_MIGRATOR_PASSWORD", "web": "APP_WEB_PASSWORD", "analyst": "APP_ANALYST_PASSWORD"},
		migrations: []migration{{"app", "migrator", `CREATE TABLE shop.orders (id int GENERATED ALWAYS AS IDENTITY, total int);
CREATE FUNCTION shop.api_total() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT sum(total) FROM shop.orders';
CREATE FUNCTION shop.purge() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'TRUNCATE shop.orders'`}},
		checks: []check{
			{"app", "web", "INSERT INTO shop.orders (total) VALUES (42)", ""},
			{"app", "web", "UPDATE shop.orders SET total = 43 WHERE id = 1", ""},
			{"app", "web", "SELECT shop.api_total()", ""},
			{"app", "web", "SELECT shop.purge()", denied},
			{"app", "web", "CREATE TABLE shop.mine ()", denied},
			{"app", "analyst", "SELECT sum(total) FROM shop.orders", ""},
			{"app", "analyst", "DELETE FROM shop.orders", denied},
			{"app", "analyst", "SELECT shop.api_total()", denied},
		},
		drift:   map[string]string{"app": `GRANT EXECUTE ON FUNCTION shop.purge() TO PUBLIC; GRANT app_owner TO app_web; ALTER ROLE app_migrator RESET role`},
		drifted: 1,
		afterwards: []check{
			{"app", "web", "SET ROLE owner", denied},
			{"app", "migrator", "CREATE TABLE shop.later (); INSERT INTO shop.later DEFAULT VALUES", ""},
			{"app", "analyst", "SELECT count(*) FROM shop.later", ""}, // as soon as there is one
		},
	},
	{
		dir: "services", databases: []string{"services"}, bootstrap: []string{"--bundle", "bootstrap.yaml"}, whole: []string{"--bundle", "bundle.yaml"},
		passwords: map[string]string{
			"billing_migrator": "BILLING_MIGRATOR_PASSWORD", "billing_api": "BILLING_API_PASSWORD", "billing_worker": "BILLING_WORKER_PASSWORD",
			"shipping_migrator": "SHIPPING_MIGRATOR_PASSWORD", "shipping_api": "SHIPPING_API_PASSWORD", "shipping_reports": "SHIPPING_REPORTS_PASSWORD",
			"alice_payments": "ALICE_PASSWORD", "bob_fulfillment": "BOB_PASSWORD",
		},
		migrations: []migration{{"services", "billing_migrator", "migrations/billing.sql"}, {"services", "shipping_migrator", "migrations/shipping.sql"}},
		checks: []check{
			{"services", "billing_api", "INSERT INTO billing.customers (email) VALUES ('buyer@example.com')", ""},
			{"services", "billing_api", "INSERT INTO billing.invoices (customer_id, amount_cents) VALUES (1, 4200)", ""},
			{"services", "billing_api", "UPDATE billing.invoices SET status = 'sent' WHERE id = 1", ""},
			{"services", "billing_api", "SELECT count(*) FROM billing.invoices", ""},
			{"services", "billing_api", "SELECT count(*) FROM shipping.shipments", denied},
			{"services", "billing_worker", "UPDATE billing.invoices SET status = 'paid' WHERE id = 1", ""},
			{"services", "billing_worker", "UPDATE billing.customers SET email = 'other@example.com'", denied},
			{"services", "billing_worker", "INSERT INTO billing.invoices (customer_id, amount_cents) VALUES (1, 100)", denied},
			{"services", "shipping_api", "INSERT INTO shipping.shipments (billing_invoice_id, destination) VALUES (1, 'Auckland')", ""},
			{"services", "shipping_api", "INSERT INTO shipping.shipments (billing_invoice_id, destination) VALUES (999999, 'Nowhere')", noSuchRow},
			{"services", "shipping_api", "UPDATE shipping.shipments SET status = 'packed' WHERE id = 1", ""},
			{"services", "shipping_api", "SELECT count(*) FROM shipping.shipments", ""},
			{"services", "shipping_api", "SELECT count(*) FROM billing.invoices", denied},
			{"services", "shipping_reports", "SELECT count(*) FROM shipping.shipments", ""},
			{"services", "shipping_reports", "INSERT INTO shipping.shipments (billing_invoice_id, destination) VALUES (1, 'Paris')", denied},
			{"services", "alice_payments", "SELECT count(*) FROM billing.invoices", ""},
			{"services", "alice_payments", "SELECT count(*) FROM shipping.shipments", denied},
			{"services", "alice_payments", "UPDATE billing.invoices SET status = 'void'", denied},
			{"services", "bob_fulfillment", "SELECT count(*) FROM shipping.shipments", ""},
			{"services", "bob_fulfillment", "SELECT count(*) FROM billing.invoices", denied},
			{"services", "bob_fulfillment", "UPDATE shipping.shipments SET status = 'lost'", denied},
		},
		drift: map[string]string{"services": `GRANT DELETE ON billing.customers TO services_billing_api; REVOKE SELECT ON billing.invoices FROM services_team_payments;
GRANT services_team_payments TO services_bob_fulfillment; ALTER ROLE services_shipping_reports NOLOGIN; GRANT SELECT (email) ON billing.customers TO services_shipping_api`},
		drifted: 1,
		afterwards: []check{
			{"services", "billing_api", "DELETE FROM billing.customers", denied},
			{"services", "bob_fulfillment", "SET ROLE team_payments", denied},
			{"services", "billing_migrator", "CREATE TABLE billing.refunds (id int)", ""},
			{"services", "billing_api", "INSERT INTO billing.refunds VALUES (1)", ""}, // by default privileges alone
			{"services", "alice_payments", "SELECT count(*) FROM billing.refunds", ""},
			{"services", "billing_worker", "SELECT count(*) FROM billing.refunds", denied},
		},
	},
	{
		dir: "estate", databases: []string{"billing", "shipping"}, whole: []string{"-f", "estate.yaml"},
		passwords: map[string]string{
			"migrator billing": "BILLING_MIGRATOR_PASSWORD", "api billing": "BILLING_API_PASSWORD", "reports billing": "BILLING_REPORTS_PASSWORD",
			"migrator shipping": "SHIPPING_MIGRATOR_PASSWORD", "api shipping": "SHIPPING_API_PASSWORD", "reports shipping": "SHIPPING_REPORTS_PASSWORD",
			"alice": "ALICE_PASSWORD",
		},
		migrations: []migration{{"billing", "migrator", "migrations/billing.sql"}, {"shipping", "migrator", "migrations/shipping.sql"}},
		checks: []check{
			{"billing", "api", "INSERT INTO billing.customers (email) VALUES ('buyer@example.com')", ""},
			{"billing", "api", "INSERT INTO billing.invoices (customer_id, amount_cents) VALUES (1, 4200)", ""},
			{"billing", "api", "INSERT INTO billing.invoices (customer_id, amount_cents) VALUES (999999, 1)", noSuchRow},
			{"billing", "api", "DELETE FROM billing.invoices", denied},
			{"billing", "reports", "SELECT count(*) FROM billing.invoices", ""},
			{"billing", "reports", "UPDATE billing.invoices SET status = 'void'", denied},
			{"shipping", "api", "INSERT INTO shipping.shipments (billing_invoice_id, destination) VALUES (1, 'Auckland')", ""},
			{"shipping", "api", "CREATE TABLE shipping.mine ()", denied},
			{"shipping", "reports", "SELECT count(*) FROM shipping.shipments", ""},
			{"shipping", "reports", "INSERT INTO shipping.shipments (billing_invoice_id, destination) VALUES (1, 'Paris')", denied},
			{"billing", "alice", "SELECT count(*) FROM billing.invoices", denied},
			{"billing", "alice", "SET ROLE on_call; SELECT count(*) FROM billing.invoices", ""},
			{"shipping", "alice", "SET ROLE on_call; SELECT count(*) FROM shipping.shipments", ""},
			{"shipping", "alice", "SET ROLE on_call; DELETE FROM shipping.shipments", denied},
		},
		drift: map[string]string{
			"billing":  `GRANT DELETE ON billing.invoices TO billing_api; ALTER ROLE ship_api PASSWORD 'stolen'; ALTER ROLE on_call LOGIN`,
			"shipping": `GRANT ALL ON SCHEMA shipping TO ship_api; REVOKE SELECT ON shipping.shipments FROM on_call; GRANT DELETE ON shipping.shipments TO on_call`,
		},
		drifted: 3, // the cluster's too
		afterwards: []check{
			{"shipping", "migrator", "CREATE TABLE shipping.returns (id int)", ""},
			{"shipping", "api", "INSERT INTO shipping.returns VALUES (1)", ""},
		},
	},
}

// TestExamples does with each example what its readers would, on a server where every login needs its password.
func TestExamples(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{HBA: []string{"host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"}})
	for _, x := range exampleList {
		t.Run(x.dir, func(t *testing.T) { x.test(t, c) })
	}
}

func (x example) test(t *testing.T, c *pgtest.Cluster) {
	folder, err := filepath.Abs(filepath.Join("..", "..", "examples", x.dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(folder)
	for _, variable := range x.passwords {
		t.Setenv(variable, secretOf(variable))
	}
	for _, name := range x.databases {
		c.Psql(t, "postgres", "CREATE DATABASE "+name)
	}
	server := c.DSN("dbname=" + x.databases[0])
	apply := func(what []string) {
		t.Helper()
		if text, code := command(t, append([]string{"apply", "--dsn", server}, what...)...); code != exitOK {
			t.Fatalf("apply %v: exit code %d\n%s", what, code, text)
		}
	}
	settled := func() {
		t.Helper()
		if text, code := command(t, append([]string{"plan", "--dsn", server}, x.whole...)...); code != exitOK {
			t.Errorf("there is something left to do: exit code %d\n%s", code, text)
		}
	}
	if x.bootstrap != nil {
		apply(x.bootstrap)
	} else {
		apply(x.whole)
	}
	plain := serveCommand(t, "--upstream", c.DSN(), "--admin-dsn", server, "--listen", "127.0.0.1:0", "--http-listen", "").until("ready").Listen
	for _, m := range x.migrations {
		script := m.script
		if strings.HasSuffix(script, ".sql") {
			text, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			script = string(text)
		}
		if code := x.run(t, plain, check{m.database, m.user, script, ""}); code != "" {
			t.Fatalf("the migration of %s: %s", m.user, code)
		}
		apply(x.whole)
	}
	settled()

	log := serveCommand(t, "--upstream", c.DSN(), "--admin-dsn", server, "--manifest", x.whole[1], "--reconcile-interval", "1h",
		"--listen", "127.0.0.1:0", "--http-listen", "")
	proxy := log.until("ready").Listen
	for range x.parts() {
		log.until("reconciled")
	}
	x.check(t, proxy, x.checks)

	for database, sql := range x.drift {
		c.Psql(t, database, sql)
	}
	if _, code := command(t, append([]string{"plan", "--dsn", server}, x.whole...)...); code != exitDifferences {
		t.Errorf("drift: exit code %d", code)
	}
	hangup(t)
	for range x.drifted {
		log.until("repaired")
		log.until("reconciled")
	}
	settled()
	t.Log("What was done by hand is repaired.")
	again := make([]check, len(x.checks))
	for i, k := range x.checks {
		again[i] = k
		again[i].sql = strings.Replace(k.sql, "buyer@", "next@", 1)
	}
	x.check(t, proxy, again)
	x.check(t, proxy, x.afterwards)
}

// parts is how many databases are looked at, the cluster among them.
func (x example) parts() int {
	if len(x.databases) > 1 {
		return len(x.databases) + 1
	}
	return 1
}

// check runs statements through the proxy, and shows them as a table.
func (x example) check(t *testing.T, proxy string, list []check) {
	t.Helper()
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	count := make(map[string]int)
	for _, k := range list {
		got := x.run(t, proxy, k)
		result := got
		if got == "" {
			result = "allowed"
		}
		count[result]++
		if got != k.code {
			result += ", not " + k.code
			t.Errorf("%s: %s in %s: %s", k.user, k.sql, k.database, result)
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", result, k.database, k.user, k.sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%v\n%s", count, &table)
}

// run runs statements as a login of its own, with its password, and returns the SQLSTATE of the first error.
func (x example) run(t *testing.T, proxy string, k check) string {
	t.Helper()
	variable, ok := x.passwords[k.user+" "+k.database]
	if !ok {
		variable = x.passwords[k.user]
	}
	host, port, err := net.SplitHostPort(proxy)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgconn.Connect(t.Context(), fmt.Sprintf("host=%s port=%s dbname=%s user=%s password='%s' sslmode=disable", host, port, k.database, k.user, secretOf(variable)))
	if err == nil {
		_, err = conn.Exec(t.Context(), k.sql).ReadAll()
		if closing := conn.Close(t.Context()); closing != nil {
			t.Error(closing)
		}
	}
	var refused *pgconn.PgError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &refused):
		return refused.Code
	default:
		t.Fatalf("%s: %v", k.user, err)
		return ""
	}
}

// secretOf is the password in a variable.
func secretOf(variable string) string { return "the secret of " + strings.ToLower(variable) }

// command runs the program, and returns what it says.
func command(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	code := execute(t.Context(), args, &out, &out)
	return out.String(), code
}
