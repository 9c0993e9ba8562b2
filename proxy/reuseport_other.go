//go:build !linux

package proxy

import (
	"errors"
	"syscall"
)

// setReusePort: elsewhere than on Linux, the ports that share an address do not share its clients.
func setReusePort(string, string, syscall.RawConn) error {
	return errors.New("reuse-port is for Linux only")
}
