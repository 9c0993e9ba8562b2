package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// loginCluster is a cluster whose roles log in by different methods. Those of database "orders" are made through a proxy.
func loginCluster(t *testing.T) *pgtest.Cluster {
	t.Helper()
	c := pgtest.Start(t, pgtest.Options{HBA: []string{
		"host all postgres,trusted,orders_trusted,orders_orders,orders,staff,orders_staff,billing_clerk 127.0.0.1/32 trust",
		"host all clear,orders_clear,orders_global_clear,global_clear 127.0.0.1/32 password",
		"host all all 127.0.0.1/32 scram-sha-256",
	}})
	c.CreateDatabase(t, "orders")
	c.Psql(t, "postgres", `CREATE ROLE global_clear LOGIN PASSWORD 'secret'; CREATE ROLE global_scram LOGIN PASSWORD 'secret'`)
	d := start(t, c, permissive(t)).open(t, "orders", "postgres")
	d.query(`CREATE ROLE trusted LOGIN; CREATE ROLE clear LOGIN PASSWORD 'secret'; CREATE ROLE scram LOGIN PASSWORD 'secret';
		CREATE ROLE orders LOGIN; CREATE ROLE staff`)
	return c
}

// logIn connects and returns the server's error, if any, and what the session is called.
func logIn(t *testing.T, via endpoint, user, password string) (called string, failure *pgconn.PgError) {
	t.Helper()
	config, err := pgconn.ParseConfig(via.dsn("orders", user))
	if err != nil {
		t.Fatal(err)
	}
	config.Password = password
	c, err := pgconn.ConnectConfig(t.Context(), config)
	if errors.As(err, &failure) {
		return "", failure
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	r := c.ExecParams(t.Context(), "SELECT 1", nil, nil, nil, nil).Read()
	if r.Err != nil {
		t.Error(r.Err)
	}
	return c.ParameterStatus("session_authorization"), nil
}

// withAdmin gives a proxy a connection of its own. params are added to its connection string.
func withAdmin(t *testing.T, c *pgtest.Cluster, params ...string) func(*proxy.Options) {
	t.Helper()
	config, err := pgconn.ParseConfig(c.DSN(params...))
	if err != nil {
		t.Fatal(err)
	}
	return func(o *proxy.Options) { o.Admin = config }
}

// TestLogin logs in as roles of a database under their short names, and as global ones: through a proxy that knows nothing
// yet, one that can ask, and one that has seen a session.
func TestLogin(t *testing.T) {
	c := loginCluster(t)
	for name, prepare := range map[string]func() endpoint{
		"first, without admin": func() endpoint { return start(t, c) },
		"first, with admin":    func() endpoint { return start(t, c, withAdmin(t, c)) },
		"later, without admin": func() endpoint {
			via := start(t, c)
			via.open(t, "orders", "postgres")
			return via
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, user := range []string{"trusted", "clear", "scram", "global_clear", "global_scram"} {
				via := prepare()
				called, failure := logIn(t, via, user, "secret")
				if user == "scram" && name == "first, without admin" {
					// SCRAM cannot be tried twice: the first attempt was for the global role of that name.
					if failure == nil || failure.Code != "28P01" || failure.Message != `password authentication failed for user "scram"` {
						t.Errorf("%s, first attempt: %v", user, failure)
					}
					called, failure = logIn(t, via, user, "secret")
				}
				if failure != nil || called != user {
					t.Errorf("%s: called %q, %v", user, called, failure)
				}
			}
		})
	}
}

// TestSystemUser: how a session was authenticated is told with the name that the client gave.
func TestSystemUser(t *testing.T) {
	c := loginCluster(t)
	via := start(t, c, withAdmin(t, c))
	for user, want := range map[string]string{"trusted": "", "clear": "password:clear", "scram": "scram-sha-256:scram", "global_scram": "scram-sha-256:global_scram"} {
		conn, err := pgx.Connect(t.Context(), via.dsn("orders", user)+" password=secret")
		if err != nil {
			t.Fatal(err)
		}
		const sql = "SELECT COALESCE(system_user, ''), (SELECT system_user IS NOT NULL)"
		if major(t, c) < 16 {
			if _, err := conn.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), `column "system_user" does not exist (SQLSTATE 42703)`) {
				t.Errorf("%s: %v", user, err)
			}
		} else {
			var got string
			var known bool
			if err := conn.QueryRow(t.Context(), sql).Scan(&got, &known); err != nil || got != want || known != (want != "") {
				t.Errorf("%s: %q, %v", user, got, err)
			}
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestLoginRefused looks at the errors of logins: they speak of the name that the client gave.
func TestLoginRefused(t *testing.T) {
	c := loginCluster(t)
	for name, options := range map[string][]func(*proxy.Options){
		"without admin": nil,
		"with admin":    {withAdmin(t, c)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, l := range []struct{ user, password, code, message string }{
				{"clear", "wrong", "28P01", `password authentication failed for user "clear"`},
				{"scram", "wrong", "28P01", `password authentication failed for user "scram"`},
				{"global_clear", "wrong", "28P01", `password authentication failed for user "global_clear"`},
				{"nobody", "secret", "28P01", `password authentication failed for user "nobody"`},
				{"staff", "", "28000", `role "staff" is not permitted to log in`},
				{"orders_trusted", "", "28000", `role "orders_trusted" does not exist`},
				{"orders_scram", "secret", "28000", `role "orders_scram" does not exist`},
			} {
				via := start(t, c, append(options, quiet)...)
				for range 2 { // what the proxy learned from the first attempt makes no difference
					_, failure := logIn(t, via, l.user, l.password)
					if failure == nil || failure.Code != l.code || failure.Severity != "FATAL" || !strings.HasPrefix(failure.Message, l.message) {
						t.Errorf("%s: %v, want %s", l.user, failure, l.message)
					}
				}
			}
		})
	}
}

