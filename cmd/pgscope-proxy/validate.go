package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newValidateCommand() *cobra.Command {
	var s source
	c := &cobra.Command{
		Use:     "validate",
		Short:   "Check a manifest without a server",
		Long:    "validate reads a manifest, and all files that it names, and tells all mistakes at once, with their places.",
		Example: "  pgscope-proxy validate -f access.yaml",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := s.load("", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			n := m.Counts
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "valid: "+strings.Join([]string{
				count(n.Databases, "database"), count(n.Schemas, "schema"), count(n.Roles, "role"), count(n.Grants, "grant"),
				count(n.DefaultPrivileges, "default privilege"), count(n.Memberships, "membership"), count(n.Retirements, "retirement"),
			}, ", "))
			return err
		},
	}
	s.flags(c)
	return c
}
