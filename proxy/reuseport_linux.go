package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// setReusePort lets another process listen on the same port (SO_REUSEPORT, socket(7)).
func setReusePort(_, _ string, c syscall.RawConn) error {
	var err error
	if fault := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); fault != nil {
		return fault
	}
	return err
}
