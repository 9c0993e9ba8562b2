package proxy

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of a loop's thread. They do not block, or not for long, so the scheduler need not be told about them:
// it would look at each, and take the processor away from some.

// control calls f with the descriptor of the socket below a connection.
func control(c net.Conn, f func(fd int) error) error {
	s, ok := socket(c).(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	return controlOf(s, f)
}

// controlOf is control for what is no connection, as a listener.
func controlOf(s syscall.Conn, f func(fd int) error) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = f(int(fd)) })
	return cmp.Or(err, failed)
}

// rawSchedBatch makes the kernel take no processor away from anybody for the thread, which is woken for each
// message: when its turn comes, there are more of them. The policy knows no priority. Where it is not
// allowed, the loop works as well, only slower.
func rawSchedBatch() {
	var priority int32
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, unix.SCHED_BATCH, uintptr(unsafe.Pointer(&priority))) //nolint:gosec // as package syscall does
}

func rawEpollWait(epoll int, events []unix.EpollEvent, milliseconds int) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(milliseconds), 0, 0) //nolint:gosec // as package syscall does
	return int(n), errno
}

// rawRead and rawWrite are recv and send: on a socket 5 % less than read and write, which go by way of files.
func rawRead(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0) //nolint:gosec // as package syscall does
	return int(n), errno
}

// rawQuiet reports whether there is nothing to read, not even the end.
func rawQuiet(fd int) bool {
	var one byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&one)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0) //nolint:gosec // as package syscall does
	return errno == unix.EAGAIN
}

func rawWrite(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0) //nolint:gosec // as package syscall does
	return int(n), errno
}

// maxPieces is how many pieces one system call writes: IOV_MAX is 1024.
const maxPieces = 64

func rawWritev(fd int, pieces [][]byte) (int, syscall.Errno) {
	var vec [maxPieces]unix.Iovec
	n := 0
	for _, p := range pieces[:min(len(pieces), maxPieces)] {
		if len(p) > 0 {
			vec[n].Base = unsafe.SliceData(p) //nolint:gosec // as package syscall does
			vec[n].SetLen(len(p))
			n++
		}
	}
	w, _, errno := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vec[0])), uintptr(n)) //nolint:gosec // as package syscall does
	return int(w), errno
}

// rawIOSetup returns a context for so many requests at a time; 0 where the kernel gives none.
func rawIOSetup(requests int) (context uintptr) {
	_, _, errno := unix.RawSyscall(unix.SYS_IO_SETUP, uintptr(requests), uintptr(unsafe.Pointer(&context)), 0) //nolint:gosec // as package syscall does
	if errno != 0 {
		return 0
	}
	return context
}

func rawIODestroy(context uintptr) {
	if context != 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_IO_DESTROY, context, 0, 0)
	}
}

// rawIOSubmit makes the requests, and returns how many the kernel has taken.
func rawIOSubmit(context uintptr, requests []*aioRequest) (n int) {
	for context != 0 && n < len(requests) {
		more, _, errno := unix.RawSyscall(unix.SYS_IO_SUBMIT, context, uintptr(len(requests)-n), uintptr(unsafe.Pointer(&requests[n]))) //nolint:gosec // as package syscall does
		if errno != 0 {
			break
		}
		n += int(more)
	}
	return n
}

// rawIOGetEvents waits for as many results as there is room for, and returns how many there are.
func rawIOGetEvents(context uintptr, results []aioResult) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_IO_GETEVENTS, context, uintptr(len(results)), uintptr(len(results)), uintptr(unsafe.Pointer(&results[0])), 0, 0) //nolint:gosec // as package syscall does
	switch errno {
	case 0:
		return int(n)
	case unix.EINTR:
		return 0
	default:
		panic(os.NewSyscallError("io_getevents", errno)) // the context is ours, and so are the arguments
	}
}

func rawClose(fd int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return failure("close", errno)
}

// rawAccept returns a connection, and where it comes from; nil for a Unix socket.
func rawAccept(listener int) (fd int, from net.Addr, errno syscall.Errno) {
	var address unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&address)), uintptr(unsafe.Pointer(&size)), //nolint:gosec // as package syscall does
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, nil, errno
	}
	return int(n), addressIn(&address), 0
}

func addressIn(a *unix.RawSockaddrAny) net.Addr {
	switch a.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(a)) //nolint:gosec // as package syscall does
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(in.Addr), swapped(in.Port)))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(a)) //nolint:gosec // as package syscall does
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom16(in.Addr), swapped(in.Port)))
	default:
		return nil
	}
}

// swapped is a port in the order of the network, or one in that of the machine.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

func rawSocket(family int) (int, error) {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return int(fd), failure("socket", errno)
}

func familyOf(a netip.AddrPort) int {
	if a.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// rawConnect begins to connect, and called again tells what has become of it.
func rawConnect(fd int, to netip.AddrPort) syscall.Errno {
	if to.Addr().Is4() {
		a := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(to.Port()), Addr: to.Addr().As4()}
		_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&a)), unix.SizeofSockaddrInet4) //nolint:gosec // as package syscall does
		return errno
	}
	a := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(to.Port()), Addr: to.Addr().As16()}
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&a)), unix.SizeofSockaddrInet6) //nolint:gosec // as package syscall does
	return errno
}

func rawSetOption(fd, level, name, value int) error {
	v := int32(value)                                                                                                                                  //nolint:gosec // seconds, and counts
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0) //nolint:gosec // as package syscall does
	return failure("setsockopt", errno)
}

func failure(call string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(call, errno)
}
