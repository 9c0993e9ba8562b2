package yamlfile

import (
	"slices"
	"strings"
)

// Suggest is the end of a message about a word that is none of those known: the one that was probably meant, or all.
func Suggest(word string, known []string) string {
	if s := DidYouMean(word, known); s != "" {
		return s
	}
	return ": known are " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// DidYouMean names the word that is nearest to a misspelt one; nothing where none is near.
func DidYouMean(word string, known []string) string {
	best, distance := "", max(1, min(len(word), 12)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) { // of two that are as near, always the same
		if abs(len(k)-len(word)) >= distance {
			continue
		}
		if d := edits(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return `: did you mean "` + best + `"?`
}

func abs(n int) int { return max(n, -n) }

// edits counts how many characters must be added, removed, replaced or swapped with their neighbour to make b of a.
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
