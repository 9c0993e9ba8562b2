package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestListenOnSocket: a socket that a process has left is taken, one that a process listens on is not, not even
// where it is too busy to accept anybody.
func TestListenOnSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := OpenListener(context.Background(), path, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // which removes it
		t.Fatal(err)
	}

	busy, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(busy) }() // it was listened on
	if err := errors.Join(unix.Bind(busy, &unix.SockaddrUnix{Name: path}), unix.Listen(busy, 0)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"another process listens there", "cannot be told whether another process listens there"} {
		if _, err := OpenListener(context.Background(), path, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		for err == nil { // until its queue is full
			_, err = new(net.Dialer).DialContext(t.Context(), "unix", path)
		}
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}
