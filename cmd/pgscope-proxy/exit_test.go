package main

import (
	"errors"
	"fmt"
	"testing"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{usageError(nil), exitOK},
		{errors.New("no server"), exitFailure},
		{&exitError{code: exitDifferences}, exitDifferences},
		{fmt.Errorf("apply: %w", &exitError{exitRefused, errors.New("denied")}), exitRefused},
		{usageError(errors.New("which command?")), exitUsage},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
