package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: func() { os.Exit(run()) }})
}

// TestScript runs testdata/script/*.txtar: the program as a user has it, with its exit codes.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// TestServerScript runs testdata/server/*.txtar: the same with a server of the script's own, which PGHOST and PGPORT name.
// Its superuser is postgres; psql is a command.
func TestServerScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/server",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "psql": psql},
		Setup:               withServerOfItsOwn,
	})
}

// withServerOfItsOwn starts a server for a script.
func withServerOfItsOwn(env *testscript.Env) error {
	c, err := pgtest.Launch(context.Background(), "", pgtest.Options{})
	if err != nil {
		return err
	}
	env.Defer(func() {
		if err := c.Close(); err != nil {
			env.T().Fatal(err)
		}
	})
	env.Setenv("PGHOST", c.Host)
	env.Setenv("PGPORT", strconv.Itoa(c.Port))
	env.Setenv("PGUSER", "postgres")
	env.Setenv("PGSSLMODE", "disable")
	env.Values[clusterKey{}] = c
	return nil
}

type clusterKey struct{}

// psql DATABASE SQL runs statements; what they return is there for stdout.
func psql(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: psql DATABASE SQL")
	}
	cluster, ok := ts.Value(clusterKey{}).(*pgtest.Cluster)
	if !ok {
		ts.Fatalf("no server")
	}
	conn, err := pgconn.Connect(context.Background(), cluster.DSN("dbname="+args[0]))
	ts.Check(err)
	defer func() { ts.Check(conn.Close(context.Background())) }()
	results, err := conn.Exec(context.Background(), args[1]).ReadAll()
	ts.Check(err)
	out := ts.Stdout() // asked for, it is this command's output, even if nothing is written
	for _, r := range results {
		for _, row := range r.Rows {
			_, err := fmt.Fprintf(out, "%s\n", bytes.Join(row, []byte("|")))
			ts.Check(err)
		}
	}
}

// exits CODE PROGRAM ARGS… runs a program that must end with that code. What it printed is there for stdout and stderr.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	code := "0"
	var ended *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &ended):
		code = strconv.Itoa(ended.ExitCode())
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("%s exits with %s, not %s", args[1], code, args[0])
	}
}
