package engine

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Rewritings remembers what texts were rewritten to: queries of the catalogs, and SET ROLE, of which tools and applications
// send the same few again and again. It is valid as long as what is known of the database does not change; a [Directory]
// that learns something new starts another. All sessions share it; it is safe for concurrent use.
type Rewritings struct {
	cache *lru.Cache[rewritingKey, *rewriting]
}

// The analysis stands for the text and for how the session reads it: whoever makes analyses keeps those of texts that recur.
type rewritingKey struct {
	analysis *rewrite.Analysis
	mode     scope.Mode
}

// rewriting is what a text became. It must not be changed.
type rewriting struct {
	result *rewrite.Result
	names  map[scope.Cluster]scope.Short // see called
	view   *scope.View                   // by which it did
	shown  []shown                       // for the record: its parts
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
// catalogs, or a SET ROLE. Other role statements are not; they may contain a password.
func Recurs(sql string, a *rewrite.Analysis) bool {
	if len(sql) > maxRecurring {
		return false
	}
	if a != nil {
		if _, _, ok := a.SetsRole(); ok {
			return true
		}
	}
	return !rewrite.MayNameRole([]byte(sql))
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

// mapped tells what the held statement becomes. Where that is remembered, only the policy is asked.
func (e *Engine) mapped(decide func(policy.Action) *scope.Error) *rewriting {
	h := e.held
	r := h.known
	if r != nil && r.result != nil {
		var denied *scope.Error
		asked := 0
		for asked < len(r.result.Actions) && denied == nil {
			denied = decide(r.result.Actions[asked])
			asked++
		}
		if denied == nil {
			return r
		}
		further := decide
		decide = func(a policy.Action) *scope.Error {
			switch asked--; {
			case asked > 0:
				return nil
			case asked == 0:
				return denied
			default:
				return further(a)
			}
		}
		h.view = r.view.DB.View()
		h.view.Created(r.claim.Role, scope.Own)
	}
	mapped := rewriting{view: h.view}
	if r != nil {
		mapped.claim, mapped.before = r.claim, r.before
	}
	h.view.Columns, h.view.DefaultPath = e.cfg.Directory.Columns(e.options.ServerVersion), e.userPath.standard
	if h.view.Census == nil {
		h.view.Census = e.cfg.Directory.Census()
	}
	if e.changing { // what names mean now, only this session sees
		h.view.Census = h.view.Census.Nameless()
	}
	mapped.result = h.analysis.Rewrite(h.view, h.mode, decide)
	if mapped.claim.Role != "" && len(mapped.result.Refusals) == 0 {
		_, local, _ := h.analysis.SetsRole()
		if sql, err := e.encode(mapped.claim.SetSQL(local)); err == nil {
			claimed := *mapped.result
			claimed.SQL = sql
			mapped.claimed = &claimed
		}
	}
	mapped.names, mapped.shown = called(h.analysis, h.view), e.show(h.written, mapped.result)
	if h.memory != nil && len(mapped.result.Refusals) == 0 && len(mapped.result.SQL) <= maxBecome && Recurs(h.written, h.analysis) {
		h.memory.cache.Add(rewritingKey{h.analysis, h.mode}, &mapped)
	}
	return &mapped
}
