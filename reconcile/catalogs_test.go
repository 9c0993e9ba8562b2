package reconcile

import (
	"slices"
	"strings"
	"testing"
)

// What somebody has of the server's own objects, beyond what initdb gives, is found, exported and, where the manifest speaks
// of it, kept; what everyone has of them from initdb is not told of.
func TestServersOwnObjects(t *testing.T) {
	b := newBench(t, "rec_sys")
	closed := `
grants:
  - {role: PUBLIC, ensure: absent, privileges: [ALL], object: {type: database, name: rec_sys}}
  - {role: PUBLIC, ensure: absent, privileges: [ALL], object: {type: schema, name: public}}
`
	o := b.options(b.manifest("roles: [{name: backup}]\n" + closed))
	b.apply(o)
	found := func(o Options) string {
		t.Helper()
		report, findings, err := Check(t.Context(), o)
		if err != nil || len(report.Plan.Changes) > 0 {
			t.Fatal(report.Plan.Changes, err)
		}
		var list []string
		for _, f := range findings {
			list = append(list, f.Subject+" "+f.Message)
		}
		return strings.Join(list, "\n")
	}
	if got := found(o); got != "" {
		t.Errorf("all is declared, and found %s", got)
	}
	b.sql(`GRANT EXECUTE ON FUNCTION pg_read_file(text) TO rec_sys_backup; GRANT SELECT ON pg_authid TO rec_sys_backup; GRANT SELECT (subconninfo) ON pg_subscription TO rec_sys_backup;
GRANT SELECT ON pg_stat_activity TO rec_sys_backup; GRANT SELECT ON pg_statistic TO PUBLIC`)
	want := `PUBLIC everyone has SELECT on table pg_catalog.pg_statistic
role backup has EXECUTE on function pg_catalog.pg_read_file(text), of which the manifest does not speak
role backup has SELECT on column subconninfo of table pg_catalog.pg_subscription, of which the manifest does not speak
role backup has SELECT on table pg_catalog.pg_authid, of which the manifest does not speak
role backup has SELECT on view pg_catalog.pg_stat_activity, of which the manifest does not speak`
	if got := sorted(found(o)); got != sorted(want) {
		t.Errorf("found\n%s", got)
	}
	exported := b.options(b.exported(Authoritative, false))
	b.settled(exported)
	if len(exported.Desired.Grants) < 5 {
		t.Errorf("exported %v", exported.Desired.Grants)
	}
	b.sql(`REVOKE SELECT ON pg_authid, pg_stat_activity FROM rec_sys_backup; REVOKE SELECT (subconninfo) ON pg_subscription FROM rec_sys_backup; REVOKE SELECT ON pg_statistic FROM PUBLIC`)
	o.Desired = b.manifest("roles: [{name: backup}]\n" + closed + "  - {role: backup, privileges: [EXECUTE], object: {type: function, schema: pg_catalog, name: pg_read_file(text)}}\n")
	if got := found(o); got != "" {
		t.Errorf("all is declared, and found %s", got)
	}
}

func sorted(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
