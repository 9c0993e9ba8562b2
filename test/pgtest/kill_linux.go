package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// killTree kills a postmaster and its children. It stops the postmaster first, so that it makes no new ones.
func killTree(pid int) error {
	if err := signal(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	children, err := children(pid)
	for _, child := range children {
		err = errors.Join(err, signal(child, syscall.SIGKILL))
	}
	return errors.Join(err, signal(pid, syscall.SIGKILL))
}

// signal sends a signal to a process, which may have ended already.
func signal(pid int, sig syscall.Signal) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %v to process %d: %w", sig, pid, err)
	}
	return nil
}

// children returns the children of a process, from field 4 (ppid) of every /proc/PID/stat, see proc_pid_stat(5).
// Field 2 is the program's name in parentheses and may hold anything.
func children(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var list []int
	for _, stat := range stats {
		content, err := os.ReadFile(stat)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended since
		}
		if err != nil {
			return nil, err
		}
		fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(pid) {
			continue
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		if err != nil {
			return nil, err
		}
		list = append(list, child)
	}
	return list, nil
}

// removeSharedMemory removes the segment that a killed server left behind.
func removeSharedMemory(shmid int) error {
	if shmid == 0 {
		return nil
	}
	if _, err := unix.SysvShmCtl(shmid, unix.IPC_RMID, nil); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("shared memory segment %d: %w", shmid, err)
	}
	return nil
}
