package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// TestSettings: a session can read its database and its mode at any time, and the mode is what
// was set as any other setting.
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

// TestSettingsAtStart: the mode that a startup packet says is the session's, in each way in
// which the server takes a setting.
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

// TestModeAtStartIsJudged: a mode that SET would refuse, a startup packet does not bring either,
// so that SHOW tells the one that holds.
func TestModeAtStartIsJudged(t *testing.T) {
	database(t, scoped(), "orders")
	e, records := audited(t, quiet, withPolicy(t, "rules: [{name: no-off, statement: set mode, mode: [\"off\"], action: deny}, {action: allow}]"))
	for range 2 { // when the proxy has to ask, and when it knows all else
		for _, c := range []struct{ options, want string }{
			{"-c pgscope.mode=off", "FATAL 42501: permission denied by policy: set mode \"off\""},
			{"-c pgscope.mode=none", "FATAL 22023: invalid value for parameter \"pgscope.mode\": \"none\" | hint: Available values: transparent, explicit, off."},
			{"-c pgscope.mode=explicit", "ready I"},
			{"-c pgscope.mode=transparent", "ready I"},
		} {
			d := e.dial(t)
			d.say(startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "postgres", "options", c.options))
			_ = d.hear(1) // or to the end
			if got := d.lines[len(d.lines)-1]; !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s", c.options, got)
			} else if _, said, _ := strings.Cut(c.options, "="); c.want == "ready I" && rows(d, "SHOW pgscope.mode") != said {
				t.Errorf("%s is not what it shows", said)
			}
			d.conn.Close()
		}
	}
	denied := 0
	for _, r := range records() {
		if r.Rule == "no-off" {
			denied++
		}
	}
	if denied != 2 {
		t.Errorf("%d records of what was denied", denied)
	}
}

// TestSetConfigOfMode: set_config sets the mode as SET does, or not at all, so that SHOW tells the one that holds.
func TestSetConfigOfMode(t *testing.T) {
	database(t, scoped(), "orders")
	e := start(t, scoped(), withPolicy(t, "rules: [{name: no-off, statement: set mode, mode: [\"off\"], action: deny}, {action: allow}]"))
	d := e.open(t, "orders", "postgres")
	for _, c := range []struct{ sql, want, shown string }{
		{"SELECT set_config('pgscope.mode', 'off', false)", `ERROR 42501: permission denied by policy: set mode "off"`, "transparent"},
		{"SELECT 1; SELECT set_config('PGSCOPE.Mode'::text, 'off', false)", `ERROR 42501: permission denied by policy: set mode "off"`, "transparent"},
		{"SELECT set_config('pgscope.mode', 'none', false)", `ERROR 22023: invalid value for parameter "pgscope.mode": "none"`, "transparent"},
		{"SELECT set_config('pgscope.mode', lower('OFF'), false)", `ERROR 0A000: parameter "pgscope.mode" cannot be set to a value that is computed`, "transparent"},
		{"SELECT set_config('pgscope.mode', 'explicit', false)", `row "explicit"`, "explicit"},
		{"SELECT set_config('pgscope.mode', 'off', false)", `ERROR 42501: permission denied by policy: set mode "off"`, "explicit"},
		{"SELECT set_config('pgscope.mode', 'transparent', false)", `row "transparent"`, "transparent"},
		{"BEGIN; SELECT set_config('pgscope.mode', 'explicit', true); COMMIT", `row "explicit"`, "transparent"},
	} {
		answer := d.query(c.sql)
		said := slices.ContainsFunc(answer, func(line string) bool { return strings.HasPrefix(line, c.want) })
		if shown := rows(d, "SHOW pgscope.mode"); !said || shown != c.shown {
			t.Errorf("%s: %q; then the mode is %s", c.sql, answer, shown)
		}
	}
}

