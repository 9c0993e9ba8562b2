package charset

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
)

// Charset is a character set. It is safe for concurrent use.
type Charset struct {
	name string
	// size returns how many bytes the character has that begins with the byte, and, where that is not enough, the next.
	// It is nil for UTF-8, and for sets of which only the ASCII part is understood.
	size func(first, second byte) int
	// letters says what the characters are; nil where no table is at hand.
	letters encoding.Encoding
	// private is whether characters that letters does not know are read as private ones.
	private bool
	utf8    bool
	bytes   bool // each byte counts as a character, whatever it is a part of
}

// Of returns the character set of a session's texts, by the server's reports of client_encoding and server_encoding.
// Where the client's is SQL_ASCII the server takes the bytes as they are. Of a set that is not known, ASCII is.
func Of(client, server string) *Charset {
	if client == "SQL_ASCII" {
		client = server
	}
	if c, ok := sets[client]; ok {
		return c
	}
	return &Charset{name: client}
}

// Name is the name as a string, which all who have that encoding share.
func Name(name []byte) string {
	if c, ok := sets[string(name)]; ok {
		return c.name
	}
	return string(name)
}

// plain reports whether a text is the same in UTF-8.
func (c *Charset) plain(text string) bool {
	switch {
	case ASCII(text):
		return true
	case c.utf8:
		return utf8.ValidString(text)
	case c.bytes: // nearly always UTF-8; what looks like a private character is none
		return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r >= privateRunes })
	default:
		return false
	}
}

// Decode returns the text in UTF-8, one character for each of the client's. at, if not nil, is told of each character
// beyond ASCII where it ends in both. ok is false where the text is not one of this set, or cannot be read.
func (c *Charset) Decode(text string, at func(decoded, encoded int)) (decoded string, ok bool) {
	if c.plain(text) {
		return text, true
	}
	if c.size == nil {
		return "", false
	}
	var b strings.Builder
	b.Grow(len(text) + len(text)/2)
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			b.WriteByte(text[i])
			i++
			continue
		}
		n := c.next(text[i:])
		if i+n > len(text) {
			return "", false
		}
		r, ok := c.read(text[i : i+n])
		if !ok {
			return "", false
		}
		b.WriteRune(r)
		i += n
		if at != nil {
			at(b.Len(), i)
		}
	}
	return b.String(), true
}

// next returns the size of the character that text begins with.
func (c *Charset) next(text string) int {
	if text[0] < utf8.RuneSelf {
		return 1
	}
	var second byte
	if len(text) > 1 {
		second = text[1]
	}
	return c.size(text[0], second)
}

// read returns what one character is.
func (c *Charset) read(char string) (rune, bool) {
	if c.letters != nil {
		if decoded, err := c.letters.NewDecoder().String(char); err == nil {
			r, n := utf8.DecodeRuneInString(decoded)
			if n == len(decoded) && r != utf8.RuneError && r >= utf8.RuneSelf {
				if again, err := c.letters.NewEncoder().String(decoded); err == nil && again == char {
					return r, true
				}
			}
		}
	}
	if !c.private {
		return 0, false
	}
	switch {
	case len(char) == 1:
		return privateRunes + rune(char[0]), true
	case len(char) == 2:
		return privateRunes + rune(char[0])<<8 + rune(char[1]), true
	case len(char) == 3 && char[0] == singleShift3:
		return privateRunes3 + rune(char[1])<<8 + rune(char[2]), true
	}
	return 0, false
}

// The private characters: one of one or two bytes, and one of three, whose first is always the same.
const (
	privateRunes  = 0xF0000
	privateRunes3 = 0x100000
	singleShift3  = 0x8F
)

// Encode returns a text of this set. It fails where a character of the UTF-8 text has none in it.
func (c *Charset) Encode(text string) (string, error) {
	if ASCII(text) || c.utf8 && utf8.ValidString(text) {
		return text, nil
	}
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		if err := c.write(&b, r); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func (c *Charset) write(b *strings.Builder, r rune) error {
	switch {
	case r < utf8.RuneSelf:
		b.WriteByte(byte(r)) //nolint:gosec // seven bits
		return nil
	case c.private && r >= privateRunes3 && r <= utf8.MaxRune:
		b.WriteByte(singleShift3)
		b.WriteByte(byte(r >> 8)) //nolint:gosec // the low 16 bits are two bytes
		b.WriteByte(byte(r))      //nolint:gosec // as above
		return nil
	case c.private && r > privateRunes && r < privateRunes3:
		if r>>8&0xff != 0 {
			b.WriteByte(byte(r >> 8)) //nolint:gosec // as above
		}
		b.WriteByte(byte(r)) //nolint:gosec // as above
		return nil
	case c.bytes:
		b.WriteRune(r)
		return nil
	}
	if c.letters != nil && r != utf8.RuneError {
		if encoded, err := c.letters.NewEncoder().String(string(r)); err == nil && c.next(encoded) == len(encoded) {
			b.WriteString(encoded)
			return nil
		}
	}
	return &UntranslatableError{Char: r, Charset: c.name}
}

// UntranslatableError says that a character has no equivalent in a character set.
type UntranslatableError struct {
	Char    rune
	Charset string
}

// Error speaks in the server's words (report_untranslatable_char, src/backend/utils/mb/mbutils.c).
func (e *UntranslatableError) Error() string {
	var hex []string
	for _, b := range []byte(string(e.Char)) {
		hex = append(hex, fmt.Sprintf("0x%02x", b))
	}
	return fmt.Sprintf(`character with byte sequence %s in encoding "UTF8" has no equivalent in encoding "%s"`,
		strings.Join(hex, " "), e.Charset)
}

// Count returns how many characters a text of this set has, as the server counts them in the positions of errors.
func (c *Charset) Count(text string) int {
	switch {
	case c.utf8:
		return utf8.RuneCountInString(text)
	case c.bytes || c.size == nil:
		return len(text)
	}
	n := 0
	for i := 0; i < len(text); n++ {
		i += c.next(text[i:])
	}
	return n
}

// Offset returns where the 1-based character n of a text of this set begins, at most len(text).
func (c *Charset) Offset(text string, n int) int {
	i := 0
	for ; n > 1 && i < len(text); n-- {
		switch {
		case c.utf8:
			_, size := utf8.DecodeRuneInString(text[i:])
			i += size
		case c.bytes || c.size == nil:
			i++
		default:
			i += c.next(text[i:])
		}
	}
	return min(i, len(text))
}

// ASCII reports whether a text is in ASCII, which is the same in all sets.
func ASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
