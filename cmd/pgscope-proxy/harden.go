package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
)

func newHardenCommand() *cobra.Command {
	var dsn string
	var apply bool
	c := &cobra.Command{
		Use:   "harden",
		Short: "Close the direct way into a database to the roles of others",
		Long: "harden prints what keeps the roles of other databases out of the database that the connection is for, and\n" +
			"its own roles out of other databases, whether they come through the proxy or not: statements for the server,\n" +
			"and lines for pg_hba.conf.\n" +
			"With --apply it runs the statements; pg_hba.conf is yours to change. It can be run again, and should be when\n" +
			"roles with NOINHERIT were made: those do not get CONNECT from the marker.",
		Example: "  pgscope-proxy harden\n" +
			"  pgscope-proxy harden --apply",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withServer(cmd, dsn, func(ctx context.Context, conn *pgconn.PgConn) error {
				h, err := provision.Harden(ctx, conn)
				if err != nil {
					return err
				}
				warn(cmd.ErrOrStderr(), h.Warnings)
				if apply {
					if err := h.Apply(ctx, conn); err != nil {
						return err
					}
				}
				return showHardening(cmd.OutOrStdout(), h, apply)
			})
		},
	}
	addDSN(c, &dsn)
	c.Flags().BoolVar(&apply, "apply", false, "run the statements")
	return c
}

func showHardening(out io.Writer, h *provision.Hardening, applied bool) error {
	var b strings.Builder
	if applied {
		b.WriteString("-- Done on the server:\n")
	} else {
		b.WriteString("-- For the server:\n")
	}
	for _, sql := range h.SQL {
		fmt.Fprintf(&b, "%s;\n", sql)
	}
	if len(h.Shut) > 0 {
		fmt.Fprintf(&b, "-- These roles of the cluster cannot connect to the database any more, unless they are granted it:\n")
		for _, c := range h.Shut {
			fmt.Fprintf(&b, "-- GRANT CONNECT ON DATABASE %s TO %s;\n", scope.QuoteIdent(h.Database.Name), c.Ident())
		}
	}
	b.WriteString("\n# For pg_hba.conf, in front of all other lines but those of superusers; then SELECT pg_reload_conf().\n")
	for _, line := range h.HBA() {
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
