package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/provision"
	"github.com/pgscope/pgscope-proxy/scope"
)

func newRolesCommand() *cobra.Command {
	var dsn, format string
	var all bool
	c := &cobra.Command{
		Use:   "roles",
		Short: "List a database's roles: what clients call them, and what the server does",
		Long:  "roles lists the roles that belong to a database: what clients call them, what the server does, and their attributes.",
		Example: "  pgscope-proxy roles\n" +
			"  pgscope-proxy roles --all -o json",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show, ok := roleFormats[format]
			if !ok {
				return usageError(fmt.Errorf("unknown output format %q: text or json", format))
			}
			return withServer(cmd, dsn, func(ctx context.Context, conn *pgconn.PgConn) error {
				read := provision.Roles
				if all {
					read = provision.AllRoles
				}
				list, err := read(ctx, conn)
				if err != nil {
					return err
				}
				return show(cmd.OutOrStdout(), list)
			})
		},
	}
	addDSN(c, &dsn)
	c.Flags().StringVarP(&format, "output", "o", "text", "the `format` of what is shown: text or json")
	c.Flags().BoolVar(&all, "all", false, "list the roles of all databases of the cluster")
	return c
}

var roleFormats = map[string]func(io.Writer, []scope.Listed) error{"text": rolesText, "json": rolesJSON}

func rolesText(out io.Writer, list []scope.Listed) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintln(w, "DATABASE\tROLE\tON THE SERVER\tATTRIBUTES")
	for _, r := range list {
		if err == nil {
			_, err = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Database, r.Name, r.Cluster, strings.Join(r.Attributes, " "))
		}
	}
	if err := cmp.Or(err, w.Flush()); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// listedRole is the JSON of one role. The keys are part of the contract with scripts.
type listedRole struct {
	Database   string        `json:"database"`
	Role       scope.Short   `json:"role"`
	Cluster    scope.Cluster `json:"cluster"`
	Attributes []string      `json:"attributes"`
}

func rolesJSON(out io.Writer, list []scope.Listed) error {
	roles := make([]listedRole, 0, len(list))
	for _, r := range list {
		roles = append(roles, listedRole{r.Database, r.Name, r.Cluster, r.Attributes})
	}
	return writeJSON(out, roles)
}
