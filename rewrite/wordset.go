package rewrite

import (
	"bytes"
	"encoding/binary"
)

// wordSet is a set of words to be found in long texts: as hasWord finds them, but without a look at each word. At each
// byte a hash of four letters tells whether one of them may begin there.
type wordSet struct {
	words  []string // in lower case, of four letters at least
	begins [1 << wordBits]uint8
}

const wordBits = 12

func newWordSet(words ...string) *wordSet {
	s := &wordSet{words: words}
	for _, w := range words {
		s.begins[beginning(uint64(binary.LittleEndian.Uint32([]byte(w))))] = 1
	}
	return s
}

// beginning is a hash of the first four letters, their cases folded.
func beginning(letters uint64) uint32 {
	return uint32(letters|0x20202020) * 0x9e3779b1 >> (32 - wordBits) //nolint:gosec // the first four
}

// has reports whether the word is one of the set.
func (s *wordSet) has(word []byte) bool {
	for _, lower := range s.words {
		if is(word, lower) {
			return true
		}
	}
	return false
}

// in is hasWord for the words of the set.
func (s *wordSet) in(b []byte) bool {
	i := 0
	for ; i+8 <= len(b); i += 4 { // four places at once, since at nearly all of them nothing begins
		v := binary.LittleEndian.Uint64(b[i:])
		if s.begins[beginning(v)]|s.begins[beginning(v>>8)]|s.begins[beginning(v>>16)]|s.begins[beginning(v>>24)] != 0 &&
			(s.at(b, i) || s.at(b, i+1) || s.at(b, i+2) || s.at(b, i+3)) {
			return true
		}
	}
	for ; i+4 <= len(b); i++ {
		if s.at(b, i) {
			return true
		}
	}
	return spelled(b)
}

// at reports whether a word of the set stands in b from i on.
func (s *wordSet) at(b []byte, i int) bool {
	end := i
	for end < len(b) && end-i <= longestRoleWord && wordByte[b[end]] {
		end++
	}
	if !s.has(b[i:end]) {
		return false
	}
	start := i
	for start > 0 && wordByte[b[start-1]] { // of few of the places in one word: where its end is a word of the set
		start--
	}
	return start == i || b[start] <= '9' // see endsIn
}

// spelled reports whether U&" stands in b: a name that is written so may be any.
func spelled(b []byte) bool {
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte(`&"`))
		if i < 0 {
			return false
		}
		i += from
		if i > 0 && b[i-1]|0x20 == 'u' && (i == 1 || !wordByte[b[i-2]]) {
			return true
		}
		from = i + 1
	}
}

// roleWords are words of which every statement with a role in it has at least one.
var roleWords = newWordSet(
	"authorization", "dbonly", "grant", "group", "owned", "owner", "pgscope", "policy", "privileges", "revoke", "role",
	"session_authorization", "user",
)

// roleOrScopeWords are those, and what a statement that changes a scope has in it.
var roleOrScopeWords = newWordSet(append([]string{"database", "schema"}, roleWords.words...)...)

// hasWord reports whether a word that matches stands in b, in a string, a comment or wherever. U&" is one since it can
// spell any other. None of them is longer than longestRoleWord.
func hasWord(b []byte, match func([]byte) bool) bool {
	for i := 0; i < len(b); {
		if !wordByte[b[i]] {
			i++
			continue
		}
		start := i
		for i < len(b) && wordByte[b[i]] {
			i++
		}
		word := b[start:i]
		if word[0] <= '9' && endsIn(word, match) || match(word) {
			return true
		}
	}
	return spelled(b)
}

// endsIn is for words that begin with a digit: a server before 15 reads 5OWNER, and 1e5OWNER, as two words.
func endsIn(w []byte, match func([]byte) bool) bool {
	for i := max(1, len(w)-longestRoleWord); i < len(w); i++ {
		if match(w[i:]) {
			return true
		}
	}
	return false
}

const longestRoleWord = len("session_authorization")

// is compares a word with one in lower case, folding ASCII only, as the server does with keywords.
func is(word []byte, lower string) bool {
	if len(word) != len(lower) {
		return false
	}
	for i := range lower {
		c := word[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// blank reports whether the scanner skips c (space, scan.l; \v since 16).
func blank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// wordByte holds the bytes of unquoted identifiers (ident_cont, scan.l).
var wordByte = func() (t [256]bool) {
	for c := range t {
		b := byte(c)
		t[c] = b == '_' || b == '$' || b >= 0x80 || '0' <= b && b <= '9' || 'A' <= b && b <= 'Z' || 'a' <= b && b <= 'z'
	}
	return t
}()
