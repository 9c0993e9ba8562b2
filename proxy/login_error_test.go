package proxy

import (
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// overheard is a connection of a client that calls said before it says something.
type overheard struct {
	net.Conn
	said func(frame []byte)
}

func (o overheard) Write(b []byte) (int, error) {
	o.said(b)
	return o.Conn.Write(b)
}

// TestRefusalIsCountedFirst: whoever hears that a login has failed, and looks at once, or tries again, finds it counted.
func TestRefusalIsCountedFirst(t *testing.T) {
	upstream, err := NewUpstream(pgtest.Shared(t).DSN("sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	nowhere, err := NewUpstream("host=127.0.0.1 port=1 sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		upstream *Upstream
		auth     AuthMethod
		user     string
		waits    bool
		learned  bool // whom to try the next time
	}{
		"the server's":           {upstream, AuthPassthrough, "nobody", true, true},
		"the proxy's":            {upstream, AuthReject, "nobody", true, false},
		"that it cannot connect": {nowhere, AuthPassthrough, "postgres", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Options{Upstream: c.upstream, Goroutines: true, Settings: Settings{Policy: policy.Default(), Auth: c.auth, LoginFailures: 1}})
			if err != nil {
				t.Fatal(err)
			}
			client, conn := connPair(t, "tcp")
			packet, err := wire.AppendStartup(nil, wire.Startup{Version: wire.Version30, Parameters: []wire.Parameter{{Name: "user", Value: c.user}, {Name: "database", Value: "postgres"}}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write(packet); err != nil {
				t.Fatal(err)
			}
			told := false
			sess, login := s.enter(t.Context(), overheard{conn, func([]byte) {
				told = true
				if n := testutil.ToFloat64(s.metrics.logins.WithLabelValues(loginRefused)); n != 1 {
					t.Errorf("%v failed logins", n)
				}
				s.failures.mu.Lock()
				suspects := s.failures.full.Len()
				s.failures.mu.Unlock()
				if suspects > 0 != c.waits {
					t.Errorf("%d addresses have to wait", suspects)
				}
				if _, learned := s.guesses.Get(guess{"postgres", scope.Short(c.user)}); learned != c.learned {
					t.Errorf("whom to try the next time is known: %v", learned)
				}
			}})
			sess.serve(login)
			if n := testutil.ToFloat64(s.metrics.logins.WithLabelValues(loginRefused)); !told || n != 1 {
				t.Errorf("told: %v, %v failed logins in the end", told, n)
			}
		})
	}
}
