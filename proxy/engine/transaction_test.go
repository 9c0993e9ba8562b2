package engine

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgscope/pgscope-proxy/scope"
)

// TestManyRolesInATransaction: what a transaction has changed is asked about anew with each of its statements; that of one
// more statement is its own roles, not all that was asked about.
func TestManyRolesInATransaction(t *testing.T) {
	b := newBook()
	b.doubtful = []scope.Cluster{"orders_other"}
	s := newTestSession(t, b)
	within := &pgproto3.ReadyForQuery{TxStatus: 'T'}
	s.client(&pgproto3.Query{String: "BEGIN"})
	s.server(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")}, within)
	var want []scope.Cluster
	for i := range 50 {
		role := fmt.Sprintf("r%d", i)
		want = append(want, scope.Cluster("orders_"+role), scope.Cluster(role))
		for range 2 {
			s.client(&pgproto3.Query{String: "ALTER ROLE " + role + " LOGIN"})
			s.server(append(names(enrolled...), within)...)
			s.server(&pgproto3.CommandComplete{CommandTag: []byte("ALTER ROLE")}, within)
		}
	}
	if got := s.e.transaction; got.anyRole || !cmp.Equal(got.roles, want) {
		t.Errorf("%d roles, others %t (-want +got):\n%s", len(got.roles), got.anyRole, cmp.Diff(want, got.roles))
	}
}
