package engine

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Rewritings remembers what texts were rewritten to: queries of the catalogs, and SET ROLE, of which tools and applications
// send the same few again and again. It is valid as long as what is known of the database does not change; a [Directory]
// that learns something new starts another. All sessions share it; it is safe for concurrent use.
type Rewritings struct {
	cache *lru.Cache[rewritingKey, *rewriting]
}

// The analysis stands for the text and for how the session reads it: whoever makes analyses keeps those of texts that
// recur.
type rewritingKey struct {
	analysis *rewrite.Analysis
	mode     scope.Mode
}

// rewriting is what a text became. It must not be changed.
type rewriting struct {
	result *rewrite.Result
	names  map[scope.Cluster]scope.Short // see called
	view   *scope.View                   // by which it did
	parts  []redacted                    // for the record
	// Of a SET ROLE: what is claimed (claim.go), the messages that go before it, and the query that goes in its place.
	claim   scope.Claim
	before  []byte
	claimed *rewrite.Result
}

const (
	// maxRewritings bounds how many texts are remembered for one database.
	maxRewritings = 256
	// maxRecurring and maxBecome bound how long a text is that is remembered, and what it becomes, in bytes.
	maxRecurring = 8 << 10
	maxBecome    = 64 << 10
)

// Recurs reports whether a text, with the analysis a, may be remembered as one that is sent again and again: a query of the
// catalogs, or a SET ROLE. Other role statements are not; they may contain a password. Nor are texts that
// deallocate: the names in them are seldom the same.
func Recurs(sql string, a *rewrite.Analysis) bool {
	if len(sql) > maxRecurring {
		return false
	}
	if a != nil {
		if _, _, ok := a.SetsRole(); ok {
			return true
		}
	}
	return !rewrite.MayNameRole([]byte(sql)) && !rewrite.MayDeallocate([]byte(sql))
}

// NewRewritings returns an empty memory.
func NewRewritings() *Rewritings {
	cache, err := lru.New[rewritingKey, *rewriting](maxRewritings)
	if err != nil {
		panic(err) // only a size that is not positive is refused
	}
	return &Rewritings{cache}
}

func (r *Rewritings) recall(a *rewrite.Analysis, mode scope.Mode) *rewriting {
	known, _ := r.cache.Get(rewritingKey{a, mode})
	return known
}
