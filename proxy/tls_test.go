package proxy

import (
	"cmp"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
)

// TestHandshakesInTurn lets many clients make their TLS handshake at once, beside others that stop in the midst of theirs:
// no more compute at a time than there are turns, and nobody waits for who is silent.
func TestHandshakesInTurn(t *testing.T) {
	const clients = 64
	cert, err := testCertificate()
	if err != nil {
		t.Fatal(err)
	}
	var computing, most atomic.Int64
	o := newAdmitOptions(TLSRequire, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		n := computing.Add(1)
		defer computing.Add(-1)
		for range 100 * clients { // the others could come now
			runtime.Gosched()
		}
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); {
			m = most.Load()
		}
		return &cert, nil
	}}, patience)
	request, startup := wire.AppendRequest(nil, wire.SSLRequestCode), startupPacket(t, wire.Version30, "user", "u")
	admitted := make(chan error, clients)
	for i := range 2 * clients {
		client, server := connPair(t, "tcp")
		silent := i < clients
		go func() {
			_, err := admit(t.Context(), server, o)
			if !silent {
				admitted <- err
			}
		}()
		if silent {
			half := []byte{firstTLSByte, 3, 1, 1, 0, 1}
			go func() { _, _ = play(client, says(request), hears("S"), says(half)) }()
			continue
		}
		go func() { _, _ = play(client, says(request), hears("S"), shakes(), says(startup)) }()
	}
	for range clients {
		if err := <-admitted; err != nil {
			t.Error(err)
		}
	}
	if got, want := most.Load(), int64(cap(handshakes)); got > want {
		t.Errorf("%d handshakes computed at once, more than %d", got, want)
	}
	if len(handshakes) > 0 {
		t.Errorf("%d turns were not given back", len(handshakes))
	}
}

// TestAdmittedBothWays: a connection with TLS is read and written at the same time once its client is admitted.
func TestAdmittedBothWays(t *testing.T) {
	const messages = 100
	client, server := connPair(t, "tcp")
	bothWays := func(c net.Conn) (net.Conn, error) {
		var errs [2]error
		var each sync.WaitGroup
		each.Go(func() {
			for range messages {
				_, err := c.Write([]byte("message"))
				errs[0] = cmp.Or(errs[0], err)
			}
		})
		each.Go(func() { _, errs[1] = io.CopyN(io.Discard, c, messages*int64(len("message"))) })
		each.Wait()
		return c, cmp.Or(errs[0], errs[1])
	}
	go func() {
		_, _ = play(client, says(wire.AppendRequest(nil, wire.SSLRequestCode)), hears("S"), shakes(),
			says(startupPacket(t, wire.Version30, "user", "u")), bothWays)
	}()
	v, err := admit(t.Context(), server, testAdmitOptions(t, TLSRequire))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bothWays(v.conn); err != nil {
		t.Error(err)
	}
}
