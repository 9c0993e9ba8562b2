package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// tap passes connections on to a server until it is stopped, and then prints what it saw of their clients: how many
// connections, how many statements (messages Query and Execute), how many bytes, and how many came back.
// There must be no TLS.
func tap(listen, server string) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		die(err)
	}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM, os.Interrupt)
	go func() { <-stopped; l.Close() }()
	var connections, statements, sent, received atomic.Int64
	var all sync.WaitGroup
	for {
		client, err := l.Accept()
		if err != nil {
			break
		}
		upstream, err := net.Dial("tcp", server)
		if err != nil {
			die(err)
		}
		connections.Add(1)
		all.Add(2)
		go func() {
			defer all.Done()
			n, _ := io.Copy(client, upstream)
			received.Add(n)
			client.Close()
		}()
		go func() {
			defer all.Done()
			r := bufio.NewReader(io.TeeReader(client, upstream))
			startup := true
			for {
				head, err := r.Peek(4)
				if err != nil {
					break
				}
				size := int64(binary.BigEndian.Uint32(head))
				if startup { // SSLRequest and its like are 8 bytes; they are answered no
					startup = size == 8
				} else {
					if head, err = r.Peek(5); err != nil {
						break
					}
					size = 1 + int64(binary.BigEndian.Uint32(head[1:]))
					if head[0] == 'Q' || head[0] == 'E' {
						statements.Add(1)
					}
				}
				n, err := io.CopyN(io.Discard, r, size)
				sent.Add(n)
				if err != nil {
					break
				}
			}
			upstream.(*net.TCPConn).CloseWrite()
		}()
	}
	all.Wait()
	fmt.Println(connections.Load(), statements.Load(), sent.Load(), received.Load())
}

// measure runs a command, whose output goes where this one's errors go.
func measure(command []string) {
	c := exec.Command(command[0], command[1:]...)
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	began := time.Now()
	err := c.Run()
	took := time.Since(began)
	if c.ProcessState == nil {
		die(err)
	}
	u := c.ProcessState.SysUsage().(*syscall.Rusage)
	fmt.Printf("%.3f %d %d\n", took.Seconds(), u.Maxrss, c.ProcessState.ExitCode())
}
