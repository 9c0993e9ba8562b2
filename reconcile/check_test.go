package reconcile

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/manifest"
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
GRANT SELECT ON ALL TABLES IN SCHEMA old TO rec_check_reader; GRANT CREATE ON SCHEMA app TO PUBLIC; GRANT INSERT ON app.t TO rec_check_reader;
GRANT SELECT (id) ON app.t TO PUBLIC, rec_check_stray; GRANT UPDATE (id) ON old.a, old.b TO rec_check_writer;
CREATE ROLE rec_check2; GRANT pg_write_server_files, rec_check_stray, rec_check2 TO rec_check_writer; GRANT pg_monitor TO rec_check2;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC, rec_check2; ALTER DEFAULT PRIVILEGES IN SCHEMA old GRANT SELECT ON TABLES TO rec_check_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE rec_check2 GRANT EXECUTE ON FUNCTIONS TO rec_check_stray;
CREATE ROLE rec_checkhand IN ROLE pgscope_db_rec_check; CREATE ROLE rec_checkdba; GRANT pgscope_db_rec_check TO rec_checkdba, rec_check_stray WITH ADMIN OPTION;
CREATE ROLE pgscope_db_rec_check_other; CREATE ROLE rec_check_other_api IN ROLE pgscope_db_rec_check_other; GRANT rec_check_other_api TO rec_check_writer;
GRANT SELECT ON app.t TO rec_check_other_api, rec_check2; GRANT CREATE ON TABLESPACE pg_default TO rec_check_other_api;
GRANT pgscope_db_rec_check_other TO rec_check2; GRANT pgscope_db_rec_check_other TO rec_check2 WITH ADMIN OPTION`)
	t.Cleanup(func() { b.sql(`REVOKE ALL ON TABLESPACE pg_default FROM rec_check_other_api`) })
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
		"PUBLIC: everyone has SELECT on column id of table app.t",
		"role stray: has SELECT on column id of table app.t, but is not declared",
		"role writer: has UPDATE on 2 columns of kind table in schema old, as column id of table old.a, of which the manifest does not speak",
		"role writer: is a member of role pg_write_server_files, of which the manifest does not speak",
		"role writer: is a member of role stray, of which the manifest does not speak",
		"role writer: is a member of role rec_check2, of which the manifest does not speak",
		"PUBLIC: everyone has SELECT on every new table of postgres in schema app",
		"role reader: has SELECT on every new table of postgres in schema old, of which the manifest does not speak",
		"role stray: has EXECUTE on every new function of rec_check2 in any schema, but is not declared",
		"role rec_check_other_api: has SELECT on table app.t, and belongs to another database (revoke it)",
		"role writer: is a member of role rec_check_other_api, of which the manifest does not speak (revoke it: that role belongs to another database)",
		"role rec_checkhand: is a member of pgscope_db_rec_check, but is no role of the database, nor does it administer them",
		"role rec_check_stray: administers the roles of pgscope_db_rec_check, and is taken for one of them by its name",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not found: %s", want)
		}
	}
	if len(more) != len(findings)+17 {
		t.Errorf("found:\n%s", text)
	}
}

// What belongs to no database is checked for itself: what databases have is not its affair, nor is what the cluster's
// part says theirs.
func TestCheckOfCluster(t *testing.T) {
	b := newBench(t, "rec_estate")
	m, err := manifest.Parse("estate.yaml", []byte(`
roles: [{name: rec_estate_dba}]
grants: [{role: rec_estate_dba, privileges: [CREATE], object: {type: tablespace, name: pg_default}}]
databases:
  - name: rec_estate
    roles: [{name: api}]
    schemas: [{name: app, owner: api}]
    grants:
      - {role: api, privileges: [CREATE], object: {type: tablespace, name: pg_default}}
      - {role: PUBLIC, ensure: absent, privileges: [ALL], object: {type: database, name: rec_estate}}
      - {role: PUBLIC, ensure: absent, privileges: [ALL], object: {type: schema, name: public}}
`), manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	parts := []Options{b.options(&m.Cluster), b.options(&m.Databases[0])}
	check := func() (found []string) {
		t.Helper()
		for _, o := range parts {
			report, findings, err := Check(t.Context(), o)
			if err != nil || len(report.Plan.Changes) > 0 {
				t.Fatal(report.Plan.Changes, err)
			}
			for _, f := range findings {
				found = append(found, f.Subject+": "+f.Message)
			}
		}
		return found
	}
	for _, o := range parts {
		b.apply(o)
	}
	t.Cleanup(func() { b.sql(`REVOKE ALL ON TABLESPACE pg_default FROM rec_estate_dba, rec_estate_api, PUBLIC`) })
	if found := check(); len(found) > 0 {
		t.Errorf("all is declared, and found %q", found)
	}
	b.sql(`CREATE TABLE app.t (id int); GRANT SELECT ON app.t TO PUBLIC; GRANT CREATE ON TABLESPACE pg_default TO PUBLIC`)
	if found := check(); !slices.Equal(found, []string{
		"PUBLIC: everyone has CREATE on tablespace pg_default", "PUBLIC: everyone has SELECT on table app.t",
	}) {
		t.Errorf("found %q", found)
	}
}
