package integration

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// replicationValues are all beginnings of the words that stand for a truth value, and of database, in
// three ways of writing, and what is none.
func replicationValues() []string {
	values := []string{"", "0", "1", "2", "00", "01", "t ", " t", "truex", "falsee", "databases", "\xc3\xb6n"}
	for _, word := range []string{"true", "false", "yes", "no", "on", "off", "database"} {
		for i := 1; i <= len(word); i++ {
			values = append(values, word[:i], strings.ToUpper(word[:i]), strings.ToUpper(word[:1])+word[1:i])
		}
	}
	return values
}

// TestReplicationValues begins sessions with each value of the parameter replication, on the server and through the
// proxy: the session is of the same kind, and where it takes SQL, it is one of the database.
func TestReplicationValues(t *testing.T) {
	database(t, scoped(), "orders")
	via := start(t, scoped(), permissive(t), quiet)
	via.psql(t, "orders", "postgres", "CREATE ROLE reader LOGIN")
	begin := func(e endpoint, user string, params ...string) (lines []string, sql bool) {
		d := e.dial(t)
		defer d.conn.Close()
		d.say(startup(pgproto3.ProtocolVersion30, append([]string{"user", user, "database", "orders"}, params...)...))
		if d.hear(1) != nil {
			return d.take(), false
		}
		d.take()
		for _, q := range []string{"IDENTIFY_SYSTEM", "SELECT current_database(), session_user::text"} {
			for i, line := range d.query(q) {
				sql = sql || strings.HasPrefix(line, `row "orders" `)
				if i == 0 || strings.HasPrefix(line, `row "orders" `) { // what IDENTIFY_SYSTEM says is another thing each time
					lines = append(lines, line)
				}
			}
		}
		return lines, sql
	}
	params := [][]string{{"Replication", "database"}, {"options", "-c replication=database"}, {"options", "--replication=1"}}
	for _, value := range replicationValues() {
		params = append(params, []string{"replication", value})
	}
	for _, p := range params {
		want, sql := begin(direct(scoped()), "orders_reader", p...)
		if sql {
			if got, _ := begin(via, "orders_reader", p...); !slices.Contains(got, `FATAL 28000: role "orders_reader" does not exist`) {
				t.Errorf("%q: under the cluster's name %q", p, got)
			}
			want[len(want)-1] = `row "orders" "reader"`
			got, _ := begin(via, "reader", p...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q (-server +proxy):\n%s", p, diff)
			}
			continue
		}
		want, _ = begin(direct(scoped()), "postgres", p...)
		got, _ := begin(via, "postgres", p...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-server +proxy):\n%s", p, diff)
		}
	}
}

