package reconcile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/manifest"
)

// What users of other tools suffer from, one test each.

// manifest reads a manifest for the test's database.
func (b *bench) manifest(text string) *access.Desired {
	b.Helper()
	m, err := manifest.Parse("test.yaml", []byte(text), manifest.Options{Database: b.database})
	if err != nil {
		b.Fatal(err)
	}
	return &m.Databases[0]
}

const readers = `
roles: [{name: reader}, {name: writer, login: true}]
schemas: [{name: app}]
grants:
  - {role: reader, privileges: [USAGE], object: {type: schema, name: app}}
  - {role: reader, privileges: [SELECT], object: {type: table, schema: app, name: "*"}}
  - {role: writer, privileges: [SELECT, INSERT], object: {type: table, schema: app, name: "*"}}
`

// A run that changes nothing writes nothing: no tuple, no WAL. Perpetual drift, dead tuples in catalogs, state
// explosion.
func TestNothingToDoWritesNothing(t *testing.T) {
	b := newBench(t, "rec_noop")
	b.sql(`CREATE SCHEMA app; SELECT format('CREATE TABLE app.t%s (id int)', i) FROM generate_series(1, 50) i \gexec`)
	o := b.options(b.manifest(readers))
	b.apply(o)
	const written = `SELECT pg_current_wal_insert_lsn()` // each tuple that is written moves it; statistics come late, on 14
	// Else who reads a page first writes to it: dead tuples are pruned, and where there are checksums (from 18 on, by
	// itself) that a tuple's transaction is over, of which VACUUM can tell only when the log has been written.
	b.sql(`CHECKPOINT; VACUUM`)
	var moved string
	for range 3 { // the background writer logs what transactions run, now and then; a run that writes would do it each time
		before := b.sql(written)
		if r := b.apply(o); len(r.Made) != 0 {
			t.Errorf("made: %v", r.Made)
		}
		after := b.sql(written)
		if after == before {
			return
		}
		moved += "LSN before " + before + "after " + after
	}
	t.Error(moved)
}

// Privileges that a role granted by itself are revoked as that role: a REVOKE by the owner would do nothing, and say
// so to nobody. Who is not the manifest's business keeps what it had.
func TestRevokeOfWhatOthersGranted(t *testing.T) {
	b := newBench(t, "rec_grantor")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int);
CREATE ROLE rec_grantor_lead; CREATE ROLE rec_grantor_x; CREATE ROLE rec_grantor_y`)
	b.apply(withMode(b.options(b.manifest(`
roles: [{name: lead}, {name: x}]
schemas: [{name: app}]
`)), Adopt))
	b.sql(`GRANT SELECT, INSERT ON app.t TO rec_grantor_lead WITH GRANT OPTION; GRANT USAGE ON SCHEMA app TO rec_grantor_lead, rec_grantor_x;
SET ROLE rec_grantor_lead; GRANT SELECT ON app.t TO rec_grantor_x, rec_grantor_y WITH GRANT OPTION;
SET ROLE rec_grantor_x; GRANT SELECT ON app.t TO PUBLIC`)
	o := b.options(b.manifest(`
roles: [{name: lead}, {name: x}]
schemas: [{name: app}]
grants: [{role: lead, privileges: [SELECT], object: {type: table, schema: app, name: t}}]
`))
	b.apply(o)
	b.settled(o)
	got := b.sql(`SELECT (aclexplode(relacl)).grantee::regrole, (aclexplode(relacl)).grantor::regrole, (aclexplode(relacl)).privilege_type,
 (aclexplode(relacl)).is_grantable FROM pg_class WHERE oid = 'app.t'::regclass ORDER BY 1, 3`)
	for _, want := range []string{"rec_grantor_lead|postgres|SELECT|f", "rec_grantor_y|postgres|SELECT|t", "-|postgres|SELECT|f"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	for _, gone := range []string{"_x|", "INSERT|t", "lead|postgres|INSERT", "|rec_grantor"} {
		if strings.Contains(strings.ReplaceAll(got, "postgres|postgres", ""), gone) {
			t.Errorf("%s is in\n%s", gone, got)
		}
	}
}

func withMode(o Options, m Mode) Options { o.Mode = m; return o }

func withUndo(o Options) Options { o.Undo = true; return o }

// Two sessions that change the ACL of one object: the server tells the second that the tuple was concurrently
// updated.
func TestConcurrentGrant(t *testing.T) {
	b := newBench(t, "rec_race")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int); CREATE ROLE rec_race_other`)
	o := b.options(b.manifest(readers))
	b.meets(o, `GRANT UPDATE ON app.t TO rec_race_other`)
}

