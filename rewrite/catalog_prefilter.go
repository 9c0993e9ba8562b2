package rewrite

import "bytes"

// MayReadRoles is the prefilter for queries, as [MayNameRole] is for statements about roles: whether a text may read or
// say a role's name by means of SQL. It looks for words wherever they stand, and so may err towards yes.
//
// An application with columns called role, user or owner does not pay for them: none of the words is a likely name of
// its own, user counts only where it can be the key word, and the functions for settings only beside a setting about
// roles.
func MayReadRoles(sql []byte) bool {
	setting, role := false, false // a function for settings, and a setting about roles
	for i := 0; i < len(sql); {
		if !wordByte[sql[i]] {
			i++
			continue
		}
		start := i
		for i < len(sql) && wordByte[sql[i]] {
			i++
		}
		if i-start < len("user") || i-start > longestCatalogWord || !catalogLength[i-start][sql[start]|0x20] {
			if i-start == 1 && sql[start]|0x20 == 'u' && bytes.HasPrefix(sql[i:], []byte(`&"`)) {
				return true // it can spell any word
			}
			continue
		}
		switch word := sql[start:i]; {
		case is(word, "user"):
			if userKeyword(sql, start, i) {
				return true
			}
		case is(word, "role"), is(word, "authorization"), is(word, "pgscope"):
			role = true
		case is(word, "set_config"), is(word, "current_setting"), is(word, "show"):
			setting = true
		case catalogWord(word):
			return true
		}
		if setting && role {
			return true
		}
	}
	return false
}

// userKeyword reports whether the word USER at sql[start:end] may be the key word. It is a reserved one: a column of that
// name is quoted, or stands behind a dot or AS.
func userKeyword(sql []byte, start, end int) bool {
	if start > 0 && bytes.IndexByte([]byte(`.'"`), sql[start-1]) >= 0 {
		return false
	}
	return end == len(sql) || sql[end] != '\''
}

// longestCatalogWord is the length of the longest of the words.
var longestCatalogWord = func() (n int) {
	for w := range catalogWords {
		n = max(n, len(w))
	}
	return n
}()

// catalogLength tells by length and first letter whether a word may be one of those that are looked for.
var catalogLength = func() [][256]bool {
	t := make([][256]bool, longestCatalogWord+1)
	for w := range catalogWords {
		t[len(w)][w[0]] = true
	}
	for _, w := range []string{"user", "role", "authorization", "pgscope", "set_config", "current_setting", "show"} {
		t[len(w)][w[0]] = true
	}
	return t
}()

func catalogWord(word []byte) bool {
	var lower [64]byte
	for i, c := range word {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	_, ok := catalogWords[string(lower[:len(word)])]
	return ok
}
