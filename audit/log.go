package audit

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// Options are where records go, and what happens where they cannot. At least one of File, Stdout and Syslog must be set.
type Options struct {
	File     string // path; empty for none
	Rotation Rotation
	Stdout   io.Writer // nil for none
	Syslog   string    // unix:/dev/log or tcp:127.0.0.1:514; empty for none

	// Queue is how many records may wait to be written before [Log.Room] says that there are enough; 0 means 10,000. Records
	// of 32 MiB are enough in any case.
	Queue int
	// Drop lets records that find no room be dropped, and counted in the next one.
	Drop bool
	// Failed is told of an error of a sink, after which the record is tried again, and of nil when it was written after all.
	// It must not be nil.
	Failed func(error)
}

// Log writes records. Its methods are safe for concurrent use.
type Log struct {
	o      Options
	file   *file
	syslog *syslog
	sinks  []func(text []byte, now time.Time) error // beside the file

	mu    sync.Mutex
	queue []Record
	size  int    // of the queue, in bytes
	lost  uint64 // records dropped since the last one that was written
	stats Stats  // but for Waiting

	last    link // the writer's own, while it runs
	wake    chan struct{}
	closing chan struct{}
	close   sync.Once
	done    chan struct{}
}

// Start is where a chain goes on.
type Start struct {
	Seq  uint64 // of the last record there is; 0 for none
	Hash string // that the next one will have
	Torn int64  // bytes of a record that an earlier process did not end, cut off

	Unreached error // why the syslog server cannot be reached now; records wait until it can
}

// Open opens the sinks and starts the writer. [Log.Close] ends it.
func Open(o Options) (*Log, Start, error) {
	if o.Queue == 0 {
		o.Queue = 10_000
	}
	l := &Log{o: o, last: start, wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	var begin Start
	if o.File != "" {
		f, torn, err := openFile(o.File, o.Rotation)
		if err != nil {
			return nil, Start{}, err
		}
		l.file, l.last, begin.Torn = f, f.last, torn
	}
	if o.Stdout != nil {
		l.sinks = append(l.sinks, func(text []byte, _ time.Time) error {
			_, err := o.Stdout.Write(text)
			return err
		})
	}
	if o.Syslog != "" {
		s, err := newSyslog(o.Syslog)
		if err != nil {
			return nil, Start{}, errors.Join(err, l.closeSinks())
		}
		begin.Unreached = s.dial()
		l.syslog = s
		l.sinks = append(l.sinks, s.write)
	}
	begin.Seq, begin.Hash = l.last.seq, l.last.hash
	go l.run()
	return l, begin, nil
}

// Room reports whether one more statement can be let through: that its record will find a place.
func (l *Log) Room() bool {
	if l.o.Drop {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.full()
}

// maxQueued is how many bytes of records may wait.
const maxQueued = 32 << 20

func (l *Log) full() bool { return len(l.queue) >= l.o.Queue || l.size >= maxQueued }

// Put queues a record. It never blocks. A statement that [Log.Room] let through has its place; other records that find none
// are counted.
func (l *Log) Put(r Record) {
	r = r.shortened(maxText, maxActions)
	l.mu.Lock()
	promised := r.Event == Statement && r.Decision != "refuse" && !l.o.Drop
	if l.full() && !promised {
		l.lost++
		l.stats.Lost++
		l.mu.Unlock()
		return
	}
	l.queue, l.size = append(l.queue, r), l.size+r.size()
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Stats are figures of a log.
type Stats struct {
	Written, Lost uint64 // since it was opened
	Waiting       int
}

// Stats returns the figures of now.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Waiting = len(l.queue)
	return s
}

// retry is how long the writer waits after an error.
const retry = time.Second

// run writes what is queued until the log is closed.
func (l *Log) run() {
	defer close(l.done)
	for {
		select {
		case <-l.wake:
		case <-l.closing:
			l.drain()
			return
		}
		if !l.drain() {
			return
		}
	}
}

// drain writes all that is queued. It returns false if something could not be written before the log was closed.
func (l *Log) drain() bool {
	for {
		l.mu.Lock()
		if len(l.queue) == 0 {
			l.mu.Unlock()
			return true
		}
		r, lost := l.queue[0], l.lost
		l.mu.Unlock()

		text, ok := l.chain(r, lost)
		for _, write := range l.sinks {
			ok = ok && l.insist(func() error { return write(text, time.Now()) })
		}
		if !ok {
			return false
		}
		l.mu.Lock()
		l.size -= r.size()
		l.queue[0] = Record{} // let go of the texts
		if l.queue = l.queue[1:]; len(l.queue) == 0 {
			l.queue = nil
		}
		l.lost -= lost
		l.stats.Written++
		l.mu.Unlock()
	}
}

// chain makes the next line of the chain, which is that of the file where there is one; false where the log was
// closed and it could not be written there.
func (l *Log) chain(r Record, lost uint64) (text []byte, ok bool) {
	next := func(last link) ([]byte, link, error) {
		text, next, err := last.append(r, lost)
		if err != nil { // nothing in a record can fail to be JSON but a time out of range
			l.o.Failed(err)
			r.Time = time.Now()
			text, next, err = last.append(r, lost)
		}
		return append(text, '\n'), next, err
	}
	ok = l.insist(func() (err error) {
		if l.file == nil {
			text, l.last, err = next(l.last)
			return err
		}
		text, err = l.file.add(next, time.Now())
		l.last = l.file.last
		return err
	})
	return text, ok
}

// insist tries something until it succeeds or, once the log is closed, one last time. It
// returns false where that failed too.
func (l *Log) insist(do func() error) bool {
	for failed, closed := false, false; ; failed = true {
		err := do()
		if failed || err != nil {
			l.o.Failed(err)
		}
		if err == nil {
			return true
		}
		if closed {
			return false
		}
		select {
		case <-time.After(retry):
		case <-l.closing:
			closed = true
		}
	}
}

// Close writes what is queued, as far as it can be within ctx, and closes the sinks. It returns the end of the chain, and
// an error if records were left. Nothing may be put after it.
func (l *Log) Close(ctx context.Context) (Start, error) {
	l.close.Do(func() { close(l.closing) })
	select {
	case <-l.done:
	case <-ctx.Done():
		return Start{}, errors.New("audit: not all records were written")
	}
	err := l.closeSinks()
	if len(l.queue) > 0 || l.lost > 0 {
		err = errors.Join(errors.New("audit: not all records were written"), err)
	}
	return Start{Seq: l.last.seq, Hash: l.last.hash}, err
}

func (l *Log) closeSinks() error {
	var err error
	if l.file != nil {
		err = l.file.close()
	}
	if l.syslog != nil {
		err = errors.Join(err, l.syslog.close())
	}
	return err
}