// A role that has things in several databases, and sessions, goes in one run.
func TestRetirementInAllDatabases(t *testing.T) {
	b := newBench(t, "rec_retire")
	b.CreateDatabase(t, "rec_retire_two")
	b.apply(b.options(b.manifest(`roles: [{name: old, login: true}, {name: heir}]`)))
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.mine (id int); ALTER TABLE app.mine OWNER TO rec_retire_old; GRANT ALL ON SCHEMA app TO rec_retire_old;
ALTER DEFAULT PRIVILEGES FOR ROLE rec_retire_old GRANT SELECT ON TABLES TO PUBLIC`)
	b.Psql(t, "rec_retire_two", `CREATE TABLE hers (id int); ALTER TABLE hers OWNER TO rec_retire_old; CREATE TABLE t (id int); GRANT SELECT ON t TO rec_retire_old`)
	session, err := b.connect("rec_retire_old")(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(t.Context()) }()

	careless := b.options(b.manifest(`{roles: [{name: heir}], retirements: [{role: old}]}`))
	var problems *ProblemsError
	if _, err := Run(t.Context(), careless); !errors.As(err, &problems) || len(problems.Problems) < 3 {
		t.Fatalf("what is in the way: %v", err)
	}
	o := b.options(b.manifest(`
roles: [{name: heir}]
retirements: [{role: old, reassign_owned_to: heir, drop_owned: true, terminate_sessions: true}]
`))
	if p := b.plan(withMode(o, Adopt)); len(p.Changes)+len(p.Problems) > 0 {
		t.Errorf("mode adopt drops: %v", p.Changes)
	}
	b.apply(o)
	b.settled(o)
	if got := b.Psql(t, "rec_retire_two", `SELECT relowner::regrole FROM pg_class WHERE relname = 'hers'`); got != "rec_retire_heir\n" {
		t.Errorf("the owner is %s", got)
	}
	if err := run(t.Context(), session, "SELECT 1"); err == nil {
		t.Error("the session lives")
	}
}

// DROP OWNED leaves what others than the owner have given. A retirement takes it back as they; where they do not get
// at it, nothing is begun.
func TestRetirementOfGifts(t *testing.T) {
	b := newBench(t, "rec_gift")
	b.CreateDatabase(t, "rec_gift_two")
	b.apply(b.options(b.manifest(`roles: [{name: old, login: true}, {name: older}, {name: lead}]`)))
	const give = `CREATE SCHEMA app; CREATE TABLE app.t (id int, note text); CREATE FUNCTION app.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
GRANT USAGE ON SCHEMA app TO rec_gift_lead WITH GRANT OPTION; GRANT SELECT, INSERT ON app.t TO rec_gift_lead WITH GRANT OPTION; GRANT EXECUTE ON FUNCTION app.f TO rec_gift_lead WITH GRANT OPTION;
SET ROLE rec_gift_lead; GRANT USAGE ON SCHEMA app TO rec_gift_old; GRANT SELECT, INSERT ON app.t TO rec_gift_old WITH GRANT OPTION; GRANT SELECT (note) ON app.t TO rec_gift_old;
GRANT EXECUTE ON FUNCTION app.f TO rec_gift_old; SET ROLE rec_gift_old; GRANT SELECT ON app.t TO rec_gift_older, PUBLIC; RESET ROLE`
	b.sql(give + `; GRANT CONNECT ON DATABASE rec_gift, rec_gift_two TO rec_gift_lead WITH GRANT OPTION; SET ROLE rec_gift_lead; GRANT CONNECT ON DATABASE rec_gift, rec_gift_two TO rec_gift_old`)
	b.Psql(t, "rec_gift_two", give+`; REVOKE USAGE ON SCHEMA app FROM rec_gift_lead CASCADE`)
	o := b.options(b.manifest(`
roles: [{name: lead}]
retirements: [{role: old, drop_owned: true}, {role: older, drop_owned: true}]
`))
	before := b.sql(`SELECT relacl FROM pg_class WHERE relname = 't'`)
	var problems *ProblemsError
	if _, err := Run(t.Context(), o); !errors.As(err, &problems) || !strings.Contains(err.Error(), `role "lead", which gave it INSERT, SELECT on table app.t, does not get at that`) {
		t.Errorf("what is in the way: %v", err)
	}
	if got := b.sql(`SELECT rolcanlogin FROM pg_roles WHERE rolname = 'rec_gift_old'`); got != "t\n" {
		t.Errorf("the retirement was begun")
	}
	if after := b.sql(`SELECT relacl FROM pg_class WHERE relname = 't'`); after != before {
		t.Errorf("was %s is %s", before, after)
	}
	b.Psql(t, "rec_gift_two", `GRANT USAGE ON SCHEMA app TO rec_gift_lead`)

	b.sql(`CREATE TABLE app.u (id int); GRANT UPDATE ON app.u TO rec_gift_lead WITH GRANT OPTION; SET ROLE rec_gift_lead; GRANT UPDATE (id) ON app.u TO rec_gift_old;
RESET ROLE; REVOKE GRANT OPTION FOR UPDATE ON app.u FROM rec_gift_lead CASCADE`)
	if _, err := Run(t.Context(), o); !errors.As(err, &problems) || !strings.Contains(err.Error(), `role "lead", which gave it UPDATE on column id of table app.u, may not take it back any more`) {
		t.Errorf("what is in the way: %v", err)
	}
	b.sql(`GRANT UPDATE (id) ON app.u TO rec_gift_lead WITH GRANT OPTION`)
	o = b.options(b.manifest(`
roles: [{name: lead, preserve_undeclared_grants: true}]
retirements: [{role: old, drop_owned: true}, {role: older, drop_owned: true}]
`))
	b.apply(o)
	b.settled(o)
	if got := b.sql(`SELECT count(*) FROM pg_roles WHERE rolname IN ('rec_gift_old', 'rec_gift_older')`); got != "0\n" {
		t.Errorf("%s of them are there", got)
	}
}

// An administrator who is no superuser, with CREATEROLE and the marker's admin option, can do it all.
func TestWithoutSuperuser(t *testing.T) {
	b := newBench(t, "rec_plain")
	b.sql(`CREATE ROLE rec_plainadmin LOGIN CREATEROLE; CREATE SCHEMA app AUTHORIZATION rec_plainadmin; ALTER DATABASE rec_plain OWNER TO rec_plainadmin`)
	o := b.options(b.manifest(readers + `
  - {role: writer, privileges: [CONNECT], object: {type: database, name: rec_plain}}
  - {role: PUBLIC, ensure: absent, privileges: [CONNECT], object: {type: database, name: rec_plain}}
memberships: [{role: reader, members: [{name: writer}]}]
`))
	o.Connect = b.connect("rec_plainadmin")
	b.apply(o)
	b.settled(o)
	b.sql(`CREATE TABLE app.theirs (id int)`) // of the superuser
	_, err := Run(t.Context(), o)
	var problems *ProblemsError
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), `may not grant on objects of "postgres": table app.theirs`) {
		t.Errorf("who may not grant is told before the first change: %v", err)
	}
}

// Roles that other tools or the platform make are not touched, but what they are granted is.
func TestExternalRoles(t *testing.T) {
	b := newBench(t, "rec_ext")
	b.sql(`CREATE ROLE "rec_ext@iam" LOGIN CONNECTION LIMIT 3; COMMENT ON ROLE "rec_ext@iam" IS 'theirs';
CREATE SCHEMA app; CREATE TABLE app.t (id int); GRANT UPDATE ON app.t TO "rec_ext@iam"`)
	text := `
roles: [{name: "rec_ext@iam", external: true, preserve_undeclared_grants: KEEP}]
schemas: [{name: app}]
grants: [{role: "rec_ext@iam", privileges: [SELECT], object: {type: table, schema: app, name: t}}]
`
	for _, keep := range []string{"true", "false"} {
		o := b.options(b.manifest(strings.Replace(text, "KEEP", keep, 1)))
		b.apply(o)
		b.settled(o)
		may := b.sql(`SELECT has_table_privilege('rec_ext@iam', 'app.t', 'SELECT'), has_table_privilege('rec_ext@iam', 'app.t', 'UPDATE')`)
		if want := map[string]string{"true": "t|t\n", "false": "t|f\n"}[keep]; may != want {
			t.Errorf("keeping is %s: %s", keep, may)
		}
	}
	if got := b.sql(`SELECT rolcanlogin, rolconnlimit, shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'rec_ext@iam'`); got != "t|3|theirs\n" {
		t.Errorf("the role itself: %s", got)
	}
}

// A new owner of a schema, and an owner who lost its own rights.
func TestSchemaOwner(t *testing.T) {
	b := newBench(t, "rec_owner")
	b.sql(`CREATE SCHEMA app`)
	text := `
roles: [{name: a}, {name: b}]
schemas: [{name: app, owner: OWNER}]
grants: [{role: a, privileges: [USAGE], object: {type: schema, name: app}}]
`
	for _, owner := range []string{"a", "b", "a"} {
		o := b.options(b.manifest(strings.Replace(text, "OWNER", owner, 1)))
		b.apply(o)
		b.settled(o)
		b.sql(`REVOKE ALL ON SCHEMA app FROM rec_owner_` + owner)
		if p := b.plan(o); len(p.Changes) == 0 {
			t.Errorf("the owner's rights were revoked, and stay so")
		}
		if p := b.plan(withMode(o, Additive)); len(p.Changes) == 0 {
			t.Errorf("giving them back only adds")
		}
		b.apply(o)
		b.settled(o)
	}
}

// Nothing is taken away or altered in mode additive.
func TestAdditive(t *testing.T) {
	b := newBench(t, "rec_add")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int)`)
	b.apply(b.options(b.manifest(readers)))
	b.sql(`GRANT DELETE ON app.t TO rec_add_reader; ALTER ROLE rec_add_reader LOGIN; REVOKE SELECT ON app.t FROM rec_add_writer;
GRANT rec_add_reader TO rec_add_writer; COMMENT ON ROLE rec_add_reader IS 'x'; ALTER ROLE rec_add_writer PASSWORD 'theirs'`)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := withMode(b.options(b.manifest(readers)), Additive)
	o.Desired.Roles[1].Password = &access.Password{FromFile: file}
	r := b.apply(o)
	if len(r.Plan.Changes) != 1 || r.Plan.Changes[0].Step != Grant {
		t.Errorf("%v", r.Plan.Changes)
	}
}

