package pgtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

// reaper is a shell that waits for the end of this process and then stops the server and removes its directory.
// It learns of the end by the end of its input, which the system closes however the process went: os.Exit, a panic in
// any goroutine, SIGKILL.
type reaper struct {
	cmd  *exec.Cmd
	hold *os.File // while it is open, the reaper waits
}

// reap is given pg_ctl and the cluster's directory. A line on its input dismisses it.
const reap = `read -r _ && exit 0
"$1" stop -D "$2/data" -m immediate -w -s
exec rm -rf -- "$2"`

func newReaper(acct account, pgctl, dir string) (*reaper, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := acct.command(context.Background(), "/bin/sh", "-c", reap, "pgtest-reaper", pgctl, dir)
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	if err := r.Close(); err != nil {
		return nil, errors.Join(err, w.Close(), cmd.Wait())
	}
	return &reaper{cmd: cmd, hold: w}, nil
}

// dismiss ends the reaper without anything done.
func (r *reaper) dismiss() error {
	_, err := r.hold.WriteString("\n")
	return errors.Join(err, r.hold.Close(), r.cmd.Wait())
}
