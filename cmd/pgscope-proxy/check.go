package main

import (
	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/reconcile"
)

func newCheckCommand() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "check",
		Short: "Find access that differs from a manifest, and access that no manifest speaks of",
		Long: "check shows what apply would change, and beside it what the manifest does not speak of: roles of the\n" +
			"database that nobody declared, access and memberships left behind, access of everyone, and makers of objects\n" +
			"without default privileges. It ends with 2 if there is anything.",
		Example: "  pgscope-proxy check -f access.yaml              # ends with 2: everyone may connect\n" +
			"  pgscope-proxy check -f access.yaml -o markdown  # for a report; ends with 2",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show, err := planFormat(t.output)
			if err != nil {
				return err
			}
			parts, err := t.parts(cmd)
			if err != nil {
				return err
			}
			results := make([]result, len(parts))
			for i, p := range parts {
				report, findings, err := reconcile.Check(cmd.Context(), p.Options)
				if err != nil {
					return inDatabase(p.Database, err)
				}
				results[i] = result{p.Database, p.Shared, report, findings}
			}
			if err := show(cmd.OutOrStdout(), results); err != nil {
				return err
			}
			return differences(results)
		},
	}
	t.flags(c, "text, sql, json or markdown")
	return c
}
