package proxy

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/pgscope/pgscope-proxy/scope"
)

// failures bounds how often passwords can be guessed from one address: after so many failed logins it has to wait. It is a
// token bucket per address, kept as the time at which the bucket will be full again (GCRA).
type failures struct {
	each  time.Duration // one failure is forgiven after this time
	burst time.Duration // as many failures as may follow each other, times each

	mu   sync.Mutex
	full *lru.Cache[netip.Prefix, time.Time]
}

// maxSuspects bounds the addresses that are remembered.
const maxSuspects = 1 << 14

// newFailures returns a bound of so many failures a minute, at once or spread out; nil, which bounds nothing, for 0.
func newFailures(perMinute int) (*failures, error) {
	if perMinute == 0 {
		return nil, nil
	}
	full, err := lru.New[netip.Prefix, time.Time](maxSuspects)
	return &failures{each: time.Minute / time.Duration(perMinute), burst: time.Minute, full: full}, err
}

// suspect is what is counted of an address: an IPv6 network of one site has more addresses than anybody could remember.
func suspect(client netip.Addr) netip.Prefix {
	const site = 64
	bits := client.BitLen()
	if client.Is6() {
		bits = site
	}
	p, _ := client.Prefix(bits) // the number of bits is in range
	return p
}

// note counts a failed login. One on a Unix socket has no address and is not counted.
func (f *failures) note(client netip.Addr, now time.Time) {
	if f == nil || !client.IsValid() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from := now
	if full, ok := f.full.Get(suspect(client)); ok && full.After(now) {
		from = full
	}
	f.full.Add(suspect(client), from.Add(f.each))
}

// wait returns how long a client has to wait before it may try again.
func (f *failures) wait(client netip.Addr, now time.Time) time.Duration {
	if f == nil || !client.IsValid() {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	full, ok := f.full.Get(suspect(client))
	if !ok {
		return 0
	}
	return max(0, full.Add(f.each).Sub(now)-f.burst)
}

// tooMany is what a client is told that has to wait.
func tooManyFailures(wait time.Duration) *scope.Error {
	return &scope.Error{
		Code:    scope.CodeTooManyConnections,
		Message: "too many failed logins from this address",
		Hint:    fmt.Sprintf("Try again in %v. login-failures of the proxy sets how many are let pass.", wait.Round(time.Second)+time.Second),
	}
}
