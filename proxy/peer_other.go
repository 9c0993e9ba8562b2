//go:build !linux

package proxy

import (
	"errors"
	"net"
)

// peerName needs SO_PEERCRED.
func peerName(net.Conn) (string, error) {
	return "", errors.New("peer authentication is not supported on this platform")
}
