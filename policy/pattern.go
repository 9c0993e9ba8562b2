package policy

import (
	"errors"
	"unicode/utf8"
)

// pattern is a glob: * stands for any characters, ? for one, \ takes the next one as it is.
type pattern string

const anything pattern = "*"

func newPattern(s string) (pattern, error) {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		if i++; i == len(s) {
			return "", errors.New(`a pattern ends in \`)
		}
	}
	return pattern(s), nil
}

// match reports whether all of s fits. Its time is bounded by the product of the lengths: where the characters after a *
// do not fit, only the last * takes one character more.
func (p pattern) match(s string) bool {
	i, j := 0, 0          // in p, in s
	star, resume := -1, 0 // after the last *, and where in s it is tried next
	for i < len(p) || j < len(s) {
		if i < len(p) {
			if p[i] == '*' {
				i++
				star, resume = i, j
				continue
			}
			if di, dj := p.step(i, s[j:]); dj > 0 {
				i, j = i+di, j+dj
				continue
			}
		}
		if star < 0 || resume >= len(s) {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[resume:])
		resume += n
		i, j = star, resume
	}
	return true
}

// step matches what stands at p[i], no *, with the beginning of s. It returns the lengths of
// both; 0 of s where they differ.
func (p pattern) step(i int, s string) (inPattern, inText int) {
	if s == "" {
		return 0, 0
	}
	switch p[i] {
	case '?':
		_, n := utf8.DecodeRuneInString(s)
		return 1, n
	case '\\':
		if p[i+1] == s[0] {
			return 2, 1
		}
	default:
		if p[i] == s[0] {
			return 1, 1
		}
	}
	return 0, 0
}
