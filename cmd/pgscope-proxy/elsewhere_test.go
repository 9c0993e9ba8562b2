package main

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestElsewhere checks the types of the program as another system would build it, where goroutines
// relay: what is there for Linux alone must not be leant on. No C compiler for that system is needed;
// package rewrite, which has cgo, is left out.
func TestElsewhere(t *testing.T) {
	found, err := packages.Load(&packages.Config{
		Mode: packages.LoadSyntax,
		Env:  append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0"),
	}, "github.com/pgscope/pgscope-proxy/...")
	if err != nil {
		t.Fatal(err)
	}
	checked := make(map[string]bool)
	for _, p := range found {
		checked[p.PkgPath] = true
		if strings.HasSuffix(p.PkgPath, "/rewrite") {
			continue
		}
		for _, e := range p.Errors {
			t.Errorf("%s: %v", p.PkgPath, e)
		}
	}
	for _, p := range []string{"proxy", "proxy/engine", "cmd/pgscope-proxy"} {
		if !checked["github.com/pgscope/pgscope-proxy/"+p] {
			t.Errorf("%s was not checked", p)
		}
	}
}