// TestReplicationIsInNoDatabase: what a client of physical replication says of a database counts for no rule and no limit.
func TestReplicationIsInNoDatabase(t *testing.T) {
	database(t, scoped(), "orders")
	database(t, scoped(), "billing")
	rules, err := policy.Parse("rules.yaml", []byte("rules: [{statement: connect, database: orders, action: allow}, {statement: connect, action: deny}]"))
	if err != nil {
		t.Fatal(err)
	}
	limits := withLimits(proxy.Limits{PerDatabase: 1}, proxy.Timeouts{})
	heard := func(e endpoint, params ...string) string {
		d := e.dial(t)
		d.say(startup(pgproto3.ProtocolVersion30, append([]string{"user", "postgres"}, params...)...))
		if err := d.hear(1); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		last := d.take()
		code, _, _ := strings.Cut(last[len(last)-1], ":")
		return code
	}
	strict, open := start(t, scoped(), quiet, limits, func(o *proxy.Options) { o.Policy = rules }), start(t, scoped(), quiet, limits)
	for _, test := range []struct {
		name   string
		e      endpoint
		params []string
		want   string
	}{
		{"a session in a database that is allowed", strict, []string{"database", "orders"}, "ready I"},
		{"in another", strict, []string{"database", "billing"}, "FATAL 28000"},
		{"in none", strict, []string{"database", "orders", "replication", "true"}, "FATAL 28000"},
		{"a session", open, []string{"database", "orders"}, "ready I"},
		{"one too many", open, []string{"database", "orders"}, "FATAL 53300"},
		{"one that is in none", open, []string{"database", "orders", "replication", "true"}, "ready I"},
		{"another", open, []string{"database", "orders", "replication", "true"}, "ready I"},
	} {
		if got := heard(test.e, test.params...); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestReplicationTools runs PostgreSQL's own tools of the replication protocol as a role of a database. A logical
// connection is to a database, and knows its roles; a physical one is in none, and knows those of the cluster.
func TestReplicationTools(t *testing.T) {
	if _, err := os.Stat(filepath.Join(scoped().BinDir, "pg_recvlogical")); errors.Is(err, os.ErrNotExist) {
		t.Skipf("the installation in %s has not the tools of its version", scoped().BinDir) // as the packages for other versions
	}
	via := both(t)
	via.psql(t, "orders", "postgres", `CREATE ROLE feeder LOGIN REPLICATION; CREATE TABLE t (id int PRIMARY KEY, who name DEFAULT current_user);
		GRANT INSERT ON t TO feeder; CREATE PUBLICATION p FOR TABLE t`)
	tool := func(name string, args ...string) (string, error) {
		cmd := exec.Command(filepath.Join(scoped().BinDir, name), args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/", "LC_ALL=C"}
		out, err := cmd.CombinedOutput()
		if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		return string(out), err
	}
	works := func(name string, args ...string) {
		t.Helper()
		if out, err := tool(name, args...); err != nil {
			t.Errorf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	t.Run("pg_recvlogical", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "changes")
		slot := []string{"-d", via.dsn("orders", "feeder"), "--slot", "pgscope_tools"}
		works("pg_recvlogical", append(slot, "--create-slot", "--plugin", "pgoutput")...)
		via.psql(t, "orders", "feeder", "INSERT INTO t VALUES (42)")
		end := strings.TrimSpace(scoped().Psql(t, "orders", "SELECT pg_current_wal_insert_lsn()"))
		works("pg_recvlogical", append(slot, "--start", "--endpos", end, "-f", file,
			"-o", "proto_version=1", "-o", "publication_names=p")...)
		works("pg_recvlogical", append(slot, "--drop-slot")...)
		changes, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(changes); !strings.Contains(s, "feeder") || strings.Contains(s, "orders_feeder") {
			t.Errorf("the changes are %q", s)
		}
		if out, err := tool("pg_recvlogical", "-d", via.dsn("orders", "nobody"), "--slot", "x", "--drop-slot"); err == nil || !strings.Contains(out, `role "nobody" does not exist`) {
			t.Errorf("a role that does not exist: %v\n%s", err, out)
		}
	})
	t.Run("pg_basebackup", func(t *testing.T) {
		if out, err := tool("pg_basebackup", "-d", via.dsn("", "feeder"), "-D", t.TempDir()); err == nil || !strings.Contains(out, `role "feeder" does not exist`) {
			t.Errorf("under the short name: %v\n%s", err, out)
		}
		dir := t.TempDir()
		works("pg_basebackup", "-d", via.dsn("", "orders_feeder"), "-D", dir, "-c", "fast")
		if _, err := os.Stat(filepath.Join(dir, "PG_VERSION")); err != nil {
			t.Error(err)
		}
	})
}

// TestSubscription: another cluster subscribes through the proxy, as a role of the database: the copy of what is there,
// and what comes later.
func TestSubscription(t *testing.T) {
	via := both(t)
	via.psql(t, "orders", "postgres", `CREATE ROLE feeder LOGIN REPLICATION; CREATE TABLE t (who name DEFAULT current_user);
		GRANT SELECT, INSERT ON t TO feeder; CREATE PUBLICATION p FOR TABLE t; INSERT INTO t DEFAULT VALUES`)
	plain().Psql(t, "orders", "CREATE TABLE t (who name)")
	plain().Psql(t, "orders", "CREATE SUBSCRIPTION s CONNECTION $$"+via.dsn("orders", "feeder")+"$$ PUBLICATION p")
	t.Cleanup(func() { plain().Psql(t, "orders", "DROP SUBSCRIPTION IF EXISTS s") })
	arrives := func(who string) {
		t.Helper()
		plain().Psql(t, "orders", pgtest.Awaiting("(SELECT string_agg(who, ' ' ORDER BY who DESC) FROM t) = '"+who+"'"))
	}
	arrives("postgres")
	via.psql(t, "orders", "feeder", "INSERT INTO t DEFAULT VALUES")
	arrives("postgres feeder")
	const sessions = "SELECT usename FROM pg_stat_replication"
	if out := via.psql(t, "orders", "postgres", sessions); !strings.Contains(out, " feeder\n") {
		t.Errorf("the publisher has the sessions %s", out)
	}
	plain().Psql(t, "orders", "DROP SUBSCRIPTION s")
	if slots := scoped().Psql(t, "orders", "SELECT slot_name FROM pg_replication_slots"); slots != "" {
		t.Errorf("the slots that are left: %s", slots)
	}
}
