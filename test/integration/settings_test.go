package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// TestSettings: a session can read its database and its mode at any time, and the mode is what was set as any other setting.
func TestSettings(t *testing.T) {
	const both = "SELECT current_setting('pgscope.database'), current_setting('pgscope.mode')"
	database(t, scoped(), "orders")
	for _, mode := range scope.Modes {
		t.Run(string(mode), func(t *testing.T) {
			e := start(t, scoped(), permissive(t), func(o *proxy.Options) { o.Mode = mode })
			m := string(mode)
			for _, c := range []struct {
				name, script, shown string // a line for each row, its columns with a space between
			}{
				{"at once", both, "orders " + m},
				{"show", "SHOW pgscope.mode; SHOW pgscope.database", m + " orders"},
				{"as names", `SHOW "pgscope"."mode"`, m},
				{"set", "SET pgscope.mode = 'explicit'; " + both, "orders explicit"},
				{"set and reset", "SET pgscope.mode = 'explicit'|RESET pgscope.mode|" + both, "orders " + m},
				{"reset all", both + "|SET pgscope.mode = 'explicit'|RESET ALL|" + both, "orders " + m + " orders " + m},
				{"discard all", both + "|DISCARD ALL|" + both, "orders " + m + " orders " + m},
				{"rolled back", "BEGIN|SET pgscope.mode = 'explicit'|" + both + "|ROLLBACK|" + both, "orders explicit orders " + m},
				{"told in a transaction that is rolled back", "BEGIN|" + both + "|ROLLBACK|" + both, "orders " + m + " orders " + m},
				{"local", "BEGIN|SET LOCAL pgscope.mode = 'explicit'|" + both + "|COMMIT|" + both, "orders explicit orders " + m},
				{"savepoint", "BEGIN|SAVEPOINT s|SET pgscope.mode = 'explicit'|ROLLBACK TO s|" + both + "|COMMIT", "orders " + m},
				{"in a failed transaction", "BEGIN|SELECT 1/0|SHOW pgscope.mode|ROLLBACK|SHOW pgscope.mode", "ERROR ERROR " + m},
				{"nothing to reset", "RESET pgscope.mode|SHOW pgscope.mode", m},
			} {
				d := e.open(t, "orders", "postgres")
				if got := rows(d, c.script); got != c.shown {
					t.Errorf("%s: %s, want %s", c.name, got, c.shown)
				}
				d.conn.Close()
			}

			// By the extended protocol, prepared once.
			c := e.connect(t, "orders", "postgres")
			for _, step := range []struct{ sql, database, mode string }{
				{"SELECT 1", "orders", m},
				{"SET pgscope.mode = 'explicit'", "orders", "explicit"},
				{"RESET ALL", "", ""}, // for a statement that was prepared before
			} {
				if _, err := c.Exec(t.Context(), step.sql); err != nil {
					t.Fatal(err)
				}
				var database, got string
				if err := c.QueryRow(t.Context(), both).Scan(&database, &got); err != nil {
					t.Fatal(err)
				}
				if database != step.database || got != step.mode {
					t.Errorf("prepared, after %s: %q %q, want %q %q", step.sql, database, got, step.database, step.mode)
				}
			}
		})
	}
}

// TestSettingsAtStart: the mode that a startup packet says is the session's, in each way in which the server takes a setting.
func TestSettingsAtStart(t *testing.T) {
	database(t, scoped(), "orders")
	e := start(t, scoped(), permissive(t), func(o *proxy.Options) { o.Mode = scope.Off })
	for _, params := range [][]string{
		{"pgscope.mode", "transparent"},
		{"PgScope.Mode", "transparent"},
		{"options", "-c pgscope.mode=transparent"},
		{"options", "--PGSCOPE.MODE=transparent"},
		{"options", `-c pgs\cope.mode=transparent`},
		{"options", "-c pgscope.mode=off", "Pgscope.mode", "transparent"},
	} {
		d := e.open(t, "orders", "postgres", params...)
		d.query("CREATE ROLE reader")
		if got := roles(t, scoped()); !slices.Contains(got, "orders_reader") {
			t.Errorf("%q: the server has %q", params, got)
		}
		d.query("DROP ROLE reader")
		d.conn.Close()
	}
}

