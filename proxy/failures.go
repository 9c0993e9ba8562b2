package proxy

import (
	"context"
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
	mu   sync.Mutex
	each time.Duration // one failure is forgiven after this time; 0: they are not counted
	full *lru.Cache[netip.Prefix, time.Time]
}

// maxSuspects bounds the addresses that are remembered.
const maxSuspects = 1 << 14

// forgiven is the time after which all failures are.
const forgiven = time.Minute

// newFailures returns failures without a limit: none are counted before limit is called.
func newFailures() (*failures, error) {
	full, err := lru.New[netip.Prefix, time.Time](maxSuspects)
	return &failures{full: full}, err
}

// limit sets how many failures there may be in a minute, at once or spread out; 0 for any number.
func (f *failures) limit(perMinute int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.each = 0
	if perMinute > 0 {
		f.each = forgiven / time.Duration(perMinute)
	}
}

// note counts a failed login. One on a Unix socket has no address and is not counted.
func (f *failures) note(client netip.Addr, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.each == 0 || !client.IsValid() {
		return
	}
	from := now
	if full, ok := f.full.Get(origin(client)); ok && full.After(now) {
		from = full
	}
	f.full.Add(origin(client), from.Add(f.each))
}

// wait returns how long a client has to wait before it may try again.
func (f *failures) wait(client netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.each == 0 || !client.IsValid() {
		return 0
	}
	full, ok := f.full.Get(origin(client))
	if !ok {
		return 0
	}
	return max(0, full.Add(f.each).Sub(now)-forgiven)
}

// tooManyFailures is what a client is told that has to wait.
func tooManyFailures(wait time.Duration) *scope.Error {
	return &scope.Error{
		Code:    scope.CodeTooManyConnections,
		Message: "too many failed logins from this address",
		Hint:    fmt.Sprintf("Try again in %v. login-failures of the proxy sets how many are let pass.", wait.Round(time.Second)+time.Second),
	}
}

// delayWrongPassword makes a client wait that has given a wrong password, so that it cannot
// guess fast on one connection either.
func (v *visitor) delayWrongPassword() {
	v.failing(codeInvalidPassword)
	if v.penalty != nil {
		v.penalty()
	}
}

// pause waits, at most to the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	offLoop(ctx, func(ctx context.Context) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	})
}
