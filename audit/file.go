package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Rotation says when a file is put aside, and how many of those are kept. A zero value means no limit.
type Rotation struct {
	Size int           // of a file, in bytes
	Age  time.Duration // of a file's first record
	Keep int           // files beside the current one
}

// file is a sink whose chain outlives the process. Several processes may write it, as during an upgrade: each of them
// locks it for a record, and goes on where the last one has stopped.
type file struct {
	path     string
	rotation Rotation
	f        *os.File
	size     int64     // of what is whole, as it was last seen
	began    time.Time // when its first record was written
	last     link
}

// openFile opens a file to append to, with what the last process left in it. torn is how many bytes of
// a record it did not end were cut off.
func openFile(path string, r Rotation) (s *file, torn int64, err error) {
	s = &file{path: path, rotation: r, last: start}
	if err := s.open(); err != nil {
		return nil, 0, err
	}
	if err = s.lock(); err == nil {
		torn, err = s.resume()
		err = errors.Join(err, s.unlock())
	}
	if err != nil {
		return nil, 0, errors.Join(err, s.f.Close())
	}
	return s, torn, nil
}

func (s *file) open() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s.f, s.size, s.began = f, 0, time.Time{}
	return nil
}

// lock waits until no other process writes the file. They do it for as long as a record takes.
func (s *file) lock() error   { return s.flock(syscall.LOCK_EX) }
func (s *file) unlock() error { return s.flock(syscall.LOCK_UN) }

func (s *file) flock(how int) error {
	for {
		err := syscall.Flock(int(s.f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("flock", err)
		}
	}
}

// resume takes in the file as it is, and where it is empty the end of the chain.
func (s *file) resume() (torn int64, err error) {
	if torn, err = s.read(); err != nil || s.size > 0 {
		return torn, err
	}
	return torn, s.inherit()
}

// inherit finds the end of the chain in the last file put aside, if it is not known already.
func (s *file) inherit() error {
	aside, err := s.aside()
	if err != nil || len(aside) == 0 {
		return err
	}
	f, err := os.Open(aside[len(aside)-1])
	if err != nil {
		return err
	}
	defer f.Close()
	text, _, err := lastLine(f)
	if err != nil {
		return err
	}
	end, _, err := parseLink(f.Name(), text)
	if err == nil && end.seq > s.last.seq {
		s.last = end
	}
	return err
}

// read takes in the file as it is.
func (s *file) read() (torn int64, err error) {
	text, end, err := lastLine(s.f)
	if err != nil {
		return 0, err
	}
	info, err := s.f.Stat()
	if err != nil {
		return 0, err
	}
	if torn = info.Size() - end; torn > 0 {
		if err := s.f.Truncate(end); err != nil {
			return 0, err
		}
	}
	s.size = end
	if end == 0 {
		return torn, nil
	}
	if s.last, _, err = parseLink(s.path, text); err != nil {
		return 0, err
	}
	first, err := bufio.NewReader(io.NewSectionReader(s.f, 0, end)).ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	_, s.began, err = parseLink(s.path, first)
	return torn, err
}

// lastLine returns the last line of a file that is whole, and where it ends.
func lastLine(f *os.File) (text []byte, end int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	for window := int64(16 << 10); ; window *= 4 { // most lines are short
		from := max(0, info.Size()-window)
		tail := make([]byte, info.Size()-from)
		if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		newline := bytes.LastIndexByte(tail, '\n')
		before := bytes.LastIndexByte(tail[:max(newline, 0)], '\n')
		switch {
		case before < 0 && from > 0 && window < 2*maxLine:
		case newline < 0:
			return nil, 0, nil
		default:
			return tail[before+1 : newline], from + int64(newline) + 1, nil
		}
	}
}

func parseLink(name string, text []byte) (link, time.Time, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.Seq == 0 {
		return link{}, time.Time{}, fmt.Errorf("%s: its last line is no audit record; move the file away", name)
	}
	return link{l.Seq, hash(text)}, l.Time, nil
}

// add appends the record that next makes the line of, and returns the line. What was not written whole is cut off again,
// so that the next attempt does not follow half a line.
func (s *file) add(next func(link) ([]byte, link, error), now time.Time) (text []byte, err error) {
	if err := s.hold(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.unlock()) }()
	text, last, err := next(s.last)
	if err != nil {
		return nil, err
	}
	if s.due(int64(len(text)), now) {
		if err := s.rotate(); err != nil {
			return nil, err
		}
		if text, last, err = next(s.last); err != nil { // another process may have begun the new file
			return nil, err
		}
	}
	if s.size == 0 {
		s.began = now
	}
	if _, err := s.f.Write(text); err != nil {
		return nil, errors.Join(err, s.f.Truncate(s.size))
	}
	s.size += int64(len(text))
	s.last = last
	return text, nil
}

// hold locks the file that has the path now, and takes in what other processes have written. Where the file was put
// aside, by another process or as logrotate does it, the chain goes on in a new one.
func (s *file) hold() error {
	for {
		if err := s.lock(); err != nil {
			return err
		}
		there, err := s.catchUp()
		if err == nil && there {
			return nil
		}
		if err != nil {
			return errors.Join(err, s.unlock())
		}
		old := s.f
		if err := s.open(); err != nil {
			return errors.Join(err, s.unlock())
		}
		if err := errors.Join(old.Sync(), old.Close()); err != nil { // which unlocks it
			return err
		}
	}
}

// catchUp takes in what other processes have written to the file, and reports whether it still has its path.
func (s *file) catchUp() (there bool, err error) {
	mine, err := s.f.Stat()
	if err != nil {
		return false, err
	}
	switch {
	case mine.Size() == 0:
		s.size = 0
		err = s.inherit()
	case mine.Size() != s.size:
		_, err = s.read()
	}
	if err != nil {
		return false, err
	}
	other, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, other), err
}

func (s *file) due(more int64, now time.Time) bool {
	r := s.rotation
	return s.size > 0 && (r.Size > 0 && s.size+more > int64(r.Size) || r.Age > 0 && now.Sub(s.began) >= r.Age)
}

// digits is how many a record's number has in the name of a file that was put aside: names sort as numbers do.
const digits = 20

// rotate puts the file aside, under the number of its last record, and holds another.
func (s *file) rotate() error {
	if err := s.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(s.path, fmt.Sprintf("%s.%0*d", s.path, digits, s.last.seq)); err != nil {
		return err
	}
	if err := s.unlock(); err != nil {
		return err
	}
	if err := s.hold(); err != nil {
		return err
	}
	return s.prune()
}

// aside returns the files that were put aside, the oldest first.
func (s *file) aside() ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		if len(suffix(e.Name(), filepath.Base(s.path)+".")) == digits {
			list = append(list, filepath.Join(filepath.Dir(s.path), e.Name()))
		}
	}
	slices.Sort(list)
	return list, nil
}

// suffix returns what follows the prefix, where it is all digits; else nothing.
func suffix(name, prefix string) string {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || strings.ContainsFunc(rest, func(r rune) bool { return r < '0' || r > '9' }) {
		return ""
	}
	return rest
}

// prune removes the oldest files of too many.
func (s *file) prune() error {
	if s.rotation.Keep == 0 {
		return nil
	}
	list, err := s.aside()
	if err != nil {
		return err
	}
	for ; len(list) > s.rotation.Keep; list = list[1:] {
		if err := os.Remove(list[0]); err != nil {
			return err
		}
	}
	return nil
}

func (s *file) close() error { return errors.Join(s.f.Sync(), s.f.Close()) }