// TestStoredMode: the mode that the server gives a session counts for queries as for statements, unless the policy
// denies it.
func TestStoredMode(t *testing.T) {
	database(t, scoped(), "orders")
	start(t, scoped(), permissive(t)).psql(t, "orders", "postgres", "CREATE ROLE reader; ALTER DATABASE orders SET pgscope.mode = explicit")
	const names = "SELECT rolname FROM pg_roles WHERE rolname ~ 'reader'"
	for rules, want := range map[string]string{
		"rules: [{action: allow}]": "orders_reader", "rules: [{statement: set mode, action: deny}, {action: allow}]": "reader",
	} {
		d := start(t, scoped(), withPolicy(t, rules)).open(t, "orders", "postgres") // one that has not listed the roles before
		if got := rows(d, names); got != want {
			t.Errorf("%s: %s", rules, got)
		}
		if got := rows(d, "RESET pgscope.mode|SET pgscope.mode = transparent|"+names); !strings.HasSuffix(got, "reader") {
			t.Errorf("%s, then: %s", rules, got)
		}
	}
}

// TestSetConfigInModeOff: what sets the mode is asked about in every mode.
func TestSetConfigInModeOff(t *testing.T) {
	database(t, scoped(), "orders")
	e := start(t, scoped(), withPolicy(t, "rules: [{statement: set mode, mode: explicit, action: deny}, {action: allow}]"),
		func(o *proxy.Options) { o.Mode = scope.Off })
	d := e.open(t, "orders", "postgres")
	if got := rows(d, "SELECT set_config('pgscope.mode', 'explicit', false)|SET pgscope.mode = explicit|SELECT set_config('pgscope.mode', 'transparent', false)|SHOW pgscope.mode"); got != "ERROR ERROR transparent transparent" {
		t.Error(got)
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

// TestActorOfAString: a schema that is called as a role is never called as the cluster calls it. Which role is current
// behind a statement that goes back to an earlier one only the server knows.
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
		{"BEGIN; SET LOCAL ROLE NONE", "COMMIT; CREATE SCHEMA AUTHORIZATION CURRENT_USER", "clerk"},
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

// TestCourseOfAString: what names go by changes along a string of statements, and each statement
// is mapped by what holds where it runs.
func TestCourseOfAString(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t))
	via.psql(t, "orders", "postgres", "CREATE SCHEMA s1; CREATE SCHEMA s2")
	via.psql(t, "orders", "postgres", "CREATE ROLE s1.clerk; CREATE ROLE s2.clerk; CREATE ROLE clerk; CREATE TABLE public.tx (a int)")
	const refused = "refused"
	outcomeOf := func(heard []string) string {
		for _, line := range heard {
			if strings.HasPrefix(line, "ERROR 0A000: whether role") || strings.HasPrefix(line, "ERROR 0A000: the value of parameter") {
				return refused
			}
			if strings.HasPrefix(line, "ERROR") {
				return line
			}
		}
		return strings.TrimSpace(scoped().Psql(t, "orders", `SELECT DISTINCT grantee::regrole FROM pg_class, aclexplode(relacl) WHERE relname = 'tx' AND grantee <> relowner`))
	}
	const grant = "GRANT SELECT ON public.tx TO clerk"
	for _, c := range []struct{ before, sql, to string }{
		{"SET search_path = s2", grant, "orders_s2_clerk"},
		{"SET search_path = s2", "SET search_path = s1, public; " + grant, "orders_s1_clerk"},
		{"SET search_path = s2", "SET search_path = nosuch, s1; " + grant, "orders_s1_clerk"},
		{"SET search_path = s2", "SELECT set_config('search_path', '', false); " + grant, "orders_clerk"},
		{"SET search_path = s2", "SELECT set_config('search_path', concat('s', 1), false); " + grant, refused},
		{"SET search_path = s2", "RESET search_path; " + grant, "orders_clerk"},
		{"SET search_path = s2", "DISCARD TEMP; RESET ALL; " + grant, "orders_clerk"},
		{"", "BEGIN; SET LOCAL search_path = s1; COMMIT; " + grant, "orders_clerk"},
		{"", "BEGIN; SET search_path = s1; ROLLBACK; " + grant, "orders_clerk"},
		{"", "BEGIN; SET search_path = s1; COMMIT; " + grant, "orders_s1_clerk"},
		{"", "BEGIN; SAVEPOINT a; SET search_path = s1; ROLLBACK TO a; " + grant + "; COMMIT", "orders_clerk"},
		{"BEGIN|SET search_path = s1", "ROLLBACK; " + grant, "orders_clerk"},
		{"BEGIN|SET search_path = s1", "ROLLBACK; GRANT SELECT ON public.tx TO s1.clerk", "orders_s1_clerk"},
		{"SET search_path = s2", "CREATE SCHEMA s3; " + grant, refused},
		{"SET search_path = s1", "DO $$ BEGIN SET LOCAL search_path = s2; GRANT SELECT ON public.tx TO clerk; END $$", refused},
	} {
		d := via.open(t, "orders", "postgres")
		var heard []string
		for sql := range strings.SplitSeq(c.before+"|"+c.sql, "|") {
			heard = d.query(sql)
		}
		if got := outcomeOf(heard); got != c.to {
			t.Errorf("%s|%s: %s, want %s; heard %q", c.before, c.sql, got, c.to, heard)
		}
		d.conn.Close()
		scoped().Psql(t, "orders", "REVOKE ALL ON public.tx FROM orders_clerk, orders_s1_clerk, orders_s2_clerk")
	}

	const create = "; CREATE ROLE m10"
	for _, c := range []struct{ before, sql, made string }{
		{"", "BEGIN; SET LOCAL pgscope.mode = explicit; COMMIT" + create, "orders_m10"},
		{"", "BEGIN; SET pgscope.mode = explicit; ROLLBACK" + create, "orders_m10"},
		{"", "BEGIN; SET pgscope.mode = explicit; COMMIT" + create, "m10"},
		{"", "SET pgscope.mode = explicit; RESET pgscope.mode" + create, "orders_m10"},
		{"", "SET pgscope.mode = explicit; RESET ALL" + create, "orders_m10"},
		{"", "SET pgscope.mode = explicit; SET pgscope.mode TO DEFAULT" + create, "orders_m10"},
		{"SET pgscope.mode = explicit", "RESET pgscope.mode" + create, ""},
		{"SET pgscope.mode = explicit", "BEGIN; COMMIT" + create, "m10"},
		{"SET pgscope.mode = explicit|BEGIN|SET LOCAL pgscope.mode = transparent", "COMMIT" + create, "m10"},
		{"BEGIN|SET pgscope.mode = explicit", "ROLLBACK" + create, "orders_m10"},
		{"BEGIN|SAVEPOINT a|SET pgscope.mode = explicit", "ROLLBACK TO a" + create + "; COMMIT", "orders_m10"},
		{"SHOW pgscope.mode|BEGIN", "ROLLBACK" + create, "orders_m10"},
		{"SET pgscope.mode = off", "SET pgscope.mode = transparent" + create, "orders_m10"},
		{"BEGIN", "COMMIT" + create, "orders_m10"},
	} {
		d := via.open(t, "orders", "postgres")
		var heard []string
		for sql := range strings.SplitSeq(c.before+"|"+c.sql, "|") {
			heard = d.query(sql)
		}
		made := strings.TrimSpace(scoped().Psql(t, "orders", "SELECT rolname FROM pg_roles WHERE rolname ~ 'm10$'"))
		if made != c.made || c.made == "" && outcomeOf(heard) != refused {
			t.Errorf("%s|%s: made %q, want %q; heard %q", c.before, c.sql, made, c.made, heard)
		}
		d.conn.Close()
		scoped().Psql(t, "orders", "DROP ROLE IF EXISTS m10, orders_m10")
	}
}

// TestActorOfAStringIsJudged: who acts behind a statement that goes back to the session's role is judged as that one.
func TestActorOfAStringIsJudged(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped()) // the built-in rules, of which one asks before PostgreSQL 16 who acts
	via.psql(t, "orders", "postgres", "CREATE ROLE gx1")
	for _, back := range []string{
		"SET ROLE gx1; RESET ROLE", "SET ROLE gx1; SET ROLE NONE", "BEGIN; SET LOCAL ROLE gx1; COMMIT", "BEGIN; SET ROLE gx1; ROLLBACK",
		"BEGIN; SAVEPOINT a; SET ROLE gx1; ROLLBACK TO a; COMMIT", "SET SESSION AUTHORIZATION gx1; RESET SESSION AUTHORIZATION",
	} {
		d := via.open(t, "orders", "postgres")
		for _, sql := range []string{"CREATE ROLE gx2", back + "; DROP ROLE gx2"} {
			for _, line := range d.query(sql) {
				if strings.HasPrefix(line, "ERROR") {
					t.Errorf("%s: %s", sql, line)
				}
			}
		}
		d.conn.Close()
		scoped().Psql(t, "orders", "DROP ROLE IF EXISTS orders_gx2")
	}
}
