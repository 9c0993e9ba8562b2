package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/config"
	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/proxy"
	"github.com/pgscope/pgscope-proxy/scope"
)

func newInitCommand() *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use:   "init",
		Short: "Enrol a database, name an administrator of its roles, sweep the cluster",
		Long: "init makes the marker of the database that the connection is for, if it has none, so that it can have roles\n" +
			"of its own. It can be run again without harm.\n" +
			"With --admin it lets a role with CREATEROLE administer the roles of that one database.\n" +
			"With --claim it settles whose a marker is that two databases may have, as in a cluster restored from a dump:\n" +
			"it is that of the connection's database.\n" +
			"With --sweep it repairs what direct connections, crashes and restores have left behind in the whole cluster:\n" +
			"roles of databases that are gone, and roles and markers of databases that were renamed.",
		Example: "  pgscope-proxy init\n" +
			"  pgscope-proxy init --admin dba\n" +
			"  pgscope-proxy init --sweep",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withServer(cmd, o.dsn, func(ctx context.Context, conn *pgconn.PgConn) error {
				return o.run(ctx, conn, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	addDSN(c, &o.dsn)
	c.Flags().StringVar(&o.prefix, "prefix", "", "the `prefix` of the database's roles (default: its name)")
	c.Flags().StringVar(&o.admin, "admin", "", "the `role` that shall administer the roles of the database")
	c.Flags().StringVar(&o.claim, "claim", "", "the marker `role` that is this database's, where that cannot be told")
	c.Flags().BoolVar(&o.sweep, "sweep", false, "repair what was left behind in the whole cluster")
	return c
}

type initOptions struct {
	dsn, prefix, admin, claim string
	sweep                     bool
}

func (o initOptions) run(ctx context.Context, conn *pgconn.PgConn, out, diagnostics io.Writer) error {
	if o.claim != "" {
		if err := provision.Claim(ctx, conn, scope.Cluster(o.claim)); err != nil {
			return err
		}
	}
	if o.sweep { // first: the database may have been renamed
		warnings, err := provision.Sweep(ctx, conn)
		warn(diagnostics, warnings)
		if err != nil {
			return err
		}
	}
	db, err := provision.Enrol(ctx, conn, o.prefix)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "database %q: its roles begin with %q and are members of %q\n", db.Name, db.Prefix+scope.Separator, db.Marker); err != nil {
		return err
	}
	if o.admin != "" {
		if err := provision.Administrator(ctx, conn, db, scope.Cluster(o.admin)); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "role %q: administers the roles of database %q\n", o.admin, db.Name); err != nil {
			return err
		}
	}
	if o.sweep { // which has told all of it
		return nil
	}
	warnings, err := provision.Mistaken(ctx, conn, db)
	warn(diagnostics, warnings)
	return err
}

func warn(diagnostics io.Writer, warnings []string) {
	for _, w := range warnings {
		_, _ = fmt.Fprintf(diagnostics, "WARNING:  %s\n", w) // there is nowhere else to tell
	}
}

// addDSN adds the flag that names the server and the database.
func addDSN(c *cobra.Command, dsn *string) {
	c.Flags().StringVar(dsn, "dsn", "", "the server and the database, a libpq URI or key/value `string` (default: $DATABASE_URL, then PGHOST, PGDATABASE …)")
}

// withServer runs f with a connection to the server itself, and shows what the server says beside.
func withServer(cmd *cobra.Command, dsn string, f func(context.Context, *pgconn.PgConn) error) error {
	c, err := serverConfig(cmd, dsn)
	if err != nil {
		return err
	}
	return withConn(cmd.Context(), c, f)
}

// serverConfig reads a connection string as the commands take it.
func serverConfig(cmd *cobra.Command, dsn string) (*pgconn.Config, error) {
	text, where := connectionString(dsn)
	_, err := config.ParseDSN(text)
	var c *pgconn.Config
	if err == nil {
		c, err = proxy.ParseConfig(text)
	}
	switch {
	case errors.Is(err, proxy.ErrHostAddr):
		return nil, err
	case err != nil:
		if err = fmt.Errorf("%s: %w", where, err); dsn != "" {
			err = valueError(err)
		}
		return nil, err
	}
	c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s:  %s\n", n.Severity, n.Message) // there is nowhere else to tell
		if n.Detail != "" {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "DETAIL:  %s\n", n.Detail) // there is nowhere else to tell
		}
	}
	return c, nil
}

// connectionString returns what says where the server is, and where that stands.
func connectionString(dsn string) (text, where string) {
	const url = "DATABASE_URL"
	switch text = os.Getenv(url); {
	case dsn != "":
		return dsn, "--dsn"
	case text != "":
		return text, url
	default:
		return "", "PGHOST and the like"
	}
}

// connectServer connects to the server itself: through a proxy, names that are the cluster's would be mapped once more.
func connectServer(ctx context.Context, config *pgconn.Config) (*pgconn.PgConn, error) {
	conn, err := pgconn.ConnectConfig(ctx, config)
	switch {
	case err == nil:
	case strings.HasPrefix(config.Host, "/") && os.Getenv("PGHOST") == "": // libpq's own guess, it may be
		return nil, fmt.Errorf("%w; --dsn, DATABASE_URL or PGHOST say where another server is", err)
	default:
		return nil, err
	}
	rows, err := provision.Query(ctx, conn, "SELECT pg_catalog.current_setting('"+scope.DatabaseSetting+"', true)", nil)
	if err == nil && len(rows) == 1 && rows[0][0] != "" {
		err = errors.New("the connection leads to the proxy, and must lead to the server behind it")
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return conn, nil
}

func withConn(ctx context.Context, config *pgconn.Config, f func(context.Context, *pgconn.PgConn) error) (err error) {
	conn, err := connectServer(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return f(ctx, conn)
}
