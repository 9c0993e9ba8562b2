package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newManCommand makes the command that packages are built with.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages",
		Hidden: true,
		Args:   arguments(1, 1, "one directory"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.Root().DisableAutoGenTag = true // the same pages every time
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Source: program, Manual: "PostgreSQL"}, args[0])
		},
	}
}
