package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// households are databases with roles, and one to work from.
func households(t *testing.T, via endpoint, c *pgtest.Cluster, names ...string) {
	t.Helper()
	for _, name := range append(names, "work") {
		database(t, c, name)
	}
	for _, name := range names {
		via.psql(t, name, "postgres", "CREATE ROLE reader; CREATE USER app IN ROLE reader; CREATE TABLE t (a int); GRANT SELECT ON t TO reader;")
	}
}

// protocols are the ways to run a statement without parameters.
var protocols = map[string]func(*testing.T, *pgx.Conn, string) ([]string, error){
	"simple": func(t *testing.T, c *pgx.Conn, sql string) ([]string, error) {
		_, err := c.PgConn().Exec(t.Context(), sql).ReadAll()
		return nil, err
	},
	"extended": func(t *testing.T, c *pgx.Conn, sql string) ([]string, error) {
		return nil, c.PgConn().ExecParams(t.Context(), sql, nil, nil, nil, nil).Read().Err
	},
	"prepared": func(t *testing.T, c *pgx.Conn, sql string) ([]string, error) {
		if _, err := c.PgConn().Prepare(t.Context(), "p", sql, nil); err != nil {
			return nil, err
		}
		return nil, c.PgConn().ExecPrepared(t.Context(), "p", nil, nil, nil).Read().Err
	},
}

// speaker is a connection with the notices that it has got.
type speaker struct {
	*pgx.Conn
	said []string
}

func (e endpoint) speaker(t *testing.T, database string) *speaker {
	t.Helper()
	config, err := pgx.ParseConfig(e.dsn(database, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	s := &speaker{}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		s.said = append(s.said, strings.Join([]string{n.Severity, n.Message, n.Detail, n.Where}, "|"))
	}
	if s.Conn, err = pgx.ConnectConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) }) // the test may have broken it
	return s
}

func each(t *testing.T, f func(t *testing.T, run func(*speaker, string) error)) {
	for _, name := range []string{"simple", "extended", "prepared"} {
		t.Run(name, func(t *testing.T) {
			f(t, func(s *speaker, sql string) error {
				_, err := protocols[name](t, s.Conn, sql)
				return err
			})
		})
	}
}

func TestDropDatabaseDropsItsRoles(t *testing.T) {
	c := scoped()
	via := start(t, c, func(o *proxy.Options) { o.Policy = allowAll(t) })
	each(t, func(t *testing.T, run func(*speaker, string) error) {
		households(t, via, c, "orders", "billing")
		before := roles(t, c)
		s := via.speaker(t, "work")
		if err := run(s, "DROP DATABASE orders"); err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(before, func(r string) bool { return strings.Contains(r, "orders") })
		if diff := cmp.Diff(want, roles(t, c)); diff != "" {
			t.Errorf("roles left (-want +got):\n%s", diff)
		}
		if s.said != nil {
			t.Errorf("said %q", s.said)
		}
		if s.PgConn().TxStatus() != 'I' {
			t.Errorf("status %c", s.PgConn().TxStatus())
		}
		if err := run(s, "SELECT 1"); err != nil && !strings.Contains(err.Error(), "already exists") {
			t.Error(err)
		}
	})
}

func TestDropDatabaseTellsWhatStays(t *testing.T) {
	c := scoped()
	via := start(t, c, func(o *proxy.Options) { o.Policy = allowAll(t) })
	each(t, func(t *testing.T, run func(*speaker, string) error) {
		households(t, via, c, "orders")
		c.Psql(t, "work", "CREATE TABLE kept (a int); ALTER TABLE kept OWNER TO orders_reader")
		s := via.speaker(t, "work")
		if err := run(s, "DROP DATABASE orders WITH (FORCE)"); err != nil {
			t.Fatal(err)
		}
		want := []string{`NOTICE|role "reader" of the dropped database "orders" could not be dropped|` +
			`role "orders_reader" cannot be dropped because some objects depend on it: owner of table kept|`}
		if diff := cmp.Diff(want, s.said); diff != "" {
			t.Errorf("notices (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"orders_reader", "pgscope_db_orders"}, roles(t, c)); diff != "" {
			t.Errorf("roles left (-want +got):\n%s", diff)
		}
	})
}

func TestDropDatabaseThatFailsDropsNothing(t *testing.T) {
	c := scoped()
	via := start(t, c, func(o *proxy.Options) { o.Policy = allowAll(t) })
	each(t, func(t *testing.T, run func(*speaker, string) error) {
		households(t, via, c, "orders")
		before := roles(t, c)
		inside := via.connect(t, "orders", "app")
		s := via.speaker(t, "work")
		wantCode(t, run(s, "DROP DATABASE orders"), "55006")
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := s.PgConn().Exec(t.Context(), "BEGIN").ReadAll(); err != nil {
			t.Fatal(err)
		}
		if err := run(via.speaker(t, "work"), "DROP DATABASE IF EXISTS nosuch"); err != nil {
			t.Error(err)
		}
		wantCode(t, run2(t, s, "DROP DATABASE orders"), "25001")
		if diff := cmp.Diff(before, roles(t, c)); diff != "" {
			t.Errorf("roles (-want +got):\n%s", diff)
		}
		if _, err := inside.Exec(t.Context(), "SELECT * FROM t"); err != nil {
			t.Error(err)
		}
	})
}

func run2(t *testing.T, s *speaker, sql string) error {
	t.Helper()
	_, err := s.PgConn().Exec(t.Context(), sql).ReadAll()
	return err
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var failed *pgconn.PgError
	if err == nil || !asPgError(err, &failed) || failed.Code != code {
		t.Errorf("got %v, want SQLSTATE %s", err, code)
	}
}

func TestDropDatabaseReadsAsBefore(t *testing.T) {
	c := scoped()
	via := start(t, c, func(o *proxy.Options) { o.Policy = allowAll(t) })
	households(t, via, c, "orders")
	c.Psql(t, "work", "CREATE TABLE kept (a int); ALTER TABLE kept OWNER TO orders_reader")
	fmt.Println(via.psql(t, "work", "postgres", "DROP DATABASE orders;\nDROP DATABASE IF EXISTS orders;\nDROP DATABASE orders;\nSELECT 1 AS one;"))
}
