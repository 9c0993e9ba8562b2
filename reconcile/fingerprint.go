package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Fingerprint identifies a plan together with the state that it was made for: whoever agreed to the plan did not agree
// to make the same changes to something else. Passwords are no part of it, but whether they are to be set is.
func Fingerprint(s *State, p Plan) string {
	h := sha256.New()
	put := func(format string, args ...any) { _, _ = fmt.Fprintf(h, format+"\n", args...) } // a hash takes everything
	put("%d %q %q %v", s.Version, s.Scope.Name, s.Executor.Name, p.Mode)
	named := make(map[scope.Cluster]bool)
	for _, ref := range slices.SortedFunc(maps.Keys(s.Names), compareRefs) {
		n := s.Names[ref]
		put("name %q %d %q %d", ref, ref.Kind, n.Cluster, n.Is)
		if r := s.role(n.Cluster); r != nil {
			named[n.Cluster] = true
			put("role %v", *r)
		}
	}
	for _, e := range s.Members {
		if named[e.Role] {
			put("member %v", e)
		}
	}
	texts := make(map[*Entry]string) // of lists, which objects share
	list := func(a ACL) string {
		if len(a.Entries) == 0 {
			return ""
		}
		first := &a.Entries[0]
		if _, ok := texts[first]; !ok {
			sum := sha256.Sum256(fmt.Appendf(nil, "%q", a.Entries))
			texts[first] = string(sum[:])
		}
		return texts[first]
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Objects)) {
		for _, o := range s.Objects[kind] {
			put("%q %q %x %t", o.String(), o.Owner, list(o.ACL), o.ACL.Stored)
			for _, column := range slices.Sorted(maps.Keys(o.Columns)) {
				put("%q %x", column, list(o.Columns[column]))
			}
		}
	}
	put("%v %v", s.Defaults, s.Uses)
	for _, c := range p.Changes {
		put("%s %q", c.Step, c.SQL)
	}
	return hex.EncodeToString(h.Sum(nil))
}
