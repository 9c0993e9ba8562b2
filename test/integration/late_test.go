package integration

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/proxy"
)

// Logins that end because something else does: the proxy, or the time for them. Whoever checks the client, it is told.

// checkers are those who may check a password.
var checkers = []proxy.AuthMethod{proxy.AuthPassthrough, proxy.AuthVerify}

// TestStopWhileAsked stops a proxy while a client is asked for its password.
func TestStopWhileAsked(t *testing.T) {
	c := authCluster(t)
	for driver, goroutines := range drivers {
		for _, method := range checkers {
			for phase, answer := range map[string]func(*dialogue){
				"asked": func(*dialogue) {},
				"asked to go on": func(d *dialogue) {
					d.say(&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=nonce")})
					until[*pgproto3.AuthenticationSASLContinue](d)
				},
			} {
				t.Run(driver+", "+string(method)+", "+phase, func(t *testing.T) {
					via, stop := run(t, c, quiet, permissive(t), withAdmin(t, c), authBy(method), func(o *proxy.Options) { o.Goroutines = goroutines })
					t.Cleanup(stop)
					d := via.dial(t)
					d.say(startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "app"))
					until[*pgproto3.AuthenticationSASL](d)
					answer(d)
					d.take()
					go stop()
					d.toTheEnd()
					d.wants(shutDown)
				})
			}
		}
	}
}

// TestLateRefusal: a client is also told that its password is wrong, or that nobody could look, where the time for the login
// is over by then.
func TestLateRefusal(t *testing.T) {
	c := authCluster(t)
	for driver, goroutines := range drivers {
		via := func(t *testing.T, method proxy.AuthMethod) endpoint {
			t.Helper()
			return start(t, c, quiet, permissive(t), withAdmin(t, c), authBy(method), soon, func(o *proxy.Options) {
				o.Goroutines, o.LoginFailureDelay = goroutines, time.Hour
			})
		}
		for _, method := range checkers {
			t.Run(driver+", wrong password, "+string(method), func(t *testing.T) {
				t.Parallel()
				if _, failure := logIn(t, via(t, method), "app", "wrong"); failure.Code != "28P01" {
					t.Errorf("told %v", failure)
				}
			})
		}
		t.Run(driver+", nobody can look", func(t *testing.T) {
			holder := direct(c).open(t, "postgres", "postgres")
			holder.query("BEGIN; LOCK TABLE pg_catalog.pg_authid")
			d := via(t, proxy.AuthVerify).dial(t)
			d.say(startup(pgproto3.ProtocolVersion30, "database", "orders", "user", "app"))
			d.toTheEnd()
			d.wants("FATAL 08001: the proxy cannot check passwords now | hint: Try again. The proxy's log says more.")
			holder.query("ROLLBACK")
		})
	}
}
