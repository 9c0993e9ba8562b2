package scope_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pgscope/pgscope-proxy/scope"
)

// TestActor asks who asks: in sessions of several people, and about them from elsewhere.
func TestActor(t *testing.T) {
	c := server(t)
	admin := connect(t, c, "a")
	exec(t, admin, `CREATE ROLE dba LOGIN CREATEROLE; CREATE ROLE creator LOGIN CREATEROLE; CREATE ROLE alice LOGIN; CREATE ROLE staff ROLE alice`)
	exec(t, admin, scope.NewDatabase(oid(t, admin.PgConn(), "a"), "a", "").EnrolSQL())
	exec(t, admin, `CREATE ROLE a_reader IN ROLE pgscope_db_a; CREATE ROLE a_writer IN ROLE pgscope_db_a ROLE staff; GRANT a_reader TO dba`)
	major, err := strconv.Atoi(c.Major)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, admin, scope.Database{Marker: "pgscope_db_a"}.AdministratorSQL("dba", major))

	for _, want := range []struct {
		user         scope.Cluster
		attributes   string
		members      []scope.Short
		administered []scope.Cluster
	}{
		{"postgres", "[SUPERUSER CREATEDB CREATEROLE INHERIT LOGIN REPLICATION BYPASSRLS]", []scope.Short{"postgres"}, []scope.Cluster{"a_reader", "a_new", "alice"}},
		{"dba", "[CREATEROLE INHERIT LOGIN]", []scope.Short{"dba", "reader"}, []scope.Cluster{"a_reader", "a_new"}},
		{"creator", "[CREATEROLE INHERIT LOGIN]", []scope.Short{"creator"}, nil},
		{"alice", "[INHERIT LOGIN]", []scope.Short{"alice", "staff", "writer"}, nil},
	} {
		q := scope.NewDatabase(0, "a", "").Inquire(scope.Name{Role: "reader"}, scope.Name{Role: "new"}, scope.Name{Role: "alice"})
		q.Standing, q.Members = true, true
		about := q
		about.As = want.user
		for how, view := range map[string]*scope.View{
			"in its session": ask(t, connect(t, c, "a", "user="+string(want.user)), q),
			"from another's": ask(t, admin, about),
		} {
			if view.Actor == nil {
				t.Fatalf("%s: %s: nothing is known", want.user, how)
			}
			slices.Sort(view.Actor.Members)
			if got := fmt.Sprint(view.Actor.Attributes); got != want.attributes {
				t.Errorf("%s: %s: %s", want.user, how, got)
			}
			if diff := cmp.Diff(want.members, view.Actor.Members); diff != "" {
				t.Errorf("%s: %s: member of (-want +got)\n%s", want.user, how, diff)
			}
			for role, home := range map[scope.Cluster]scope.Home{"a_reader": scope.Own, "a_new": scope.Own, "alice": scope.Global} {
				itself := role == want.user
				if got := view.Administers(role, home); got != (slices.Contains(want.administered, role) || itself) {
					t.Errorf("%s: %s: administers %s: %v", want.user, how, role, got)
				}
			}
			if got := view.Administers("a_new", scope.Missing); got != slices.Contains(want.administered, "a_new") {
				t.Errorf("%s: %s: administers what is not there: %v", want.user, how, got)
			}
			if !view.Administers("b", scope.Global) {
				t.Errorf("%s: cannot make what does not exist", want.user)
			}
		}
	}
	if ask(t, admin, scope.Inquiry{Database: "a"}).Actor != nil {
		t.Error("told without a question")
	}
}
