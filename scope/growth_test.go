package scope_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgscope/pgscope-proxy/scope"
)

// TestManyRoles: what a question reads, and what is done when a role has changed, does not go with the roles that there
// are; nor does it take the server's having looked at its catalogs (ANALYZE) since they came.
func TestManyRoles(t *testing.T) {
	c := server(t)
	conn := connect(t, c, "a")
	create(t, conn, "a", scope.Name{Role: "x"}, scope.Name{Role: "y_z"})
	exec(t, conn, "CREATE ROLE staff; CREATE ROLE alice ROLE a_x IN ROLE staff; GRANT pgscope_db_a TO alice WITH ADMIN OPTION")
	exec(t, conn, "DO $$ BEGIN FOR i IN 1..5000 LOOP EXECUTE format('CREATE ROLE a_r%s IN ROLE pgscope_db_a', i); END LOOP; END $$")
	q := scope.NewDatabase(0, "a", "").Inquire(scope.Name{Role: "x"}, scope.Name{Role: "nobody"})
	q.Standing, q.Members, q.As = true, true, "a_x"
	for _, statistics := range []string{"", "ANALYZE"} {
		exec(t, conn, statistics)
		for relation, rows := range plan(t, conn, q) {
			if rows > 50 {
				t.Errorf("%q: %g rows of %s are read", statistics, rows, relation)
			}
		}
	}

	q = scope.NewDatabase(0, "a", "").Inquire()
	q.Own = true
	v := ask(t, conn, q)
	census := v.Census
	if !census.Means("x").Own || census.Means("y_z").OID == 0 || census.Nameless().Means("x").Own {
		t.Errorf("x is %+v, y_z %+v", census.Means("x"), census.Means("y_z"))
	}
	if n := testing.AllocsPerRun(10, func() { census.Forget(v.DB, "a_x", "y_z") }); n > 0 {
		t.Errorf("%g allocations to forget a role", n)
	}
	for name, own := range map[scope.Short]bool{"x": false, "y_z": false, "r7": true} {
		if m := census.Means(name); m.Own != own {
			t.Errorf("%s is %+v", name, m)
		}
	}
}

// TestAskMany: roles are asked about once each, those with names that the server would cut off not at all. In the square of
// their number the work would not end.
func TestAskMany(t *testing.T) {
	var names []scope.Cluster
	for i := range 1 << 19 {
		names = append(names, scope.Cluster(fmt.Sprintf("orders_%07d", i)))
	}
	some, long := len(names)/2, scope.Cluster(strings.Repeat("x", scope.MaxName+1))
	q := scope.Inquiry{Names: slices.Clone(names[:some])}
	q.Ask(append(slices.Clone(names), names[some:]...)...)
	q.Ask(long, names[0])
	if !slices.Equal(q.Names, names) {
		t.Errorf("of %d roles %d are asked about", len(names), len(q.Names))
	}
}

// node is one of a plan, as EXPLAIN tells it.
type node struct {
	Relation string  `json:"Relation Name"`
	Rows     float64 `json:"Actual Rows"`
	Removed  float64 `json:"Rows Removed by Filter"`
	Loops    float64 `json:"Actual Loops"`
	Plans    []node
}

// plan asks, and returns how many rows of each relation the server has read for the answer.
func plan(t *testing.T, conn *pgx.Conn, q scope.Inquiry) map[string]float64 {
	t.Helper()
	sql, params := q.SQL()
	var explained []struct{ Plan node }
	if err := json.Unmarshal([]byte(rowsOf(t, conn.PgConn(), "EXPLAIN (ANALYZE, FORMAT JSON) "+sql, params...)[0][0]), &explained); err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]float64)
	var count func(node)
	count = func(n node) {
		if n.Relation != "" {
			rows[n.Relation] += (n.Rows + n.Removed) * n.Loops
		}
		for _, under := range n.Plans {
			count(under)
		}
	}
	count(explained[0].Plan)
	if rows["pg_authid"] == 0 {
		t.Fatalf("of roles nothing was read: %v", rows)
	}
	return rows
}
