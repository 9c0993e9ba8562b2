package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Chain checks lines, one after another.
type Chain struct {
	first, last link
	begun       bool
	name        string
	number      int

	Restarts bool // lets a chain begin anew: of standard output and syslog, when the process does
	Lost     uint64
	Records  int
	problems []error
}

// maxProblems bounds what is reported.
const maxProblems = 100

// maxLine bounds a line, in bytes.
const maxLine = 4 << 20

// Read checks the lines of one file. Files are to be given in the order in which they were written. The error is that of
// the reader; [Chain.Err] tells what is wrong with the chain.
func (c *Chain) Read(name string, r io.Reader) error {
	c.name, c.number = name, 0
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	for s.Scan() {
		c.number++
		c.check(s.Bytes())
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		c.number++
		c.problem("the line is too long to be a record")
		return nil
	}
	return s.Err()
}

func (c *Chain) check(text []byte) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.Seq == 0 {
		c.problem("the line is no record; record %d should stand here", c.last.seq+1)
		return
	}
	c.Records++
	c.Lost += l.Lost
	switch {
	case !c.begun:
		c.begun, c.first = true, link{l.Seq - 1, l.Prev}
	case c.Restarts && l.Seq == 1 && l.Prev == start.hash:
	case l.Seq == c.last.seq+1 && l.Prev != c.last.hash:
		c.problem("record %d, the one before, is not what it was when record %d was written", c.last.seq, l.Seq)
	case l.Seq == c.last.seq+2:
		c.problem("record %d is missing", l.Seq-1)
	case l.Seq > c.last.seq+1:
		c.problem("records %d to %d are missing", c.last.seq+1, l.Seq-1)
	case l.Seq == c.last.seq:
		c.problem("record %d stands here twice", l.Seq)
	case l.Seq < c.last.seq:
		c.problem("record %d stands behind record %d", l.Seq, c.last.seq)
	}
	c.last = link{l.Seq, hash(text)}
}

func (c *Chain) problem(format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Errorf("%s:%d: %s", c.name, c.number, fmt.Sprintf(format, args...)))
	}
}

// Err returns what is wrong, all of it up to some bound, each with file and line; nil for an unbroken chain.
func (c *Chain) Err() error { return errors.Join(c.problems...) }

// First returns the number of the first record.
func (c *Chain) First() uint64 { return c.first.seq + 1 }

// Last returns the number of the last record, and the hash that the next one will have.
func (c *Chain) Last() (seq uint64, hash string) { return c.last.seq, c.last.hash }