// Names that are too long, another database's, or the cluster's are told of before the first change.
func TestNamesThatCannotBe(t *testing.T) {
	b := newBench(t, "rec_name")
	b.sql(`CREATE ROLE rec_name_taken; CREATE ROLE rec_namesake`)
	d := &access.Desired{Roles: []access.Role{role("taken"), role(strings.Repeat("x", 60)), role("rec_namesake")}}
	_, err := Run(t.Context(), b.options(d))
	var problems *ProblemsError
	if !errors.As(err, &problems) || len(problems.Problems) != 3 {
		t.Fatalf("%v", err)
	}
}

// Objects, columns and roles that are not there are told of, all at once.
func TestWhatIsNotThere(t *testing.T) {
	b := newBench(t, "rec_miss")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int)`)
	_, err := Run(t.Context(), b.options(b.manifest(`
roles: [{name: a}, {name: rec_miss_ghost_of_the_cluster, external: true}, {name: clerk, schema: sap}]
grants:
  - {role: sap.clerk, privileges: [USAGE], object: {type: schema, name: app}}
  - {role: a, privileges: [SELECT], object: {type: table, schema: app, name: nosuch}}
  - {role: a, privileges: [SELECT], object: {type: table, schema: app, name: t, columns: [id, nosuch]}}
  - {role: a, privileges: [EXECUTE], object: {type: function, schema: app, name: "f(int)"}}
  - {role: a, privileges: [USAGE], object: {type: schema, name: nosuch}}
  - {role: rec_miss_ghost_of_the_cluster, privileges: [USAGE], object: {type: schema, name: app}}
  - {role: a, privileges: [SELECT], object: {type: table, schema: apq, name: "*"}}
  - {role: a, privileges: [SELECT], object: {type: table, schema: apq, name: t}}
  - {role: a, privileges: [SELECT], object: {type: view, schema: appp, name_pattern: "v%"}}
  - {role: PUBLIC, ensure: absent, privileges: [EXECUTE], object: {type: function, schema: ap, name: "*"}}
