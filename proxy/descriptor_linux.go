package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// descriptor is a connection that Go's poller does not know: one of a coroutine, one that is parked in the pool, or one
// about to be closed. In a coroutine the loop waits for it. Outside, a descriptor that has to wait becomes a connection
// of Go's; most need not, as they only get a last message, or go to a loop again.
type descriptor struct {
	mu              sync.Mutex
	fd              int      // -1 once somebody else has it
	conn            net.Conn // Go's, from then on
	readBy, writeBy time.Time
	local, remote   net.Addr // nil where nobody has asked for them

	// The rest is for the thread of the coroutine's loop.
	coroutine *coroutine // that it belongs to; nil for none
	mask      uint32     // what epoll waits for; 0: not attached
	awaits    uint32     // what the coroutine waits for; 0 while it runs, or waits for something else
}

// join gives it to a coroutine, also where it has become Go's.
func (d *descriptor) join(co *coroutine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd < 0 {
		fd, err := duplicate(d.conn)
		_ = d.conn.Close() // Go's poller must not look at it any more. The copy lives on
		if err != nil {
			d.conn = broken()
			return
		}
		d.fd, d.conn = fd, nil
	}
	d.coroutine = co
}

// duplicate returns a copy of the descriptor of a connection or a listener of Go's. It shares O_NONBLOCK with the original.
func duplicate(of any) (fd int, err error) {
	s, ok := of.(syscall.Conn)
	if !ok {
		return -1, errors.ErrUnsupported
	}
	err = controlOf(s, func(original int) (err error) {
		fd, err = unix.FcntlInt(uintptr(original), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// toPoller makes it a connection of Go's, and returns that; where it cannot, one whose peer is
// gone. The caller has locked mu.
func (d *descriptor) toPoller() net.Conn {
	if d.conn != nil {
		return d.conn
	}
	d.conn = broken()
	if d.fd >= 0 {
		if d.mask != 0 {
			_ = d.setInterest(0) // it was attached
		}
		f := os.NewFile(uintptr(d.fd), "")
		d.fd, d.coroutine = -1, nil
		if c, err := net.FileConn(f); err == nil {
			d.conn = c
		}
		_ = f.Close() // FileConn has a copy
	}
	_ = d.conn.SetReadDeadline(d.readBy) // the next to read or write finds what is wrong
	_ = d.conn.SetWriteDeadline(d.writeBy)
	return d.conn
}

// broken returns a connection whose peer is gone.
func broken() net.Conn {
	c, gone := net.Pipe()
	_ = gone.Close()
	return c
}

// release returns the file descriptor, which is the caller's from then on, and what its loop
// waits for; false where Go has it.
func (d *descriptor) release() (fd int, mask uint32, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd < 0 { // and in no coroutine: what reads and writes it now may look at that at the same moment
		return -1, 0, false
	}
	fd = d.fd
	d.fd, d.coroutine = -1, nil
	return fd, d.mask, true
}

// quiet reports whether the peer is there and has said nothing.
func (d *descriptor) quiet() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd < 0 {
		return false
	}
	return rawQuiet(d.fd)
}

func (d *descriptor) Read(b []byte) (int, error) {
	if d.coroutine == nil {
		return d.goConn().Read(b)
	}
	for {
		if err := d.overdue(unix.EPOLLIN); err != nil {
			return 0, err
		}
		n, errno := rawRead(d.fd, b)
		switch {
		case errno == unix.EAGAIN:
			if err := d.wait(unix.EPOLLIN); err != nil {
				return 0, err
			}
		case errno == unix.EINTR:
		case errno != 0:
			return 0, os.NewSyscallError("read", errno)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (d *descriptor) Write(b []byte) (int, error) {
	if d.coroutine == nil {
		return d.writeOffLoop(b)
	}
	for written := 0; ; {
		if err := d.overdue(unix.EPOLLOUT); err != nil {
			return written, err
		}
		n, errno := rawWrite(d.fd, b[written:])
		switch errno {
		case 0:
			if written += n; written == len(b) {
				return written, nil
			}
		case unix.EINTR:
		case unix.EAGAIN:
			if err := d.wait(unix.EPOLLOUT); err != nil {
				return written, err
			}
		default:
			return written, os.NewSyscallError("write", errno)
		}
	}
}

// writeOffLoop is Write outside of a coroutine: a short message finds room, and Go's poller is not needed.
func (d *descriptor) writeOffLoop(b []byte) (int, error) {
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
	c := d.toPoller()
	d.mu.Unlock()
	n, err := c.Write(b[written:])
	return written + n, err
}

// goConn is toPoller for callers that have not locked mu.
func (d *descriptor) goConn() net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.toPoller()
}

// wait yields the thread until one of the events may have come, or the deadline has.
func (d *descriptor) wait(events uint32) error {
	if by := d.deadline(events); !by.IsZero() {
		d.coroutine.loop.expireBy(by)
	}
	if d.mask&events == 0 {
		if err := d.setInterest(d.mask | events); err != nil {
			return err
		}
	}
	d.awaits = events
	d.coroutine.yield()
	d.awaits = 0
	return d.overdue(events)
}

// ready resumes the coroutine, if it waits for one of these events. Otherwise epoll is told to wait for nothing else: the
// coroutine may be busy with another connection for long.
func (d *descriptor) ready(events uint32) {
	if d.awaits != 0 && events&(d.awaits|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		d.coroutine.resume()
		return
	}
	_ = d.setInterest(d.awaits) // it is attached
}

// expire resumes a coroutine that has waited beyond its deadline.
func (d *descriptor) expire(now time.Time) {
	if d.awaits == 0 {
		return
	}
	switch by := d.deadline(d.awaits); {
	case by.IsZero():
	case now.Before(by):
		d.coroutine.loop.expireBy(by)
	default:
		d.coroutine.resume()
	}
}

// checkDeadline makes a waiting coroutine look at its deadline, which is another one now.
func (d *descriptor) checkDeadline() {
	if d.awaits != 0 {
		d.coroutine.resume()
	}
}

// setInterest makes the loop wait for some events, or for none.
func (d *descriptor) setInterest(events uint32) error {
	before := d.mask
	d.mask = events
	if events != 0 {
		d.mask |= attached
	}
	return d.coroutine.loop.setInterest(d.fd, before, d.mask, d)
}

// deadline is the one for some events.
func (d *descriptor) deadline(events uint32) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if events == unix.EPOLLIN {
		return d.readBy
	}
	return d.writeBy
}

// overdue reports whether it is too late for some events.
func (d *descriptor) overdue(events uint32) error {
	if by := d.deadline(events); !by.IsZero() && !time.Now().Before(by) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (d *descriptor) Close() error {
	co := d.coroutine
	if fd, _, ok := d.release(); ok {
		if co != nil && co.loop.at(fd) == handler(d) {
			co.loop.set(fd, nil) // epoll forgets what is closed
		}
		return os.NewSyscallError("close", rawClose(fd))
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
	if half, ok := d.toPoller().(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// SyscallConn implements [syscall.Conn], for who needs to know who the peer is.
func (d *descriptor) SyscallConn() (syscall.RawConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, ok := d.conn.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	if d.fd < 0 {
		return nil, net.ErrClosed
	}
	return rawConn(d.fd), nil
}

// rawConn is the part of a [syscall.RawConn] that waits for nothing.
type rawConn int

func (fd rawConn) Control(f func(uintptr)) error { f(uintptr(fd)); return nil }
func (rawConn) Read(func(uintptr) bool) error    { return syscall.ENOTSUP }
func (rawConn) Write(func(uintptr) bool) error   { return syscall.ENOTSUP }

func (d *descriptor) SetDeadline(t time.Time) error      { return d.set(t, true, true) }
func (d *descriptor) SetReadDeadline(t time.Time) error  { return d.set(t, true, false) }
func (d *descriptor) SetWriteDeadline(t time.Time) error { return d.set(t, false, true) }

// set sets deadlines. One that has passed interrupts a wait under way; any other counts from the next wait on.
func (d *descriptor) set(t time.Time, reading, writing bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if reading {
		d.readBy = t
	}
	if writing {
		d.writeBy = t
	}
	switch {
	case d.conn != nil && reading && writing:
		return d.conn.SetDeadline(t)
	case d.conn != nil && reading:
		return d.conn.SetReadDeadline(t)
	case d.conn != nil:
		return d.conn.SetWriteDeadline(t)
	case d.coroutine != nil && !t.IsZero() && time.Until(t) <= 0:
		d.coroutine.loop.post(d.checkDeadline)
	}
	return nil
}

func (d *descriptor) LocalAddr() net.Addr {
	if d.local != nil {
		return d.local
	}
	return d.goConn().LocalAddr()
}

func (d *descriptor) RemoteAddr() net.Addr {
	if d.remote != nil {
		return d.remote
	}
	return d.goConn().RemoteAddr()
}
