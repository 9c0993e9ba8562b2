package reconcile

import (
	"errors"
	"fmt"
	"iter"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// ACL is what is stored with an object. Where nothing is stored, the built-in rights hold: all for the owner, and for
// PUBLIC what [access.KindInfo] says. An ACL that is stored may well be empty.
type ACL struct {
	Stored  bool
	Entries []Entry
}

// Entry is one aclitem: what one role has from another. An empty Grantee is PUBLIC.
type Entry struct {
	Grantee, Grantor scope.Cluster
	Privileges       access.Privileges
	Options          access.Privileges // those that may be granted on
}

var (
	errArray = errors.New("not an array")
	errACL   = errors.New("not a list of privileges")
)

// interner keeps one copy of each role's name: a million entries speak of a hundred roles.
type interner map[string]scope.Cluster

// aclReader keeps one copy of each list: the tables of a schema mostly have the same. Lists that are the same share
// their entries.
type aclReader struct {
	names interner
	lists map[string]ACL
}

func newACLReader(names interner) aclReader {
	return aclReader{names: names, lists: make(map[string]ACL)}
}

func (r *aclReader) parse(text []byte) (ACL, error) {
	if acl, ok := r.lists[string(text)]; ok && text != nil {
		return acl, nil
	}
	acl, err := r.names.parse(text)
	if err == nil && text != nil {
		r.lists[string(text)] = acl
	}
	return acl, err
}

func (in interner) name(b []byte) scope.Cluster {
	if name, ok := in[string(b)]; ok {
		return name
	}
	name := scope.Cluster(b)
	in[string(b)] = name
	return name
}

// parse reads the text of an aclitem[], as array_out and aclitemout write it (src/backend/utils/adt/acl.c). nil is NULL:
// nothing is stored.
func (in interner) parse(text []byte) (ACL, error) {
	acl := ACL{Stored: text != nil}
	for element, err := range elements(text) {
		if err != nil {
			return ACL{}, err
		}
		e, ok := in.entry(element)
		if !ok {
			return ACL{}, fmt.Errorf("%w: %.100q", errACL, element)
		}
		acl.Entries = append(acl.Entries, e)
	}
	return acl, nil
}

// elements returns the elements of an array, as array_out writes it; none of NULL. Each is valid until the next one.
func elements(text []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if text == nil {
			return
		}
		bad := fmt.Errorf("%w: %.100q", errArray, text)
		if len(text) < 2 || text[0] != '{' || text[len(text)-1] != '}' {
			yield(nil, bad)
			return
		}
		var buf []byte // of an element without its quotes
		for rest, more := text[1:len(text)-1], len(text) > 2; more; {
			var element []byte
			var ok bool
			if element, rest, buf, ok = arrayElement(rest, buf); !ok {
				yield(nil, bad)
				return
			}
			if more = len(rest) > 0; more && rest[0] != ',' {
				yield(nil, bad)
				return
			}
			if !yield(element, nil) {
				return
			}
			if more {
				rest = rest[1:]
			}
		}
	}
}

// arrayElement takes the first element off a list of them. The element lives in s or in buf.
func arrayElement(s, buf []byte) (element, rest, buffer []byte, ok bool) {
	if len(s) == 0 || s[0] != '"' {
		end := 0
		for end < len(s) && s[end] != ',' {
			end++
		}
		return s[:end], s[end:], buf, end > 0
	}
	buf = buf[:0]
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return buf, s[i+1:], buf, true
		case '\\':
			if i++; i == len(s) {
				return nil, nil, buf, false
			}
		}
		buf = append(buf, s[i])
	}
	return nil, nil, buf, false
}

// entry reads one aclitem: grantee=letters/grantor, a * after what may be granted on. Names are in double quotes, those
// inside doubled, where they need to be.
func (in interner) entry(s []byte) (e Entry, ok bool) {
	var grantor []byte
	grantee, s, ok := aclName(s)
	if !ok || len(s) == 0 || s[0] != '=' {
		return Entry{}, false
	}
	e.Grantee = in.name(grantee)
	var last access.Privileges
	for s = s[1:]; len(s) > 0 && s[0] != '/'; s = s[1:] {
		if s[0] == '*' {
			e.Options |= last
			if last == 0 {
				return Entry{}, false
			}
			last = 0
			continue
		}
		if last, ok = access.PrivilegeOfLetter(s[0]); !ok {
			return Entry{}, false
		}
		e.Privileges |= last
	}
	if len(s) == 0 {
		return Entry{}, false
	}
	if grantor, s, ok = aclName(s[1:]); !ok || len(s) != 0 || len(grantor) == 0 {
		return Entry{}, false
	}
	e.Grantor = in.name(grantor)
	return e, true
}

// aclName takes a name off the front, as getid does.
func aclName(s []byte) (name, rest []byte, ok bool) {
	if len(s) == 0 || s[0] != '"' {
		end := 0
		for end < len(s) && s[end] != '=' && s[end] != '/' && s[end] != '"' {
			end++
		}
		return s[:end], s[end:], true
	}
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			name = append(name, s[i])
			continue
		}
		if i+1 == len(s) || s[i+1] != '"' {
			return name, s[i+1:], len(name) > 0
		}
		name = append(name, '"')
		i++
	}
	return nil, nil, false
}

// entries returns the rights that hold, of an object or of default privileges of the kind and owner (acldefault). The
// owner's own built-in ones are left out.
func (a ACL) entries(kind access.Kind, owner scope.Cluster) []Entry {
	everyone := kind.Info().Everyone
	if a.Stored || everyone == 0 {
		return a.Entries
	}
	return []Entry{{Grantor: owner, Privileges: everyone}}
}