default_privileges: [{owner: a, schema: spp, grant: [{role: a, privileges: [SELECT], on_type: table}]}]
`)))
	var problems *ProblemsError
	if !errors.As(err, &problems) || len(problems.Problems) != 10 {
		t.Fatalf("%v", err)
	}
	if n := b.sql(`SELECT count(*) FROM pg_roles WHERE rolname LIKE 'rec\_miss%'`); n != "0\n" {
		t.Errorf("something was changed")
	}
}

// What a run did, its undo takes back.
func TestUndo(t *testing.T) {
	b := newBench(t, "rec_undo")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int); CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	before := b.manifest(readers)
	b.apply(b.options(before))
	r := b.apply(withUndo(b.options(b.manifest(`
roles: [{name: reader, login: true, comment: new, config: {work_mem: 1MB}}, {name: writer}, {name: third, comment: x}]
schemas: [{name: app, owner: third}, {name: more}]
grants:
  - {role: third, privileges: [SELECT], object: {type: table, schema: app, name: t, columns: [id]}}
  - {role: PUBLIC, ensure: absent, privileges: [EXECUTE], object: {type: function, schema: app, name: "*"}}
default_privileges: [{owner: third, schema: app, grant: [{role: reader, privileges: [SELECT], on_type: table}]}]
memberships: [{role: reader, members: [{name: writer, admin: true}]}]
`))))
	b.sql("BEGIN;" + strings.Join(r.Undo, ";\n") + ";COMMIT")
	b.settled(b.options(before))
	if got := b.sql(`SELECT has_function_privilege('rec_undo_reader', 'app.f()', 'EXECUTE'), count(*) FROM pg_roles WHERE rolname = 'rec_undo_third'`); got != "t|0\n" {
		t.Errorf("%s", got)
	}
}

// Before PostgreSQL 16 a membership has no options of its own: to want one is told, not taken for done.
func TestMembershipOptions(t *testing.T) {
	b := newBench(t, "rec_options")
	o := b.options(b.manifest(`
