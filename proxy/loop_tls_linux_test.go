package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// sealedClient returns a client's TLS and the proxy's, past the handshake. The client's writes
// to what comes with it, and reads of it.
func sealedClient(t *testing.T) (client, proxy *tls.Conn, records *ciphertext) {
	t.Helper()
	near, far := net.Pipe()
	end := &transport{Conn: far}
	client = tls.Client(end, &tls.Config{InsecureSkipVerify: true})
	proxy = tls.Server(&transport{Conn: near}, testAdmitOptions(t, TLSAllow).tls)
	failed := make(chan error, 1)
	go func() { failed <- client.Handshake() }()
	if err := errors.Join(proxy.Handshake(), <-failed); err != nil {
		t.Fatal(err)
	}
	records = &ciphertext{end: os.ErrDeadlineExceeded}
	end.Conn = records
	return client, proxy, records
}

// TestLoopUnseals: what records say is relayed as soon as they are whole, however they come.
func TestLoopUnseals(t *testing.T) {
	s, user, backend := loopedPair(t)
	client, proxy, records := sealedClient(t)
	s.client.attach(proxy)
	s.begin()
	buf := make([]byte, 1<<10)
	pass := func(from, to int, g *leg, pieces ...[]byte) (heard []string) {
		t.Helper()
		for _, p := range pieces {
			if _, err := unix.Write(from, p); err != nil {
				t.Fatal(err)
			}
			turn(g, unix.EPOLLIN)
			n, err := unix.Read(to, buf)
			switch {
			case err == nil:
				heard = append(heard, string(buf[:n]))
			case !errors.Is(err, unix.EAGAIN):
				t.Fatal(err)
			}
		}
		return heard
	}
	say := func(times int) []byte {
		t.Helper()
		records.begin()
		for range times {
			if _, err := client.Write(asks); err != nil {
				t.Fatal(err)
			}
		}
		return bytes.Clone(records.out[0])
	}

	whole := say(1)
	var single [][]byte
	for i := range whole {
		single = append(single, whole[i:i+1])
	}
	two, three := say(2), say(3)
	half := len(two) / 4
	for _, c := range []struct {
		name   string
		pieces [][]byte
		want   []string
	}{
		{"byte by byte", single, []string{string(asks)}},
		{"one, and a half of the next", [][]byte{two[:3*half], two[3*half:]}, []string{string(asks), string(asks)}},
		{"three", [][]byte{three}, []string{string(bytes.Repeat(asks, 3))}},
	} {
		if heard := pass(user, backend, &s.client, c.pieces...); !slices.Equal(heard, c.want) {
			t.Errorf("%s: heard %q", c.name, heard)
		}
	}

	records.in = []byte(pass(backend, user, &s.server, answered)[0])
	if n, err := client.Read(buf); err != nil || !bytes.Equal(buf[:n], answered) {
		t.Errorf("the client hears %q, %v", buf[:n], err)
	}
}
