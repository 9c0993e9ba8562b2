package main

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/manifest"
	"github.com/pgscope/pgscope-proxy/reconcile"
)

func newExportCommand() *cobra.Command {
	var dsn, mode, names, out string
	c := &cobra.Command{
		Use:     "export",
		Aliases: []string{"generate"},
		Short:   "Write the access in a database as a manifest",
		Long: "export writes a manifest of the access that a database has now: its plan is empty. Passwords are left out.\n" +
			"With --mode adopt, roles that carry the database's prefix and belong to no database are written as its own; apply --mode adopt makes them so.",
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := reconcile.ParseMode(mode)
			if err != nil {
				return usageError(err)
			}
			s, ok := manifest.ParseScope(names)
			if !ok {
				return usageError(fmt.Errorf("unknown scope %q: database or none", names))
			}
			return withServer(cmd, dsn, func(ctx context.Context, conn *pgconn.PgConn) error {
				desired, err := reconcile.Export(ctx, conn, m, s == manifest.None)
				if err != nil {
					return err
				}
				if out == "" {
					return manifest.Write(cmd.OutOrStdout(), desired)
				}
				file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return err
				}
				if err := manifest.Write(file, desired); err != nil {
					_ = file.Close() // the error that matters is known
					return err
				}
				return file.Close()
			})
		},
	}
	addDSN(c, &dsn)
	addScope(c, &names)
	c.Flags().StringVar(&mode, "mode", reconcile.Authoritative.String(), "authoritative, or adopt for roles that carry the database's prefix")
	c.Flags().StringVar(&out, "out", "", "write it to this `file`, which must not exist")
	return c
}
