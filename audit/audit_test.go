package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o Options) (*Log, Start) {
	t.Helper()
	if o.Failed == nil {
		o.Failed = func(err error) { t.Errorf("a sink failed: %v", err) }
	}
	l, begin, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l, begin
}

func closed(t *testing.T, l *Log) Start {
	t.Helper()
	end, err := l.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func record(i int) Record {
	return Record{Time: time.Unix(int64(i), 0), Event: Statement, Statement: fmt.Sprintf("CREATE ROLE r%d", i), Decision: "allow", Result: "00000"}
}

func verify(t *testing.T, c *Chain, files ...string) error {
	t.Helper()
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Read(filepath.Base(name), f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return c.Err()
}

// TestChainOverRotationAndRestart writes by several processes' worth of logs, with rotation, and a torn end.
func TestChainOverRotationAndRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	var end Start
	const perRun, runs = 20, 4
	for run := range runs {
		l, begin := open(t, Options{File: path, Rotation: Rotation{Size: 2000, Keep: 100}})
		if begin.Seq != end.Seq || run > 0 && begin.Hash != end.Hash || (begin.Torn > 0) != (run == 2) {
			t.Errorf("run %d begins at %+v, after %+v", run, begin, end)
		}
		for i := range perRun {
			l.Put(record(run*perRun + i))
		}
		end = closed(t, l)
		switch run {
		case 1: // the process dies within a record
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteString(`{"seq":41,"prev":"`)
			if err = errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		case 2: // it dies between putting the file aside and the first record of the next
			if err := os.Rename(path, path+fmt.Sprintf(".%020d", end.Seq)); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	files = append(files[1:], files[0]) // the current one is the last
	var c Chain
	if err := verify(t, &c, files...); err != nil || len(files) < 5 {
		t.Errorf("%d files: %v", len(files), err)
	}
	if seq, hash := c.Last(); seq != perRun*runs || hash != end.Hash || c.Records != perRun*runs || c.First() != 1 {
		t.Errorf("%d records, %d to %d, %s; the log ended at %+v", c.Records, c.First(), seq, hash, end)
	}
}

// TestTwoProcesses: of several that write one file, and put it aside, there is one chain.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	const logs, each = 4, 100
	var writing sync.WaitGroup
	for range logs {
		l, _ := open(t, Options{File: path, Rotation: Rotation{Size: 5000}}) // a lock is of an open file, not of a process
		writing.Go(func() {
			for i := range each {
				l.Put(record(i))
			}
			if _, err := l.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	writing.Wait()
	aside, err := filepath.Glob(path + ".*")
	if err != nil || len(aside) < 5 {
		t.Errorf("%d files: %v", len(aside), err)
	}
	var c Chain
	if err := verify(t, &c, append(aside, path)...); err != nil || c.Records != logs*each || c.First() != 1 {
		t.Errorf("%d records: %v", c.Records, err)
	}
}

func TestOldFilesAreRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, _ := open(t, Options{File: path, Rotation: Rotation{Size: 1000, Keep: 2}})
	for i := range 50 {
		l.Put(record(i))
	}
	closed(t, l)
	files, err := filepath.Glob(path + ".*")
	if err != nil || len(files) != 2 {
		t.Fatalf("files put aside: %q, error %v; want 2", files, err)
	}
	var c Chain
	if err := verify(t, &c, append(files, path)...); err != nil || c.First() == 1 {
		t.Errorf("from %d: %v", c.First(), err)
	}
}

func TestAgeRotates(t *testing.T) {
	f, _, err := openFile(filepath.Join(t.TempDir(), "audit.log"), Rotation{Age: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer f.close() //nolint:errcheck // a throw-away file
	now := time.Unix(1000, 0)
	for _, after := range []time.Duration{0, 30 * time.Minute, 59 * time.Minute, time.Hour, 90 * time.Minute} {
		next := func(last link) ([]byte, link, error) {
			text, next, err := last.append(record(1), 0)
			return append(text, '\n'), next, err
		}
		if _, err := f.add(next, now.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	aside, err := f.aside()
	if err != nil || len(aside) != 1 || !strings.HasSuffix(aside[0], "00003") {
		t.Errorf("put aside: %v %v", aside, err)
	}
}

// TestTampering changes what was written, line by line, and looks for what is found.
func TestTampering(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, _ := open(t, Options{File: path})
	for i := range 6 {
		l.Put(record(i))
	}
	closed(t, l)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		tamper func(lines []string) []string
		want   string
	}{
		{"nothing", func(l []string) []string { return l }, ""},
		{"removed", func(l []string) []string { return slices.Delete(l, 2, 3) }, "f:3: record 3 is missing"},
		{"two removed", func(l []string) []string { return slices.Delete(l, 2, 4) }, "f:3: records 3 to 4 are missing"},
		{"changed", func(l []string) []string { l[2] = strings.Replace(l[2], "r2", "rx", 1); return l }, "f:4: record 3, the one before, is not what it was when record 4 was written"},
		{"swapped", func(l []string) []string { l[2], l[3] = l[3], l[2]; return l }, "f:3: record 3 is missing\nf:4: record 3 stands behind record 4\nf:5: record 4 is missing"},
		{"doubled", func(l []string) []string { return slices.Insert(l, 3, l[2]) }, "f:4: record 3 stands here twice"},
		{"blank", func(l []string) []string { l[2] = "xxx"; return l }, "f:3: the line is no record; record 3 should stand here\nf:4: record 3 is missing"},
		{"the beginning", func(l []string) []string { return l[2:] }, ""}, // those files may be gone
		{"another chain", func(l []string) []string { return append(l, l[0]) }, "f:7: record 1 stands behind record 6"},
	} {
		lines := c.tamper(strings.SplitAfter(strings.TrimSuffix(string(whole), "\n"), "\n"))
		text := ""
		for _, l := range lines {
			text += strings.TrimSuffix(l, "\n") + "\n"
		}
		var chain Chain
		if err := chain.Read("f", strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := chain.Err(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	restarts := Chain{Restarts: true}
	if err := restarts.Read("f", bytes.NewReader(append(whole, whole...))); err != nil || restarts.Err() != nil {
		t.Errorf("%v %v", err, restarts.Err())
	}
}

// broken is standard output that fails until it is repaired.
type broken struct {
	mu    sync.Mutex
	fails bool
	lines bytes.Buffer
}

func (b *broken) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails {
		return 0, errors.New("no space left on device")
	}
	return b.lines.Write(p)
}

// TestOverflow lets a sink fail until the queue is full, and repairs it.
func TestOverflow(t *testing.T) {
	for _, drop := range []bool{false, true} {
		out := &broken{fails: true}
		failed := make(chan error, 1000)
		l, _ := open(t, Options{Stdout: out, Queue: 3, Drop: drop, Failed: func(err error) { failed <- err }})
		for i := range 3 {
			l.Put(record(i))
		}
		if err := <-failed; err == nil {
			t.Error("failed without an error")
		}
		if l.Room() != drop {
			t.Errorf("drop %v: room %v", drop, l.Room())
		}
		l.Put(record(3)) // a statement that was let through when there was room
		l.Put(Record{Event: Login, Decision: "deny"})
		out.mu.Lock()
		out.fails = false
		out.mu.Unlock()
		closed(t, l)
		close(failed)
		again := false
		for err := range failed {
			again = err == nil
		}
		if !again {
			t.Error("nobody was told that it goes on")
		}
		c := Chain{}
		if err := c.Read("stdout", &out.lines); err != nil || c.Err() != nil {
			t.Error(err, c.Err())
		}
		records, lost := 4, uint64(1)
		if drop {
			records, lost = 3, 2
		}
		if c.Records != records || c.Lost != lost {
			t.Errorf("drop %v: %d records, %d lost", drop, c.Records, c.Lost)
		}
	}
}

// TestWaitingTextsAreBounded: what waits is bounded in bytes too, whatever the texts were that it is of.
func TestWaitingTextsAreBounded(t *testing.T) {
	out := &broken{fails: true}
	l, _ := open(t, Options{Stdout: out, Failed: func(error) {}})
	n := 0
	for ; l.Room() && n < l.o.Queue; n++ {
		l.Put(Record{Event: Statement, Statement: strings.Repeat("x", 1<<20), Sent: strings.Repeat("y", n%maxText)})
	}
	if n == l.o.Queue || l.size > maxQueued+4*maxText {
		t.Errorf("%d records of %d bytes wait", n, l.size)
	}
	out.mu.Lock()
	out.fails = false
	out.mu.Unlock()
	if closed(t, l); l.size != 0 {
		t.Errorf("of nothing that waits, %d bytes are left", l.size)
	}
}

func TestCloseTellsWhatIsLeft(t *testing.T) {
	l, _ := open(t, Options{Stdout: &broken{fails: true}, Failed: func(error) {}})
	l.Put(record(1))
	if _, err := l.Close(context.Background()); err == nil {
		t.Error("closed as if all were written")
	}
}

func TestLongTextsAreCut(t *testing.T) {
	var out bytes.Buffer
	l, _ := open(t, Options{Stdout: &out})
	l.Put(Record{Event: Statement, Statement: strings.Repeat("ä", maxText), Actions: make([]Action, 2*maxActions)})
	closed(t, l)
	if !strings.Contains(out.String(), `"cut":true`) || out.Len() > 3*maxText || strings.Contains(out.String(), "\uFFFD") {
		t.Errorf("%d bytes", out.Len())
	}
}

// TestEveryRecordPassesSyslog: whatever is in a record, a socket for datagrams takes its line. One that it never takes would
// keep all others waiting. What JSON has to escape is six times as long there.
func TestEveryRecordPassesSyslog(t *testing.T) {
	dir, err := os.MkdirTemp("", "pgscope") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	address, read := listen(t, "unixgram", filepath.Join(dir, "log"))
	l, _ := open(t, Options{Syslog: address})
	odd := func(n int) string { return strings.Repeat("\x01", n) }
	name := odd(63)
	for _, r := range []Record{
		{Statement: odd(maxText), Sent: odd(maxText)},
		{Statement: odd(maxText), Sent: odd(maxText), Application: odd(9000)},
		{Actions: slices.Repeat([]Action{{Kind: "grant role", Role: name, Cluster: name, Grantee: name}}, maxActions)},
		{Event: Login, Database: odd(9000), User: odd(9000), Reason: "client: role " + odd(9000)},
	} {
		l.Put(r)
		_, text, _ := strings.Cut(read(), " audit - ")
		var got line
		if err := json.Unmarshal([]byte(text), &got); err != nil || got.Cut != (r.Event != Login) {
			t.Errorf("%d bytes, cut %v: %v", len(text), got.Cut, err)
		}
	}
	closed(t, l)
}

func TestSyslog(t *testing.T) {
	dir, err := os.MkdirTemp("", "pgscope") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, network := range []string{"unixgram", "unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			address, read := listen(t, network, filepath.Join(dir, network))
			l, _ := open(t, Options{Syslog: address})
			l.Put(record(1))
			l.Put(record(2))
			var c Chain
			for range 2 {
				header, json, ok := strings.Cut(read(), " audit - ")
				if !ok || !strings.HasPrefix(header, "<85>1 ") || !strings.Contains(header, " pgscope-proxy "+strconv.Itoa(os.Getpid())) {
					t.Errorf("header %q, want one of RFC 5424 with priority 85 and the process", header)
				}
				if err := c.Read("syslog", strings.NewReader(json)); err != nil {
					t.Fatal(err)
				}
			}
			if c.Err() != nil || c.Records != 2 {
				t.Error(c.Err(), c.Records)
			}
			closed(t, l)
		})
	}
	for _, wrong := range []string{"", "unix", "udp:1.2.3.4:514", "unix:log", "tcp:host"} {
		if checkSyslog(wrong) == nil {
			t.Errorf("%q is an address", wrong)
		}
	}
}

// listen is a syslog server, and how its next message is read.
func listen(t *testing.T, network, path string) (address string, read func() string) {
	t.Helper()
	if network == "unixgram" {
		c, err := net.ListenPacket(network, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return "unix:" + path, func() string {
			buf := make([]byte, 1<<18)
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				t.Fatal(err)
			}
			return string(buf[:n])
		}
	}
	where, address := path, "unix:"+path
	if network == "tcp" {
		where = "127.0.0.1:0"
	}
	l, err := net.Listen(network, where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if network == "tcp" {
		address = "tcp:" + l.Addr().String()
	}
	var r *bufio.Reader
	return address, func() string {
		if r == nil {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			r = bufio.NewReader(c)
		}
		length, err := r.ReadString(' ')
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(length))
		if err != nil {
			t.Fatal(err)
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(r, message); err != nil {
			t.Fatal(err)
		}
		return string(message)
	}
}

// TestMovedAway: the chain goes on in a new file where something else has put the old one aside.
func TestMovedAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, _ := open(t, Options{File: path})
	l.Put(record(1))
	for l.Stats().Written == 0 {
		runtime.Gosched()
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	l.Put(record(2))
	closed(t, l)
	if got, want := l.Stats(), (Stats{Written: 2}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	var c Chain
	if err := verify(t, &c, path+".old", path); err != nil || c.Records != 2 {
		t.Errorf("%d records: %v", c.Records, err)
	}
}