roles: [{name: team}, {name: a}, {name: b, inherit: false}, {name: c}]
memberships: [{role: team, members: [{name: a, inherit: false}, {name: b, inherit: false}, {name: c, set: false}]}]
`))
	plan := b.plan(o)
	if b.major() >= 16 {
		b.apply(o)
		b.settled(o)
		return
	}
	if len(plan.Problems) != 2 || !strings.Contains(plan.Problems[0].Message, `"a" without inherit`) || !strings.Contains(plan.Problems[1].Message, `"c" without set`) {
		t.Errorf("%v", plan.Problems)
	}
	o.Partial = true // nor is more given than is said where the rest is done
	if _, err := Run(t.Context(), o); err == nil {
		t.Error("nothing is told")
	}
	if got := b.sql(`SELECT member::regrole FROM pg_auth_members WHERE roleid = 'rec_options_team'::regrole`); got != "rec_options_b\n" {
		t.Errorf("members: %s", got)
	}
}

// A privilege that the server does not have yet is told of where it is asked for by name, and is not missed where ALL
// is.
func TestMaintain(t *testing.T) {
	b := newBench(t, "rec_maintain")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int)`)
	o := b.options(b.manifest(`
roles: [{name: a}, {name: b}]
schemas: [{name: app}]
grants:
  - {role: a, privileges: [MAINTAIN], object: {type: table, schema: app, name: t}}
  - {role: b, privileges: [ALL], object: {type: table, schema: app, name: t}}
default_privileges:
  - owner: a
    schema: app
    grant: [{role: a, privileges: [MAINTAIN], on_type: table}, {role: b, privileges: [ALL], on_type: table}]
`))
	if b.major() >= 17 {
		b.apply(o)
		b.settled(o)
		return
	}
	plan := b.plan(o)
	if len(plan.Problems) != 2 || plan.Problems[0].Place.Line != 5 || plan.Problems[1].Place.Line != 10 {
		t.Errorf("%v", plan.Problems)
	}
}

// Default privileges that name no owner are for what the schema's owner makes: its next table is not closed to those
// who shall read it.
func TestDefaultsOfSchemaOwner(t *testing.T) {
	b := newBench(t, "rec_makes")
	o := b.options(b.manifest(`
roles: [{name: owner}, {name: reader}]
schemas: [{name: shop, owner: owner}]
default_privileges: [{schema: shop, grant: [{role: reader, privileges: [SELECT], on_type: table}]}]
`))
	b.apply(o)
	b.settled(o)
	if got := b.sql(`SET ROLE rec_makes_owner; CREATE TABLE shop.later (); SELECT has_table_privilege('rec_makes_reader', 'shop.later', 'SELECT')`); got != "t\n" {
		t.Errorf("the reader may read: %s", got)
	}
}
