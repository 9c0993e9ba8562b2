// Package charset reads and writes texts in the character sets that a client of PostgreSQL may use (client_encoding).
//
// The SQL parser takes UTF-8 only. A text in another set is converted to a copy, and what is put into it is converted back.
// What matters is that each character is written again as the same bytes, not what it looks like. So a character that this
// package's tables do not know, or know under two codes, becomes one of Unicode's private characters, which is as good a
// letter as any other, and is written as the bytes that it was.
//
// The structure of the sets (how many bytes a character has) is that of src/common/wchar.c.
package charset
