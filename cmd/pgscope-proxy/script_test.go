package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: func() { os.Exit(run()) }})
}

// TestScript runs testdata/script/*.txtar: the program as a user has it, with its exit codes.
func TestScript(t *testing.T) { testscript.Run(t, scripts("script")) }

// TestServerScript runs testdata/server/*.txtar, each with a server of its own, which is what a connection string that
// says nothing means.
func TestServerScript(t *testing.T) {
	p := scripts("server")
	p.Setup = func(env *testscript.Env) error {
		c, err := pgtest.Launch(context.Background(), "", pgtest.Options{})
		if err != nil {
			return err
		}
		env.Defer(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		env.Setenv("PGHOST", c.Host)
		env.Setenv("PGPORT", strconv.Itoa(c.Port))
		env.Setenv("PGUSER", "postgres")
		env.Setenv("PGSSLMODE", "disable")
		return nil
	}
	testscript.Run(t, p)
}

func scripts(dir string) testscript.Params {
	return testscript.Params{
		Dir:                 filepath.Join("testdata", dir),
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "psql": psql},
	}
}

// psql DATABASE STATEMENT runs a statement on a direct connection. Its rows are there for stdout.
func psql(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: psql DATABASE STATEMENT")
	}
	ts.Check(ts.Exec("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", args[0], "-c", args[1]))
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
