package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/dump"
	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/proxy"
)

// dumpOptions are what dump-roles and dump have in common, and the program that dump runs.
type dumpOptions struct {
	dsn            string
	all, passwords bool
	program        string
}

func newDumpRolesCommand() *cobra.Command {
	var o dumpOptions
	c := &cobra.Command{
		Use:   "dump-roles",
		Short: "Write the statements that make a database's roles again",
		Long: "dump-roles writes the roles that belong to a database, with attributes, memberships, settings and comments,\n" +
			"as SQL for psql, which makes them in whatever database it is connected to through the proxy.",
		Example: "  pgscope-proxy dump-roles > roles.sql",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd, func(_ context.Context, _ *pgconn.Config, _ string, roles *dump.Roles) error {
				if o.all {
					if err := dump.Connect(cmd.OutOrStdout(), roles.Database); err != nil {
						return err
					}
				}
				return roles.Write(cmd.OutOrStdout())
			})
		},
	}
	o.addTo(c)
	return c
}

func newDumpCommand() *cobra.Command {
	var o dumpOptions
	c := &cobra.Command{
		Use:   "dump [flags] [-- PG_DUMP_ARGS…]",
		Short: "Dump a database with its roles, by means of pg_dump",
		Long: "dump writes what dump-roles does, and then what pg_dump does, as seen through the proxy: one file that\n" +
			"carries a database with its roles. Both are of the same moment. psql restores it through the proxy, into any\n" +
			"database.\n" +
			"With --all the file makes the databases too, and the global roles before them.",
		Example: "  pgscope-proxy dump > orders.sql\n" +
			"  pgscope-proxy dump -- --schema-only > schema.sql\n" +
			"  pgscope-proxy dump --all > cluster.sql",
		Args: func(cmd *cobra.Command, args []string) error {
			if before := cmd.ArgsLenAtDash(); len(args) > 0 && before != 0 {
				return usageError(fmt.Errorf("unexpected argument %q: what is for pg_dump stands behind --", args[0]))
			}
			return checkDumpArgs(args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.all {
				args = append(args, "--create")
			}
			return o.withProxy(cmd.Context(), func(socket string) error {
				return o.run(cmd, func(ctx context.Context, config *pgconn.Config, snapshot string, roles *dump.Roles) error {
					pgDump := exec.CommandContext(ctx, o.program, append(args, "--format=plain", "--snapshot="+snapshot)...)
					pgDump.Env = append(withoutLibpq(os.Environ()), throughProxy(socket, config, roles)...)
					pgDump.Stderr = cmd.ErrOrStderr()
					return join(pgDump, cmd.OutOrStdout(), roles, o.all)
				})
			})
		},
	}
	o.addTo(c)
	c.Flags().StringVar(&o.program, "pg-dump", "pg_dump", "the `program` to run; no older than the server")
	return c
}

func (o *dumpOptions) addTo(c *cobra.Command) {
	addDSN(c, &o.dsn)
	c.Flags().BoolVar(&o.passwords, "passwords", false, "with the roles' password verifiers; needs a superuser")
	c.Flags().BoolVar(&o.all, "all", false, "the global roles, and all databases that have roles of their own")
}

// ownArgs are arguments of pg_dump that say where and in which form it writes: dump says that itself. Before a letter there
// may be others that take no value.
var ownArgs = regexp.MustCompile(`^(-[abBcOsvx]*[CFfjdhpU]|--(create|format|file|jobs|dbname|host|port|username|snapshot)(=|$))`)

func checkDumpArgs(args []string) error {
	for _, a := range args {
		if ownArgs.MatchString(a) {
			return usageError(fmt.Errorf("%s is not for pg_dump here: dump writes plain SQL to its standard output; for other forms run pg_dump through the proxy", a))
		}
	}
	return nil
}

// run gives f each database that the options speak of, connected to in a transaction with a snapshot; with --all it
// writes the global roles before.
func (o *dumpOptions) run(cmd *cobra.Command, f func(ctx context.Context, config *pgconn.Config, snapshot string, roles *dump.Roles) error) error {
	config, err := serverConfig(cmd, o.dsn)
	if err != nil {
		return err
	}
	one := func(ctx context.Context, conn *pgconn.PgConn) error {
		snapshot, err := dump.Snapshot(ctx, conn)
		if err != nil {
			return err
		}
		roles, err := dump.Database(ctx, conn, o.passwords)
		if err != nil {
			return err
		}
		remark(cmd.ErrOrStderr(), roles)
		return f(ctx, config, snapshot, roles)
	}
	if !o.all {
		return withConn(cmd.Context(), config, one)
	}
	var databases []string
	err = withConn(cmd.Context(), config, func(ctx context.Context, conn *pgconn.PgConn) error {
		if databases, err = provision.Databases(ctx, conn); err != nil {
			return err
		}
		if _, err := dump.Snapshot(ctx, conn); err != nil {
			return err
		}
		globals, err := dump.Globals(ctx, conn, o.passwords)
		if err != nil {
			return err
		}
		remark(cmd.ErrOrStderr(), globals)
		return globals.Write(cmd.OutOrStdout())
	})
	for _, name := range databases {
		if err == nil {
			config.Database = name
			err = withConn(cmd.Context(), config, one)
		}
	}
	return err
}

func remark(w io.Writer, roles *dump.Roles) {
	for _, r := range roles.Remarks() {
		_, _ = fmt.Fprintf(w, "WARNING:  %s\n", r) // there is nowhere else to tell
	}
}

// throughProxy is the environment by which pg_dump connects through the private proxy as the
// session did that read the roles.
func throughProxy(socket string, config *pgconn.Config, roles *dump.Roles) []string {
	return []string{
		"PGHOST=" + socket, "PGPORT=" + socketPort, "PGUSER=" + string(roles.User), "PGDATABASE=" + roles.Database,
		"PGPASSWORD=" + config.Password, "PGOPTIONS=-c jit=off", // as for the roles
	}
}

// withoutLibpq takes from an environment what says where libpq connects: that is the proxy.
func withoutLibpq(environ []string) []string {
	return slices.DeleteFunc(environ, func(v string) bool { return strings.HasPrefix(v, "PG") })
}

// join runs pg_dump and writes what it does behind the roles.
func join(pgDump *exec.Cmd, out io.Writer, roles *dump.Roles, create bool) error {
	text, err := pgDump.StdoutPipe()
	if err != nil {
		return err
	}
	if err := pgDump.Start(); err != nil {
		return err
	}
	err = dump.Join(out, roles, text, create)
	if err != nil { // it would wait for a reader for ever
		err = errors.Join(err, pgDump.Process.Kill())
	}
	if ended := pgDump.Wait(); ended != nil {
		err = errors.Join(err, fmt.Errorf("pg_dump: %w", ended))
	}
	return err
}

// socketPort is the port in the name of the private proxy's socket.
const socketPort = "5432"

// withProxy runs f with a proxy in front of the server that only this user can reach; its socket is in the directory.
func (o *dumpOptions) withProxy(ctx context.Context, f func(dir string) error) (err error) {
	text, where := connectionString(o.dsn)
	upstream, err := proxy.NewUpstream(text)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	signal.Ignore(syscall.SIGPIPE) // else what is made here stays, if whoever reads the dump leaves
	dir, err := os.MkdirTemp("", program)
	if err != nil {
		return fmt.Errorf("no place for the socket that pg_dump connects to: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return whileServing(ctx, proxy.Options{
		Listen: []string{filepath.Join(dir, ".s.PGSQL."+socketPort)}, Upstream: upstream,
		Settings: proxy.Settings{Policy: policy.Default(), Grace: time.Second},
	}, func(*proxy.Server) error { return f(dir) })
}
