package proxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"go.uber.org/zap"
)

// Listen takes what serving clients needs: the event loops, and the addresses, unless the process was given listeners.
// [Server.Run] gives it all back, and must follow.
func (s *Server) Listen(ctx context.Context) error {
	if err := s.openAddresses(ctx); err != nil {
		return err
	}
	err := s.o.Upstream.refuseOwn(s.listeners)
	if err == nil && !s.o.Goroutines {
		s.loops, err = newLoops(s.o.Processors)
	}
	if err != nil {
		s.closeListeners()
	}
	return err
}

func (s *Server) openAddresses(ctx context.Context) error {
	if len(s.o.Inherited) > 0 {
		s.listeners = s.o.Inherited
		return nil
	}
	for _, address := range s.o.Listen {
		l, err := OpenListener(ctx, address, s.o.ReusePort)
		if err != nil {
			s.closeListeners()
			return fmt.Errorf("listen on %s: %w", address, err)
		}
		s.listeners = append(s.listeners, l)
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // an event loop closes it at once, and listens to a copy
			s.sockets = append(s.sockets, u.Addr().String())
		}
	}
	return nil
}

// Addresses returns what the server listens on, with the ports that the system chose.
func (s *Server) Addresses() []string {
	var list []string
	for _, l := range s.listeners {
		list = append(list, l.Addr().String())
	}
	return list
}

// OpenListener listens on a host and a port, or on a Unix socket. Another process may listen on
// the same port with reusePort.
func OpenListener(ctx context.Context, address string, reusePort bool) (net.Listener, error) {
	path := strings.TrimPrefix(address, "unix:")
	if !strings.HasPrefix(path, "/") {
		config := net.ListenConfig{}
		if reusePort {
			config.Control = setReusePort
		}
		return config.Listen(ctx, "tcp", address)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	// As unix_socket_permissions of PostgreSQL: who may connect, the login decides.
	if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // see above
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes the socket of a process that is gone.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is not a socket", path)
	}
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return errors.Join(errors.New("another process listens there"), c.Close())
	case errors.Is(err, syscall.ECONNREFUSED): // nobody does
		return os.Remove(path)
	default: // somebody may, and be busy
		return fmt.Errorf("it cannot be told whether another process listens there: %w", err)
	}
}

func (s *Server) closeListeners() {
	for _, path := range s.sockets {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.o.Log.Warn("socket was not removed", zap.Error(err))
		}
	}
	for _, l := range s.listeners {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.o.Log.Warn("listener did not close", zap.Error(err))
		}
	}
}
