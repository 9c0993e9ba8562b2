package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Proof is that nobody's access changed: so many rights of so many roles were compared.
type Proof struct{ Roles, Rights int }

// prove compares what each role may do, by itself, by what it is a member of, and as PUBLIC. The project's own markers,
// which may do nothing, do not count.
func prove(before, after *State) (*Proof, error) {
	was, is := effective(before), effective(after)
	proof := &Proof{Roles: len(was)}
	for _, role := range slices.Sorted(maps.Keys(was)) {
		proof.Rights += len(was[role])
		if !maps.Equal(was[role], is[role]) {
			return nil, fmt.Errorf("the effective access of role %q would change", role)
		}
	}
	if len(was) != len(is) {
		return nil, fmt.Errorf("there were %d roles, and would be %d", len(was), len(is))
	}
	return proof, nil
}

// right is a thing that something may be done with; column is empty for the whole of it.
type right struct {
	object string
	column string
}

// effective returns what each role may do in the database without SET ROLE, superusers' powers aside.
func effective(s *State) map[scope.Cluster]map[right]access.Privileges {
	groups := make(map[scope.Cluster][]scope.Cluster)
	for _, e := range s.Members {
		if e.Inherit {
			groups[e.Member] = append(groups[e.Member], e.Role)
		}
	}
	direct := make(map[scope.Cluster]map[right]access.Privileges)
	give := func(to scope.Cluster, r right, p access.Privileges) {
		if direct[to] == nil {
			direct[to] = make(map[right]access.Privileges)
		}
		direct[to][r] |= p
	}
	for kind, list := range s.Objects {
		for _, o := range list {
			give(o.Owner, right{o.String(), ""}, kind.Info().Privileges)
			for _, e := range o.ACL.entries(kind, o.Owner) {
				give(e.Grantee, right{o.String(), ""}, e.Privileges)
			}
			for column, acl := range o.Columns {
				for _, e := range acl.Entries {
					give(e.Grantee, right{o.String(), column}, e.Privileges)
				}
			}
		}
	}
	all := make(map[scope.Cluster]map[right]access.Privileges)
	for name := range s.Roles {
		if strings.HasPrefix(string(name), scope.Reserved) {
			continue
		}
		sum := make(map[right]access.Privileges)
		for r := range access.Reach(groups, "", name) {
			for k, p := range direct[r] {
				sum[k] |= p
			}
		}
		all[name] = sum
	}
	return all
}
