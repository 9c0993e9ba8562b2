package reconcile

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/pgscope/pgscope-proxy/access"
)

// Whatever anybody has done by hand, a run puts it right, and nobody loses by it who is not the manifest's business.
// Where it is no superuser that applies, it can be made, or that it cannot is told before the first change.
func TestAnyDriftIsRepaired(t *testing.T) {
	for _, user := range []string{"postgres", "rec_anyadmin"} {
		t.Run(user, func(t *testing.T) { repairs(t, user) })
	}
}

func repairs(t *testing.T, user string) {
	b := newBench(t, "rec_any")
	b.sql(`CREATE ROLE rec_anyx; CREATE ROLE rec_anyy; CREATE ROLE rec_anyadmin LOGIN CREATEROLE CREATEDB; ALTER DATABASE rec_any OWNER TO ` + user + `; SET ROLE ` + user + `;
` + someObjects)
	conn, err := b.connect("postgres")(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	strangers := func() [][]string {
		t.Helper()
		return slices.DeleteFunc(effectively(b.everything(conn)), func(r []string) bool {
			return !strings.HasPrefix(r[1], "rec_anyx ") && !strings.HasPrefix(r[1], "rec_anyy ") || strings.HasPrefix(r[0], "schema ") // which gets an owner
		})
	}
	rapid.Check(t, func(rt *rapid.T) {
		for _, sql := range drift(rt, user, b.major() >= 16) {
			var refused *pgconn.PgError
			err := run(t.Context(), conn, sql)
			if errors.As(err, &refused) {
				err = nil
			}
			if err = errors.Join(err, run(t.Context(), conn, "RESET ROLE")); err != nil {
				rt.Fatal(err)
			}
		}
		o := b.options(desires(rt, b.major() >= 16))
		for i := range o.Desired.Roles { // from PostgreSQL 15 on a superuser's to set
			r := &o.Desired.Roles[i]
			r.Settings = slices.DeleteFunc(r.Settings, func(s access.Setting) bool { return s.Name == "my.setting" && user != "postgres" })
		}
		o.Connect = b.connect(user)
		before := strangers()
		done, err := Run(b.Context(), o)
		var problems *ProblemsError
		if errors.As(err, &problems) && user != "postgres" && len(done.Made) == 0 {
			o.Connect = b.connect("postgres")
			done, err = Run(b.Context(), o)
		}
		if err != nil {
			rt.Fatalf("%v\n%+v\n%v", err, o.Desired, done.Plan.Changes)
		}
		if d := cmp.Diff(before, strangers()); d != "" {
			rt.Fatalf("who is not the manifest's business:\n%s\n%v", d, done.Plan.Changes)
		}
		for _, settled := range []Options{o, b.options(b.exported(Authoritative, false))} {
			settled.DryRun = true
			if r, err := Run(b.Context(), settled); err != nil || len(r.Plan.Changes)+len(r.Plan.Problems) > 0 {
				rt.Fatalf("still to be done: %v\n%v %v", err, r.Plan.Changes, r.Plan.Problems)
			}
		}
	})
}

var drifters = []string{"rec_any_r0", "rec_any_r1", "rec_any_r2", "rec_any_r3", "rec_anyx", "rec_anyy"}

// drift draws what people do by hand: a role, as whom it is, and the statement. What the server refuses is not done.
func drift(rt *rapid.T, user string, options bool) (list []string) {
	of := func(label string, all ...string) string { return rapid.SampledFrom(all).Draw(rt, label) }
	role := func(label string) string { return of(label, drifters...) }
	type object struct{ on, privileges string }
	objects := []object{
		{"TABLE s0.t0", "SELECT INSERT UPDATE DELETE ALL"},
		{"TABLE s0.t1", "SELECT INSERT UPDATE ALL"},
		{"TABLE s1.t0", "SELECT UPDATE ALL"},
		{"TABLE s0.v", "SELECT ALL"},
		{"SEQUENCE s1.q", "USAGE SELECT ALL"},
		{"ROUTINE s0.f(int)", "EXECUTE"},
		{"ROUTINE s0.f(text, numeric)", "EXECUTE"},
		{"TYPE s1.mood", "USAGE"},
		{"DOMAIN s1.d", "USAGE"},
		{"SCHEMA s0", "USAGE CREATE ALL"},
		{"SCHEMA s1", "USAGE CREATE ALL"},
		{"DATABASE rec_any", "CREATE TEMPORARY"}, // who applies must get in
		{"TABLE s0.t1", "SELECT(a) UPDATE(a) SELECT(b) INSERT(b)"},
		{"TABLE s0.t0", "SELECT(a) UPDATE(a) SELECT(b) INSERT(b)"},
	}
	for range rapid.IntRange(0, 14).Draw(rt, "drifts") {
		as := of("as", append([]string{user, user, user}, drifters...)...)
		o := rapid.SampledFrom(objects).Draw(rt, "object")
		p := of("privilege", strings.Fields(o.privileges)...)
		var sql string
		switch of("what", "grant", "grant", "grant", "grant", "revoke", "revoke", "member", "member", "unmember", "owner", "default", "role") {
		case "grant":
			to := of("to", append([]string{"PUBLIC"}, drifters...)...)
			sql = "GRANT " + p + " ON " + o.on + " TO " + to
			if to != "PUBLIC" {
				sql += of("option", "", " WITH GRANT OPTION")
			}
		case "revoke":
			sql = "REVOKE " + of("only", "", "GRANT OPTION FOR ") + p + " ON " + o.on + " FROM " + of("from", append([]string{"PUBLIC", user}, drifters...)...) + " CASCADE"
		case "member":
			sql = "GRANT " + of("group", drifters[:4]...) + " TO " + role("member")
			if options {
				sql += " WITH " + of("options", "ADMIN TRUE, INHERIT TRUE, SET FALSE", "ADMIN TRUE", "ADMIN FALSE, INHERIT TRUE, SET FALSE", "ADMIN FALSE, INHERIT FALSE, SET TRUE", "ADMIN FALSE, INHERIT FALSE, SET FALSE")
			} else {
				sql += of("admin", "", " WITH ADMIN OPTION")
			}
		case "unmember":
			sql = "REVOKE " + of("only", "", "ADMIN OPTION FOR ") + role("group") + " FROM " + role("member") + " CASCADE"
		case "owner":
			as = user
			sql = "ALTER " + of("owned", "TABLE s0.t0", "TABLE s0.t1", "VIEW s0.v", "SCHEMA s0", "SCHEMA s1", "TYPE s1.mood", "ROUTINE s0.f(int)", "SEQUENCE s1.q") + " OWNER TO " + of("owner", append([]string{user}, drifters...)...)
		case "default":
			as = user
			what := of("on", "SELECT ON TABLES", "ALL ON TABLES", "USAGE ON SEQUENCES", "EXECUTE ON ROUTINES", "USAGE ON TYPES")
			sql = "ALTER DEFAULT PRIVILEGES FOR ROLE " + role("maker") + of("in", "", " IN SCHEMA s0", " IN SCHEMA s1")
			to := of("to", append([]string{"PUBLIC"}, drifters...)...)
			sql += of("how", " GRANT "+what+" TO ", " REVOKE "+what+" FROM ") + to
		case "role":
			as = user
			sql = "ALTER ROLE " + role("changed") + of("change", " LOGIN", " NOINHERIT", " INHERIT", " SET work_mem TO '2MB'", " IN DATABASE rec_any SET search_path TO a, \"B c\"", " CONNECTION LIMIT 7", " VALID UNTIL '2030-01-01'")
		}
		list = append(list, "SET ROLE "+as+"; "+sql)
	}
	return list
}

// effectively leaves out who gave a right.
func effectively(rows [][]string) [][]string {
	with := make(map[string]bool)
	for _, r := range rows {
		if _, right, ok := strings.Cut(r[1], " gives "); ok {
			r[1] = right
		}
		with[r[0]+" "+r[1]] = true
	}
	slices.SortFunc(rows, slices.Compare)
	rows = slices.CompactFunc(rows, slices.Equal)
	return slices.DeleteFunc(rows, func(r []string) bool {
		right, plain := strings.CutSuffix(r[1], "false")
		return plain && with[r[0]+" "+right+"true"]
	})
}
