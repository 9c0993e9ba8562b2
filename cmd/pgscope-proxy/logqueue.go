package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// logQueue writes lines in a goroutine of its own: whoever reads the log may be slow, and an event loop that waited for
// it would let thousands of sessions wait. Lines that find no room are lost; how many, a line in their place says.
type logQueue struct {
	to   io.Writer
	tell func(lost int) []byte // makes that line

	missing atomic.Uint64 // all that were lost

	mu    sync.Mutex
	lines []byte          // that wait
	lost  int             // those after them that found no room
	asked []chan struct{} // to be closed when all of it is written

	wake   chan struct{}
	closed chan struct{}
}

const (
	// maxLog is how much may wait: some 20,000 lines.
	maxLog = 8 << 20
	// maxLogWrite is how much is written at once, as long as a line is not longer: what goes to a pipe in such pieces is
	// not torn by other writers (PIPE_BUF).
	maxLogWrite = 4 << 10
	// logGrace is how long the last lines may take.
	logGrace = 5 * time.Second
)

func newLogQueue(to io.Writer, tell func(lost int) []byte) *logQueue {
	q := &logQueue{to: to, tell: tell, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	go q.run()
	return q
}

// Write queues a line. It never blocks.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	if q.lost > 0 || len(q.lines)+len(line) > maxLog {
		q.lost++
		q.missing.Add(1)
	} else {
		q.lines = append(q.lines, line...)
	}
	q.mu.Unlock()
	q.rouse()
	return len(line), nil
}

func (q *logQueue) rouse() {
	select {
	case q.wake <- struct{}{}:
	default: // it will look anyhow
	}
}

// Sync returns when all lines are written, or the grace is over. zap calls it before it ends the process.
func (q *logQueue) Sync() error {
	done := make(chan struct{})
	q.mu.Lock()
	q.asked = append(q.asked, done)
	q.mu.Unlock()
	q.rouse()
	late := time.NewTimer(logGrace)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	}
	return nil
}

// Close is Sync, and the end: what is written afterwards waits for ever.
func (q *logQueue) Close() {
	_ = q.Sync() // it never fails
	close(q.closed)
}

// metric tells what nobody may read in the log.
func (q *logQueue) metric() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "pgscope_log_lost_lines_total", Help: "Lines of the log that found no room, or could not be written.",
	}, func() float64 { return float64(q.missing.Load()) })
}

func (q *logQueue) run() {
	for {
		select {
		case <-q.wake:
			q.drain()
		case <-q.closed:
			return
		}
	}
}

// drain writes what waits.
func (q *logQueue) drain() {
	q.mu.Lock()
	lines, lost, asked := q.lines, q.lost, q.asked
	q.lines, q.lost, q.asked = nil, 0, nil
	q.mu.Unlock()
	if lost > 0 {
		lines = append(lines, q.tell(lost)...)
	}
	for len(lines) > 0 {
		n := piece(lines)
		if _, err := q.to.Write(lines[:n]); err != nil { // there is nobody to tell
			q.missing.Add(uint64(bytes.Count(lines[:n], []byte("\n")))) //nolint:gosec // a count
		}
		lines = lines[n:]
	}
	for _, done := range asked {
		close(done)
	}
}

// piece is how much of lines to write at once.
func piece(lines []byte) int {
	if len(lines) <= maxLogWrite {
		return len(lines)
	}
	if end := bytes.LastIndexByte(lines[:maxLogWrite], '\n'); end >= 0 {
		return end + 1
	}
	return bytes.IndexByte(lines, '\n') + 1
}
