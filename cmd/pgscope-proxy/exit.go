package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pgscope/pgscope-proxy/config"
)

// The exit codes. They are part of the contract with scripts.
const (
	exitOK          = 0  // nothing to do, or done
	exitFailure     = 1  // an error
	exitDifferences = 2  // what is and what should be differ
	exitRefused     = 3  // refused by policy
	exitUsage       = 64 // a mistake in the command line: EX_USAGE, sysexits.h
)

// exitError is an error that says how the process ends. Without an err there is nothing to print.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError marks an error as a mistake in the command line.
func usageError(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUsage, err}
}

// settingError is what is wrong with the value of a setting, as who uses it finds.
type settingError struct {
	setting string
	err     error
}

func (e *settingError) Error() string { return e.err.Error() }
func (e *settingError) Unwrap() error { return e.err }

// ofFlags marks an error as a mistake in the command line where it is one in the value of a flag.
func ofFlags(flags *pflag.FlagSet, err error) error {
	var inFlag config.FlagError
	var found *settingError
	switch {
	case errors.As(err, &inFlag):
		return usageError(err)
	case errors.As(err, &found) && flags.Changed(found.setting):
		return valueError(err)
	default:
		return err
	}
}

// valueError is usageError for the value of a flag, which may name a file: what is wrong with that is no mistake in the
// command line.
func valueError(err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return err
	}
	return usageError(err)
}

// usageArgs makes the errors of a check of arguments mistakes in the command line.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error { return usageError(check(cmd, args)) }
}

// arguments refuses less or more arguments than there should be of what.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch n := len(args); {
		case n < least:
			return usageError(fmt.Errorf("%s needs %s", cmd.CommandPath(), what))
		case n > most:
			return usageError(fmt.Errorf("%s takes %s, and was given %d arguments", cmd.CommandPath(), what, n))
		default:
			return nil
		}
	}
}

// noArguments refuses arguments. Who gives one may have meant the file that a flag is for.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	meant := ""
	if cmd.Flags().Lookup("file") != nil {
		meant = "; did you mean --file " + args[0] + "?"
	}
	return usageError(fmt.Errorf("%s takes no argument %q%s", cmd.CommandPath(), args[0], meant))
}

// exitCode returns the code that a command's error stands for.
func exitCode(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	default:
		return exitFailure
	}
}
