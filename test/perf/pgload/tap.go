package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// tapped is what a tap saw.
type tapped struct{ connections, statements, sent, received atomic.Int64 }

// tap passes connections on to a server until it is stopped, and then prints what it saw of their clients: how many
// connections, how many statements (messages Query and Execute), how many bytes, and how many came back.
// There must be no TLS.
func tap(flags *flag.FlagSet) func() error {
	t := targetFlags(flags)
	address := flags.String("listen", "127.0.0.1:0", "host and port")
	return func() error {
		l, err := net.Listen("tcp", *address)
		if err != nil {
			return err
		}
		stopped := make(chan os.Signal, 1)
		signal.Notify(stopped, syscall.SIGTERM, os.Interrupt)
		go func() {
			<-stopped
			_ = l.Close() // Accept fails now
		}()
		var saw tapped
		var passing sync.WaitGroup
		for {
			client, err := l.Accept()
			if err != nil {
				break
			}
			server, err := net.Dial("tcp", t.address)
			if err != nil {
				return err
			}
			saw.connections.Add(1)
			passing.Go(func() { // what ends a connection is not the tap's business
				defer client.Close()
				n, _ := io.Copy(client, server)
				saw.received.Add(n)
			})
			passing.Go(func() {
				defer server.Close()
				saw.client(bufio.NewReader(io.TeeReader(client, server)))
			})
		}
		passing.Wait()
		fmt.Println(saw.connections.Load(), saw.statements.Load(), saw.sent.Load(), saw.received.Load())
		return nil
	}
}

// client counts what one client sends, message by message.
func (saw *tapped) client(r *bufio.Reader) {
	for startup := true; ; {
		head, err := r.Peek(4)
		if err != nil {
			return
		}
		size := int64(binary.BigEndian.Uint32(head))
		if startup { // SSLRequest and its like are 8 bytes; they are answered no
			startup = size == 8
		} else {
			if head, err = r.Peek(5); err != nil {
				return
			}
			size = 1 + int64(binary.BigEndian.Uint32(head[1:]))
			if head[0] == 'Q' || head[0] == 'E' {
				saw.statements.Add(1)
			}
		}
		n, err := io.CopyN(io.Discard, r, size)
		saw.sent.Add(n)
		if err != nil {
			return
		}
	}
}
