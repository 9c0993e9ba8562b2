package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startLoop returns a loop that runs, and a function that runs a coroutine in it to its end.
func startLoop(t *testing.T) (l *loop, run func(func(context.Context))) {
	t.Helper()
	l, err := newLoop()
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(l.run)
	t.Cleanup(func() {
		l.post(l.shut)
		running.Wait()
	})
	return l, func(f func(context.Context)) {
		over := make(chan struct{})
		l.post(func() {
			l.spawn(context.Background(), func(ctx context.Context) {
				defer close(over)
				f(ctx)
			})
		})
		<-over
	}
}

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	return near, far
}

// TestCoroutinesTakeTurns: one that waits keeps no other waiting, whatever it waits for. Both go on where they were.
func TestCoroutinesTakeTurns(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, c net.Conn, done <-chan struct{}){
		"for a connection": func(ctx context.Context, c net.Conn, _ <-chan struct{}) {
			if _, err := io.ReadFull(adopt(ctx, c), make([]byte, 2)); err != nil {
				t.Error(err)
			}
		},
		"off the loop": func(ctx context.Context, _ net.Conn, done <-chan struct{}) {
			offLoop(ctx, func(ctx context.Context) {
				if coroutineOf(ctx) != nil {
					t.Error("it is in a coroutine")
				}
				<-done
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, run := startLoop(t)
			near, far := tcpPair(t)
			done := make(chan struct{})
			var waiting sync.WaitGroup
			waiting.Go(func() { run(func(ctx context.Context) { wait(ctx, near, done) }) })
			if _, err := far.Write([]byte("1")); err != nil {
				t.Fatal(err)
			}
			run(func(context.Context) {}) // while the other waits
			close(done)
			if _, err := far.Write([]byte("2")); err != nil {
				t.Fatal(err)
			}
			waiting.Wait()
		})
	}
}

// TestCoroutineIsInterrupted: a deadline ends waiting, and so does one that another goroutine sets.
func TestCoroutineIsInterrupted(t *testing.T) {
	for name, limit := range map[string]func(c net.Conn){
		"in time": func(c net.Conn) { _ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) },
		"over":    func(c net.Conn) { _ = c.SetDeadline(time.Unix(1, 0)) },
		"by another": func(c net.Conn) {
			time.AfterFunc(10*time.Millisecond, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, run := startLoop(t)
			near, _ := tcpPair(t)
			run(func(ctx context.Context) {
				c := adopt(ctx, near)
				limit(c)
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("error %v", err)
				}
				_ = c.Close()
			})
		})
	}
}

// TestHandshakeIsInterrupted: a session that is to end closes its connection while a goroutine computes for the
// handshake, which then finds it closed.
func TestHandshakeIsInterrupted(t *testing.T) {
	_, run := startLoop(t)
	near, far := tcpPair(t)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if _, err := tlsHandshake(far); err == nil {
			t.Error("the client has made its handshake")
		}
	}()
	run(func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		config := testAdmitOptions(t, TLSAllow).tls.Clone()
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			cancel()
			<-closed
			return nil, nil // goes on with this one
		}
		c := tls.Server(&transport{Conn: adopt(ctx, near)}, config)
		if err := handshake(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		_ = c.Close()
	})
}

// TestOffLoopPanics: a panic off the loop is one of the coroutine.
func TestOffLoopPanics(t *testing.T) {
	_, run := startLoop(t)
	run(func(ctx context.Context) {
		var fault error
		func() {
			defer recovered(&fault)
			offLoop(ctx, func(context.Context) { panic("lost") })
		}()
		if fault == nil || !strings.Contains(fault.Error(), "lost") {
			t.Errorf("fault %v", fault)
		}
	})
}

// TestCoroutineConnects: to a listener, and to a port without one. More than fits is written when there is room, and what
// is disowned is a goroutine's to go on with.
func TestCoroutineConnects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const size = 8 << 20
	got := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, c)
		_ = c.Close()
		got <- n
	}()
	u := &Upstream{keepAlive: net.KeepAliveConfig{Enable: true}}
	entry := upstreamEntry{network: "tcp", address: l.Addr().String()}
	_, run := startLoop(t)
	var c net.Conn
	run(func(ctx context.Context) {
		if c, err = u.connect(ctx, entry, time.Now().Add(patience)); err != nil {
			return
		}
		if _, err = c.Write(make([]byte, size)); err == nil {
			disown(c)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.RemoteAddr().String() != l.Addr().String() {
		t.Errorf("it leads to %v", c.RemoteAddr())
	}
	if _, err := c.Write([]byte("more")); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	if n := <-got; n != size+4 {
		t.Errorf("%d bytes arrived", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	run(func(ctx context.Context) {
		if _, err = u.connect(ctx, entry, time.Now().Add(patience)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error %v", err)
		}
	})
}

// TestLoopForgetsDescriptors: what is closed leaves nothing behind with the loop, and the number can be used again.
func TestLoopForgetsDescriptors(t *testing.T) {
	l, run := startLoop(t)
	for range 3 {
		near, far := tcpPair(t)
		if err := far.Close(); err != nil {
			t.Fatal(err)
		}
		run(func(ctx context.Context) {
			d, ok := adopt(ctx, near).(*descriptor)
			if !ok {
				t.Error("not a descriptor")
				return
			}
			fd := d.fd
			_ = d.wait(unix.EPOLLIN)
			if n, err := d.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%d bytes, error %v", n, err)
			}
			_ = d.Close()
			if l.at(fd) != nil {
				t.Error("it is listened to")
			}
		})
	}
}
