package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newValidateCommand() *cobra.Command {
	var s source
	c := &cobra.Command{
		Use:   "validate",
		Short: "Check a manifest without a server",
		Long:  "validate reads a manifest, and all files that it names, and tells all mistakes at once, with their places.",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := s.load("", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			n := m.Counts
			_, err = fmt.Fprintf(cmd.OutOrStdout(),
				"valid: %d databases, %d schemas, %d roles, %d grants, %d default privileges, %d memberships, %d retirements\n",
				n.Databases, n.Schemas, n.Roles, n.Grants, n.DefaultPrivileges, n.Memberships, n.Retirements)
			return err
		},
	}
	s.flags(c)
	return c
}
