package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

const program = "pgscope-proxy"

// execute runs the command that args name, and returns the process's exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	code := exitCode(err)
	if err != nil && err.Error() != "" {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", program, err) // there is nowhere else to tell
	}
	if code == exitUsage {
		_, _ = fmt.Fprintf(stderr, "See %s --help\n", cmd.CommandPath())
	}
	return code
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           program,
		Short:         "Gives every database of a PostgreSQL cluster its own roles",
		SilenceErrors: true, // execute prints them
		SilenceUsage:  true,
		Version:       thisVersion(), // what --version says
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	addGroup(root, "Run the proxy:", newServeCommand(), newHealthcheckCommand(), newPolicyCommand(), newAuditCommand(), newDemoCommand())
	addGroup(root, "Declare access in a file:",
		newValidateCommand(), newPlanCommand(), newApplyCommand(), newCheckCommand(), newExportCommand())
	addGroup(root, "The roles of a database:",
		newInitCommand(), newRolesCommand(), newHardenCommand(), newDumpRolesCommand(), newDumpCommand())
	root.AddCommand(newManCommand(), newVersionCommand())
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", helpWidth)))
	onlyCommands(root)
	strictBuiltins(root)
	return root
}

// helpWidth is how many columns a help text has.
const helpWidth = 120

// addGroup adds commands that the help text has under a title.
func addGroup(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range commands {
		c.GroupID = title
		root.AddCommand(c)
	}
}

// onlyCommands makes whatever does not name a subcommand of c a mistake in the command line.
func onlyCommands(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError(fmt.Errorf("%s needs a command", c.CommandPath()))
		}
		return unknownCommand(c, args[0])
	}
}

func unknownCommand(parent *cobra.Command, name string) error {
	meant := ""
	if like := parent.SuggestionsFor(name); len(like) > 0 {
		meant = "; did you mean " + strings.Join(like, " or ") + "?"
	}
	return usageError(fmt.Errorf("%s has no command %q%s", parent.CommandPath(), name, meant))
}

// strictBuiltins makes cobra's own commands, help and completion, as strict about their arguments as ours.
func strictBuiltins(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				topic, rest, err := root.Find(args)
				if err == nil && len(rest) > 0 {
					err = unknownCommand(topic, rest[0])
				}
				return usageError(err)
			}
		case "completion":
			onlyCommands(c)
			for _, shell := range c.Commands() {
				shell.Args = usageArgs(shell.Args)
			}
		}
	}
}
