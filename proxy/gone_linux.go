package proxy

import (
	"net"

	"golang.org/x/sys/unix"
)

// hungUp reports whether the peer has closed its end of a socket, even if something that it sent before is still unread.
// The server finds that out in the same way (WaitEventAdjustEpoll, WL_SOCKET_CLOSED, src/backend/storage/ipc/latch.c).
func hungUp(fd int) bool { return happened(fd, unix.POLLRDHUP) }

// happened reports whether there is an event of a descriptor.
func happened(fd int, event int16) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: event}} //nolint:gosec // descriptors are small
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

// connHungUp is hungUp for a connection; false where it cannot be told.
func connHungUp(c net.Conn) (gone bool) {
	err := control(c, func(fd int) error { gone = hungUp(fd); return nil })
	return err == nil && gone
}
