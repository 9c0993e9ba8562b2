package reconcile

import (
	"strings"
	"testing"
)

// Everything that no manifest speaks of is found, with what to do about it.
func TestCheck(t *testing.T) {
	b := newBench(t, "rec_check")
	b.sql(`CREATE SCHEMA app; CREATE SCHEMA old; CREATE TABLE app.t (id int); CREATE TABLE old.a (id int); CREATE TABLE old.b (id int)`)
	o := b.options(b.manifest(readers))
	b.apply(o)
	_, findings, err := Check(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.sql(`CREATE ROLE rec_check_stray IN ROLE pgscope_db_rec_check; GRANT SELECT ON app.t TO rec_check_stray;
GRANT SELECT ON ALL TABLES IN SCHEMA old TO rec_check_reader; GRANT CREATE ON SCHEMA app TO PUBLIC; GRANT INSERT ON app.t TO rec_check_reader`)
	report, more, err := Check(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Plan.Changes) != 1 {
		t.Errorf("what differs: %v", report.Plan.Changes)
	}
	text := ""
	for _, f := range more {
		if f.Hint == "" {
			t.Errorf("no hint: %v", f)
		}
		text += f.String() + "\n"
	}
	for _, want := range []string{
		"role stray: belongs to the database, but is not declared",
		"role stray: has SELECT on table app.t, but is not declared",
		"role reader: has SELECT on 2 of kind table in schema old, as table old.a, of which the manifest does not speak",
		"PUBLIC: everyone has CREATE on schema app",
		"PUBLIC: everyone has TEMPORARY, CONNECT on database rec_check",
		"role postgres: has made 1 of kind table in schema app",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not found: %s", want)
		}
	}
	if len(more) != len(findings)+4 {
		t.Errorf("found:\n%s", text)
	}
}
