// Command pgscope-proxy gives every database of a PostgreSQL cluster its own roles. See README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // for the policy's times of the week, where the system has no time zones

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

// run ends when the command does. The first SIGINT or SIGTERM asks it to; the second ends the process at once.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	cobra.EnableCommandSorting = false // root.go has the commands in the order of use
	return execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
}
