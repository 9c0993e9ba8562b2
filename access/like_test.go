package access

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/scope"
	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

// TestLike asks a server which names are LIKE which patterns.
func TestLike(t *testing.T) {
	names := []string{"", "a", "ab", "abc", "aab", "abab", "a_b", "a%b", `a\b`, "é", "aé"}
	patterns := []string{"", "%", "_", "a", "a%", "%b", "%a%b", "a_", "a_b", `a\_b`, `a\%b`, `a\\b`, "%%", "_%_", "%ab", "a%%b", "__", `\a%`}
	var want, got, query strings.Builder
	for _, n := range names {
		for _, p := range patterns {
			fmt.Fprintf(&query, "SELECT %s LIKE %s;\n", scope.QuoteLiteral(n), scope.QuoteLiteral(p))
			fmt.Fprintf(&got, "%q %q %t\n", n, p, Like(p, n))
		}
	}
	answers := strings.Fields(pgtest.Shared(t).Psql(t, "postgres", query.String()))
	for i, answer := range answers {
		fmt.Fprintf(&want, "%q %q %t\n", names[i/len(patterns)], patterns[i%len(patterns)], answer == "t")
	}
	if got.String() != want.String() {
		t.Errorf("got:\n%s\nwant:\n%s", got.String(), want.String())
	}
}
