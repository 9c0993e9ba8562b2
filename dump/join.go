package dump

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Join writes a file that carries a database with its roles: them, and what pg_dump writes in plain text. The roles come
// first, or, where pg_dump --create makes the database, as soon as it is there.
//
// Two things in pg_dump's text have to give way. A schema that has roles is there already when its turn comes: it is made
// only if it is not. And --create gives the database to its owner before anything is in it: that comes after the roles,
// the owner may be one of them. A database that every cluster has is not made.
func Join(w io.Writer, roles *Roles, dump io.Reader, create bool) error {
	if !create {
		if err := roles.write(w, true); err != nil {
			return err
		}
	}
	j := joiner{w: bufio.NewWriter(w), roles: roles, waiting: create, schemas: make(map[string]bool)}
	for _, s := range roles.schemas {
		j.schemas[s] = true
	}
	in := bufio.NewReader(dump)
	for whole := true; ; { // whether a line begins here
		line, err := in.ReadSlice('\n')
		if whole && j.looking() {
			line = j.line(line)
		}
		if _, err := j.w.Write(line); err != nil {
			return err
		}
		whole = err == nil
		switch {
		case errors.Is(err, io.EOF):
			return errors.Join(j.err, j.w.Flush())
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}

// everywhere are the databases that initdb makes, and people connect to. pg_dumpall does not make them either.
var everywhere = []string{"postgres", "template1"}

// joiner reads the beginning of pg_dump's text, line by line: databases and schemas come before all other objects.
type joiner struct {
	w       *bufio.Writer
	roles   *Roles
	waiting bool            // for the connection to the new database
	owner   []byte          // the line that gives the database to its owner
	schemas map[string]bool // that are made before pg_dump's text makes them
	ended   bool            // the first other object was seen
	err     error
}

func (j *joiner) looking() bool { return j.waiting || !j.ended && len(j.schemas) > 0 }

// line returns what is written instead of a line.
func (j *joiner) line(line []byte) []byte {
	text := string(line)
	switch {
	case j.waiting && slices.Contains(everywhere, j.roles.Database) && strings.HasPrefix(text, "CREATE DATABASE "):
		return nil
	case j.waiting && strings.HasPrefix(text, "ALTER DATABASE ") && strings.Contains(text, " OWNER TO "):
		j.owner = []byte(text)
		return nil
	case j.waiting && strings.HasPrefix(text, `\connect `):
		j.waiting = false
		var b strings.Builder
		b.WriteString(text + "\n")
		j.err = j.roles.write(&b, false)
		b.Write(j.owner)
		return []byte(b.String())
	case strings.HasPrefix(text, "-- Name: "):
		j.ended = !strings.Contains(text, "; Type: SCHEMA;") && !strings.Contains(text, "; Type: COMMENT;") && !strings.Contains(text, "; Type: DATABASE")
	}
	if made, ok := strings.CutPrefix(text, "CREATE SCHEMA "); ok && !j.ended {
		for s := range j.schemas {
			if quoted, _, _ := strings.Cut(scope.QuoteIdent(s)+";\n", "\n"); made == s+";\n" || made == quoted+"\n" { // a name may have lines
				delete(j.schemas, s)
				return []byte("CREATE SCHEMA IF NOT EXISTS " + made)
			}
		}
	}
	return line
}
