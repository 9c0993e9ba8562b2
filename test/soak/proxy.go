package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// proxy is the process under test.
type proxy struct {
	cmd     *exec.Cmd
	dir     string
	address string // of clients
	http    string
	log     sync.WaitGroup // reads what it logs

	mu       sync.Mutex
	problems map[string]int // records of the log that are worse than a warning
}

// policies take turns when the proxy reloads. Both allow what the load does.
var policies = [...]string{"rules: [{action: allow}]\n", "rules:\n  - action: allow\n    # the same\n"}

// startProxy returns when the proxy accepts connections.
func startProxy(ctx context.Context, program string, c *pgtest.Cluster) (*proxy, error) {
	dir, err := os.MkdirTemp("", "soak-")
	if err != nil {
		return nil, err
	}
	p := &proxy{dir: dir, problems: make(map[string]int)}
	if err := p.writePolicy(0); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), program, "serve", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0",
		"--upstream", c.DSN("sslmode=disable"), "--admin-dsn", c.DSN(), "--policy", p.policyFile(), "--log-format", "json")
	// What is left to the kernel can be reclaimed: RSS would show it or not, as it pleases.
	p.cmd.Env = append(os.Environ(), "GODEBUG=madvdontneed=1")
	log, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ready := make(chan record, 1)
	p.log.Go(func() { p.read(log, ready) })
	r, ok := <-ready
	if !ok {
		return nil, errors.Join(errors.New("the proxy does not start"), p.stop())
	}
	p.address, p.http = r.Listen, r.HTTP
	return p, nil
}

func (p *proxy) policyFile() string { return filepath.Join(p.dir, "policy.yaml") }

func (p *proxy) writePolicy(n int) error {
	next := p.policyFile() + ".next"
	if err := os.WriteFile(next, []byte(policies[n%len(policies)]), 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.policyFile())
}

// record is a line of the proxy's log.
type record struct {
	Level, Msg, Listen, HTTP, Error string
}

// read counts the records of the log, and passes that which says that the proxy is ready.
func (p *proxy) read(log io.Reader, ready chan<- record) {
	defer close(ready)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			r = record{Level: "panic", Msg: lines.Text()} // what Go itself writes
		}
		p.mu.Lock()
		switch {
		case r.Msg == "ready":
			ready <- r
		case r.Level == "warn", r.Level == "info", r.Level == "debug": // a client that vanishes is worth a warning
		default:
			p.problems[strings.TrimSpace(r.Level+": "+r.Msg+" "+r.Error)]++
		}
		p.mu.Unlock()
	}
}

// reloadEvery tells the proxy to reload until ctx ends, and returns how often.
func (p *proxy) reloadEvery(ctx context.Context, interval time.Duration) (n int) {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return n
		case <-ticks.C:
			if err := errors.Join(p.writePolicy(n+1), p.cmd.Process.Signal(syscall.SIGHUP)); err != nil {
				p.mu.Lock()
				p.problems["reload: "+err.Error()]++
				p.mu.Unlock()
				continue
			}
			n++
		}
	}
}

// sample is what the process has at one time.
type sample struct {
	at         time.Time
	rss        int // bytes
	heap       int // bytes in use
	goroutines int
	files      int
	sessions   int
	cpu        float64 // seconds, since the start
}

func (s sample) String() string {
	return fmt.Sprintf("RSS %.1f MB, heap %.1f MB, %d goroutines, %d files, %d sessions", mega(s.rss), mega(s.heap), s.goroutines, s.files, s.sessions)
}

func mega(bytes int) float64 { return float64(bytes) / 1e6 }

// measure takes a sample, from the proxy's own metrics.
func (p *proxy) measure(ctx context.Context) (sample, error) {
	s := sample{at: time.Now()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.http+"/metrics", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer func() { _ = resp.Body.Close() }()
	wanted := map[string]func(float64){
		"process_resident_memory_bytes": func(v float64) { s.rss = int(v) },
		"go_memstats_heap_inuse_bytes":  func(v float64) { s.heap = int(v) },
		"go_goroutines":                 func(v float64) { s.goroutines = int(v) },
		"process_open_fds":              func(v float64) { s.files = int(v) },
		"pgscope_sessions":              func(v float64) { s.sessions = int(v) },
		"process_cpu_seconds_total":     func(v float64) { s.cpu = v },
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if set, ok := wanted[name]; ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return s, err
			}
			set(v)
			delete(wanted, name)
		}
	}
	if len(wanted) > 0 {
		return s, fmt.Errorf("metrics without %v", wanted)
	}
	return s, lines.Err()
}

// watch takes samples until ctx ends.
func (p *proxy) watch(ctx context.Context, interval time.Duration) (all []sample) {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return all
		case <-ticks.C:
			s, err := p.measure(ctx)
			switch {
			case ctx.Err() != nil:
				return all
			case err != nil:
				p.mu.Lock()
				p.problems["metrics: "+err.Error()]++
				p.mu.Unlock()
			default:
				all = append(all, s)
				if n%60 == 0 {
					fmt.Printf("%s %v\n", s.at.Format(time.TimeOnly), s)
				}
			}
		}
	}
}

// settle waits until the proxy has no more sessions, goroutines and files than a sample, for a while at most, and
// returns what it has.
func (p *proxy) settle(ctx context.Context, idle sample) (sample, error) {
	for late := time.Now().Add(30 * time.Second); ; {
		s, err := p.measure(ctx)
		if err != nil || s.holds(idle) || time.Now().After(late) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// resting is how many coroutines the proxy's event loops keep for the next logins: 16 each, and
// there is a loop for each processor.
var resting = 16 * runtime.NumCPU()

// holds tells whether the process has nothing left over that it did not have before. Go's runtime and the connections
// of this program to the metrics take a few.
func (s sample) holds(before sample) bool {
	const few = 5
	return s.sessions == before.sessions && s.goroutines <= before.goroutines+few+resting && s.files <= before.files+few
}

// stop ends the process, which must end well, and tells what it has logged that it should not have.
func (p *proxy) stop() error {
	errs := []error{p.cmd.Process.Signal(syscall.SIGTERM)}
	p.log.Wait() // before cmd.Wait, which closes what it reads
	errs = append(errs, p.cmd.Wait(), os.RemoveAll(p.dir))
	for text, n := range p.problems {
		errs = append(errs, fmt.Errorf("the proxy logged %d times %s", n, text))
	}
	return errors.Join(errs...)
}
