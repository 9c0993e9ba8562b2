package proxy

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// peerName returns the name of the operating system's user at the other end of a Unix socket, as it was when it connected.
func peerName(c net.Conn) (string, error) {
	if !onUnixSocket(c) {
		return "", errors.New("peer: not a Unix socket")
	}
	var peer *unix.Ucred
	if err := control(c, func(fd int) (err error) {
		peer, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
		return err
	}); err != nil {
		return "", fmt.Errorf("peer: %w", err)
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(peer.Uid), 10))
	if err != nil {
		return "", fmt.Errorf("peer: %w", err)
	}
	return u.Username, nil
}