// rows runs statements, between which '|' stands, and returns what they show.
func rows(d *dialogue, script string) string {
	var shown []string
	for _, sql := range strings.Split(script, "|") {
		for _, line := range d.query(sql) {
			switch kind, rest, _ := strings.Cut(line, " "); kind {
			case "row":
				shown = append(shown, strings.Fields(strings.ReplaceAll(rest, `"`, ""))...)
			case "ERROR":
				shown = append(shown, kind)
			}
		}
	}
	return strings.Join(shown, " ")
}

// TestActorOfAString: a schema that is called as a role is never called as the cluster calls it. Which role is current behind a
// statement that goes back to an earlier one only the server knows.
func TestActorOfAString(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t))
	via.psql(t, "orders", "postgres", `CREATE ROLE clerk; CREATE ROLE app LOGIN IN ROLE clerk;
		GRANT CREATE ON DATABASE orders TO app, clerk; ALTER ROLE app IN DATABASE orders SET role = clerk;`)
	const unknown = "ERROR 0A000: the role that is current here is not known | detail: It depends on what other statements of the same string go back to." +
		" | hint: Send the statement by itself, or write the name."
	for _, c := range []struct{ before, sql, made string }{
		{"", "CREATE SCHEMA AUTHORIZATION CURRENT_USER", "clerk"}, // its setting
		{"RESET ROLE|SET ROLE NONE", "CREATE SCHEMA AUTHORIZATION SESSION_USER", "app"},
		{"", "SET ROLE NONE; CREATE SCHEMA AUTHORIZATION CURRENT_USER", "app"},
		{"SET ROLE NONE", "CREATE SCHEMA AUTHORIZATION CURRENT_USER", "app"},
		{"SET ROLE NONE", "RESET ROLE; CREATE SCHEMA AUTHORIZATION CURRENT_USER", ""}, // would be clerk's
		{"SET ROLE NONE", "RESET ROLE; SET ROLE NONE; CREATE SCHEMA AUTHORIZATION CURRENT_USER", "app"},
		{"BEGIN; SET LOCAL ROLE NONE", "COMMIT; CREATE SCHEMA AUTHORIZATION CURRENT_USER", ""},
		{"", "SELECT set_config('role', 'none', false); CREATE SCHEMA AUTHORIZATION CURRENT_USER", ""},
		{"RESET ROLE", "CREATE SCHEMA AUTHORIZATION CURRENT_USER", "clerk"},
		{"", "SET ROLE NONE; SET search_path = \"$user\"; RESET ROLE; SET search_path = \"$user\"", ""},
		{"CREATE SCHEMA clerk", "SET ROLE NONE; RESET ROLE|SET search_path = \"$user\"; CREATE TABLE t ()", "clerk"},
	} {
		d := via.open(t, "orders", "app")
		var heard []string
		for sql := range strings.SplitSeq(c.before+"|"+c.sql, "|") {
			heard = d.query(sql)
		}
		if refused := slices.ContainsFunc(heard, func(line string) bool { return strings.HasPrefix(line, unknown) }); refused != (c.made == "") {
			t.Errorf("%s: heard %q", c.sql, heard)
		}
		if made := strings.TrimSpace(scoped().Psql(t, "orders", "SELECT nspname FROM pg_namespace WHERE nspname ~ 'app|clerk'")); c.made != "" && made != c.made {
			t.Errorf("%s: made %s", c.sql, made)
		}
		d.conn.Close()
		scoped().Psql(t, "orders", "DROP SCHEMA IF EXISTS app, clerk, orders_app, orders_clerk CASCADE")
	}
}
