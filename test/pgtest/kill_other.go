//go:build unix && !linux

package pgtest

import (
	"errors"
	"fmt"
	"syscall"
)

// killTree kills a postmaster. Its children notice that it is gone and end by themselves.
func killTree(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return nil
}

// removeSharedMemory leaves the segment, of a few bytes, to the next start in the same directory.
func removeSharedMemory(int) error { return nil }
