package proxy

import (
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// descriptor is a connection that Go's poller does not know: an event loop has had it, and a server's may wait for a client.
// Most need no more than a last word before they are closed, or go to a loop again. One that has to wait becomes Go's.
type descriptor struct {
	mu       sync.Mutex
	fd       int      // -1 once somebody else has it
	conn     net.Conn // Go's, from then on
	deadline time.Time
}

// polled makes it a connection of Go's. Where that fails there is nobody to talk to.
func (d *descriptor) polled() net.Conn {
	if d.conn != nil {
		return d.conn
	}
	d.conn = broken()
	if d.fd >= 0 {
		f := os.NewFile(uintptr(d.fd), "")
		d.fd = -1
		if c, err := net.FileConn(f); err == nil {
			d.conn = c
		}
		_ = f.Close() // FileConn has a copy
	}
	_ = d.conn.SetDeadline(d.deadline) // the next to read or write finds what is wrong
	return d.conn
}

// broken returns a connection whose peer is gone.
func broken() net.Conn {
	c, gone := net.Pipe()
	_ = gone.Close()
	return c
}

// release returns the descriptor, which is the caller's from then on; false where it is no longer one.
func (d *descriptor) release() (fd int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fd = d.fd
	d.fd = -1
	return fd, fd >= 0
}

// quiet reports whether the peer is there and has said nothing.
func (d *descriptor) quiet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd < 0 {
		return false
	}
	var one [1]byte
	_, _, err := unix.Recvfrom(d.fd, one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == unix.EAGAIN
}

func (d *descriptor) Read(b []byte) (int, error) {
	d.mu.Lock()
	c := d.polled()
	d.mu.Unlock()
	return c.Read(b)
}

func (d *descriptor) Write(b []byte) (int, error) {
	d.mu.Lock()
	written := 0
	if d.fd >= 0 && len(b) > 0 {
		if n, errno := rawWrite(d.fd, b); errno == 0 {
			written = n
		}
	}
	if written == len(b) {
		d.mu.Unlock()
		return written, nil
	}
	c := d.polled()
	d.mu.Unlock()
	n, err := c.Write(b[written:])
	return written + n, err
}

func (d *descriptor) Close() error {
	if fd, ok := d.release(); ok {
		return os.NewSyscallError("close", unix.Close(fd))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return net.ErrClosed
	}
	return d.conn.Close()
}

// CloseWrite lets the peer read to the end.
func (d *descriptor) CloseWrite() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd >= 0 {
		return os.NewSyscallError("shutdown", unix.Shutdown(d.fd, unix.SHUT_WR))
	}
	if half, ok := d.polled().(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

func (d *descriptor) SetDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deadline = t
	if d.conn != nil {
		return d.conn.SetDeadline(t)
	}
	return nil
}

func (d *descriptor) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.polled().SetReadDeadline(t)
}

func (d *descriptor) SetWriteDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.polled().SetWriteDeadline(t)
}

func (d *descriptor) LocalAddr() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.polled().LocalAddr()
}

func (d *descriptor) RemoteAddr() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.polled().RemoteAddr()
}
