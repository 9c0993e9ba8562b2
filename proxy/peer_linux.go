package proxy

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerName returns the name of the operating system's user at the other end of a Unix socket, as it was when it connected.
func peerName(c net.Conn) (string, error) {
	local, ok := c.(syscall.Conn)
	if !ok || !onUnixSocket(c) {
		return "", errors.New("peer: not a Unix socket")
	}
	raw, err := local.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("peer: %w", err)
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return "", fmt.Errorf("peer: %w", err)
	}
	if failed != nil {
		return "", fmt.Errorf("peer: %w", failed)
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(peer.Uid), 10))
	if err != nil {
		return "", fmt.Errorf("peer: %w", err)
	}
	return u.Username, nil
}
