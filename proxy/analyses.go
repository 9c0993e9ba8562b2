package proxy

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/rewrite"
)

// maxAnalyses bounds how many texts are remembered.
const maxAnalyses = 1 << 10

// analyses remembers what queries of the catalogs were found to be about: drivers and tools send the same few again and
// again, and applications the same SET ROLE.
type analyses struct {
	cache *lru.Cache[analysed, *rewrite.Analysis]
}

type analysed struct {
	sql     string
	options rewrite.Options
}

func newAnalyses() (*analyses, error) {
	cache, err := lru.New[analysed, *rewrite.Analysis](maxAnalyses)
	return &analyses{cache}, err
}

// analyze is rewrite.Analyze.
func (a *analyses) analyze(sql string, o rewrite.Options) (*rewrite.Analysis, *rewrite.Error) {
	key := analysed{sql, o}
	if known, ok := a.cache.Get(key); ok {
		return known, nil
	}
	analysis, err := rewrite.Analyze(sql, o)
	if err == nil && engine.Recurs(sql, analysis) {
		a.cache.Add(key, analysis)
	}
	return analysis, err
}

// analyzeStatements is rewrite.Analyze for role statements only: queries show what the cluster has.
func analyzeStatements(sql string, o rewrite.Options) (*rewrite.Analysis, *rewrite.Error) {
	if !rewrite.MayNameRole([]byte(sql)) {
		return nil, nil
	}
	return rewrite.Analyze(sql, o)
}
