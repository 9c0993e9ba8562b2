package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// run measures a command, whose output goes where this one's errors go.
func run(flags *flag.FlagSet) func() error {
	return func() error {
		command := flags.Args()
		if len(command) == 0 {
			return errors.New("no command")
		}
		c := exec.Command(command[0], command[1:]...)
		c.Stdout, c.Stderr = os.Stderr, os.Stderr
		began := time.Now()
		err := c.Run()
		took := time.Since(began)
		if c.ProcessState == nil {
			return err
		}
		used, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			return errors.New("the system does not say what the command used")
		}
		fmt.Printf("%.3f %d %d\n", took.Seconds(), used.Maxrss, c.ProcessState.ExitCode())
		return nil
	}
}