// TestUserInCharacterSets: a role is told by its short name in each character set, in which
// order the server ever tells of it.
func TestUserInCharacterSets(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t))
	via.open(t, "orders", "postgres").query("CREATE ROLE é LOGIN")
	for encoding, name := range map[string]string{"UTF8": "é", "LATIN1": "\xe9", "EUC_JP": "\x8f\xab\xb1"} {
		d := via.dial(t)
		d.say(startup(pgproto3.ProtocolVersion30, "user", "é", "database", "orders", "client_encoding", encoding))
		d.ready(1)
		told := slices.DeleteFunc(d.take(), func(line string) bool { return !strings.HasPrefix(line, "parameter session_authorization") })
		if want := []string{"parameter session_authorization = " + name}; !slices.Equal(told, want) {
			t.Errorf("%s: %q", encoding, told)
		}
	}
}

// TestLongNames logs in as, and to, what the server makes of names that are too long by a byte:
// rules and policies go by other names.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("é", scope.MaxName/2) + "x" // 63 bytes
	database(t, scoped(), long)
	scoped().Psql(t, "postgres", `CREATE ROLE "`+long+`" LOGIN SUPERUSER`)
	via := start(t, scoped(), quiet, permissive(t))
	for _, test := range []struct{ database, user, told string }{
		{long, long, ""},
		{long + "y", "postgres", `FATAL 3D000: database "` + long + `y" does not exist | hint: Names have at most 63 bytes.`},
		{long, long + "y", `FATAL 28000: role "` + long + `y" does not exist | hint: Names have at most 63 bytes.`},
		{"", long + "y", `FATAL 28000: role "` + long + `y" does not exist | hint: Names have at most 63 bytes.`},
	} {
		d := via.dial(t)
		d.say(startup(pgproto3.ProtocolVersion30, "database", test.database, "user", test.user))
		if test.told == "" {
			d.ready(1)
			if got := d.query("SELECT current_database(), session_user::text"); got[1] != fmt.Sprintf("row %q %[1]q", long) {
				t.Errorf("logged in as %q, want %q", got[1], long)
			}
		} else {
			d.toTheEnd()
			d.wants(test.told)
		}
		d.conn.Close()
	}
}

// TestLoginDatabase leaves the database to the user's name, as the client gives it.
func TestLoginDatabase(t *testing.T) {
	c := loginCluster(t)
	for _, options := range [][]func(*proxy.Options){nil, {withAdmin(t, c)}} {
		d := start(t, c, options...).dial(t)
		d.say(startup(pgproto3.ProtocolVersion30, "user", "orders"))
		d.ready(1)
		d.take()
		if got := d.query("SELECT current_database()"); got[1] != `row "orders"` {
			t.Errorf("heard %q", got)
		}
	}
}

// TestLoginPsql runs psql as a role of the database.
func TestLoginPsql(t *testing.T) {
	c := loginCluster(t)
	got := start(t, c).psql(t, "orders", "trusted", "SET ROLE staff;\nSET ROLE trusted;\nSELECT :'USER';\nCREATE ROLE x;\n")
	for _, part := range []string{
		`ERROR:  permission denied to set role "staff"`, "SET ROLE trusted;\nSET\n", " trusted\n", "ERROR:  permission denied to create role\n",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("psql prints\n%s\nwant %q in it", got, part)
		}
	}
}

// TestLoginChanges logs in as roles that come, go and change.
func TestLoginChanges(t *testing.T) {
	c := loginCluster(t)
	via := start(t, c, permissive(t))
	admin := via.open(t, "orders", "postgres")
	expect := func(ok bool) {
		t.Helper()
		_, failure := logIn(t, via, "scram", "secret")
		if ok != (failure == nil) {
			t.Errorf("login succeeds: want %v, got error %v", ok, failure)
		}
	}
	expect(true)
	admin.query("ALTER ROLE scram RENAME TO other")
	expect(false)
	admin.query("ALTER ROLE other RENAME TO scram")
	expect(true)
	admin.query("ALTER ROLE scram NOLOGIN")
	expect(false)
	admin.query("ALTER ROLE scram LOGIN PASSWORD 'secret'")
	expect(true)
	admin.query("DROP ROLE scram")
	expect(false)
	admin.query("CREATE USER scram PASSWORD 'secret'")
	expect(true)
}

// TestLoginUnlisted logs in just after roles have changed, at a proxy that cannot ask which role is meant: it goes by
// what its sessions have done, by the list that it had, and by who was let in.
func TestLoginUnlisted(t *testing.T) {
	c := loginCluster(t)
	via := start(t, c, permissive(t))
	admin := via.open(t, "orders", "postgres")
	for _, s := range []struct{ change, user string }{
		{"CREATE ROLE made LOGIN PASSWORD 'secret'", "made"},
		{"ALTER ROLE made RENAME TO renamed", "renamed"},
		{"CREATE ROLE another", "scram"},
		{"ALTER ROLE another VALID UNTIL 'infinity'", "renamed"},
		{"DROP ROLE another", "global_scram"},
	} {
		admin.query(s.change)
		if called, failure := logIn(t, via, s.user, "secret"); failure != nil || called != s.user {
			t.Errorf("after %s, %s logs in as %q: %v", s.change, s.user, called, failure)
		}
	}
}
