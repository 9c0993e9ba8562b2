package audit

import (
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

// file is a sink whose chain outlives the process.
type file struct {
	path     string
	rotation Rotation
	f        *os.File
	size     int64     // of what is whole
	began    time.Time // when its first record was written
	last     link
}

// openFile opens a file to append to, with what the last process left in it. torn is how many bytes of a record it did not end
// were cut off.
func openFile(path string, r Rotation) (s *file, torn int64, err error) {
	s = &file{path: path, rotation: r, last: start}
	if err := s.open(); err != nil {
		return nil, 0, err
	}
	if torn, err = s.resume(); err != nil {
		return nil, 0, errors.Join(err, s.f.Close())
	}
	return s, torn, nil
}

// open opens the file and locks it: two processes would tear the chain.
func (s *file) open() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("%s: another process writes it: %w", s.path, err), f.Close())
	}
	s.f, s.size, s.began = f, 0, time.Time{}
	return nil
}

// resume finds the end of the chain: the file's last line or, where it is empty, that of the last file put aside.
func (s *file) resume() (torn int64, err error) {
	if torn, err = s.read(); err != nil || s.size > 0 {
		return torn, err
	}
	aside, err := s.aside()
	if err != nil || len(aside) == 0 {
		return torn, err
	}
	f, err := os.Open(aside[len(aside)-1])
	if err != nil {
		return torn, err
	}
	defer f.Close()
	text, _, err := lastLine(f)
	if err != nil {
		return torn, err
	}
	s.last, _, err = parseLink(f.Name(), text)
	return torn, err
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
	first := make([]byte, min(end, maxLine))
	if _, err := s.f.ReadAt(first, 0); err != nil {
		return 0, err
	}
	first, _, _ = bytes.Cut(first, []byte("\n"))
	_, s.began, err = parseLink(s.path, first)
	return torn, err
}

// lastLine returns the last line of a file that is whole, and where it ends.
func lastLine(f *os.File) (text []byte, end int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	from := max(0, info.Size()-2*maxLine)
	tail := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	newline := bytes.LastIndexByte(tail, '\n')
	if newline < 0 {
		return nil, 0, nil
	}
	text = tail[:newline]
	return text[bytes.LastIndexByte(text, '\n')+1:], from + int64(newline) + 1, nil
}

func parseLink(name string, text []byte) (link, time.Time, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil || l.Seq == 0 {
		return link{}, time.Time{}, fmt.Errorf("%s: its last line is no audit record; move the file away", name)
	}
	return link{l.Seq, hash(text)}, l.Time, nil
}

// write appends lines. What was not written whole is cut off again, so that the next attempt does not follow half a line.
func (s *file) write(text []byte, last link, now time.Time) error {
	if s.due(int64(len(text)), now) {
		if err := s.rotate(); err != nil {
			return err
		}
	}
	if s.size == 0 {
		s.began = now
	}
	if _, err := s.f.Write(text); err != nil {
		return errors.Join(err, s.f.Truncate(s.size))
	}
	s.size += int64(len(text))
	s.last = last
	return nil
}

func (s *file) due(more int64, now time.Time) bool {
	r := s.rotation
	return s.size > 0 && (r.Size > 0 && s.size+more > int64(r.Size) || r.Age > 0 && now.Sub(s.began) >= r.Age)
}

// digits is how many a record's number has in the name of a file that was put aside: names sort as numbers do.
const digits = 20

// rotate puts the file aside, under the number of its last record, and begins another.
func (s *file) rotate() error {
	if err := s.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(s.path, fmt.Sprintf("%s.%0*d", s.path, digits, s.last.seq)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // where it is not there, it was put aside by an attempt that went no further
	}
	old := s.f
	if err := s.open(); err != nil {
		return err
	}
	if err := old.Close(); err != nil {
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
