package reconcile

import (
	"strings"
	"testing"
)

const (
	aLead = "roles: [{name: lead}, {name: x}]\nschemas: [{name: app}]\n"
	given = `SELECT coalesce(nullif(x.grantee, 0)::regrole::text, 'PUBLIC'), x.grantor::regrole, x.privilege_type, x.is_grantable
FROM pg_class, aclexplode(relacl) x WHERE oid = 'app.t'::regclass AND x.grantee <> relowner ORDER BY 1, 3`
)

// A grantor that has lost USAGE of the schema has it for as long as it takes back what it gave.
func TestGrantorOutOfTheSchema(t *testing.T) {
	b := newBench(t, "rec_out")
	b.apply(b.options(b.manifest(aLead)))
	b.sql(`CREATE TABLE app.t (id int); GRANT USAGE ON SCHEMA app TO rec_out_lead; GRANT SELECT ON app.t TO rec_out_lead WITH GRANT OPTION;
SET ROLE rec_out_lead; GRANT SELECT ON app.t TO rec_out_x; RESET ROLE; REVOKE USAGE ON SCHEMA app FROM rec_out_lead`)
	o := b.options(b.manifest(aLead))
	r := b.apply(withUndo(o))
	b.settled(o)
	b.undo("postgres", r)
	if got := b.sql(given + `; SELECT has_schema_privilege('rec_out_lead', 'app', 'USAGE')`); got != "rec_out_lead|postgres|SELECT|t\nrec_out_x|rec_out_lead|SELECT|f\nf\n" {
		t.Errorf("undone: %s", got)
	}
}

// Up to PostgreSQL 15 a role that shall not inherit any more does not get at what a group of its does, before anything is
// taken back.
func TestGrantorThatShallNotInherit(t *testing.T) {
	b := newBench(t, "rec_inherit")
	manifest := func(inherits string) string {
		return strings.ReplaceAll(`roles: [{name: lead, inherit: INHERITS}, {name: x}, {name: gate}]
schemas: [{name: app}]
memberships: [{role: gate, members: [{name: lead, inherit: INHERITS}]}]
grants: [{role: gate, privileges: [USAGE], object: {type: schema, name: app}}]
`, "INHERITS", inherits)
	}
	b.apply(b.options(b.manifest(manifest("true"))))
	b.sql(`CREATE TABLE app.t (id int); GRANT SELECT ON app.t TO rec_inherit_lead WITH GRANT OPTION;
SET ROLE rec_inherit_lead; GRANT SELECT ON app.t TO rec_inherit_x; RESET ROLE`)
	o := b.options(b.manifest(manifest("false")))
	b.apply(o)
	b.settled(o)
	if got := b.sql(given); got != "" {
		t.Errorf("left: %s", got)
	}
}

// Who was granted to, and owns the table now, keeps what it may do when the grantor loses the option.
func TestGranteeThatOwns(t *testing.T) {
	b := newBench(t, "rec_owned")
	b.apply(b.options(b.manifest(aLead)))
	b.sql(`CREATE TABLE app.t (id int); GRANT USAGE ON SCHEMA app TO rec_owned_lead; GRANT SELECT ON app.t TO rec_owned_lead WITH GRANT OPTION;
SET ROLE rec_owned_lead; GRANT SELECT ON app.t TO rec_owned_x; RESET ROLE; ALTER TABLE app.t OWNER TO rec_owned_x`)
	o := b.options(b.manifest(aLead))
	b.apply(o)
	b.settled(o)
	if got := b.sql(`SELECT has_table_privilege('rec_owned_x', 'app.t', 'SELECT'), has_table_privilege('rec_owned_lead', 'app.t', 'SELECT')`); got != "t|f\n" {
		t.Error(got)
	}
}

// A schema that an administrator has made and filled becomes another's: its tables stay within the administrator's reach.
func TestSchemaGivenAway(t *testing.T) {
	b := newBench(t, "rec_away")
	admin := b.administrator()
	b.sql(`SET ROLE ` + admin + `; CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO ` + admin + ` WITH GRANT OPTION; CREATE TABLE app.t (id int); CREATE TABLE app.u (id int)`)
	o := b.options(b.manifest(`
roles: [{name: owner}, {name: reader}]
schemas: [{name: app, owner: owner}]
grants:
  - {role: reader, privileges: [USAGE], object: {type: schema, name: app}}
  - {role: reader, privileges: [SELECT], object: {type: table, schema: app, name: "*"}}
`))
	o.Connect = b.connect(admin)
	b.apply(o)
	b.settled(o)
	b.sql(`SET ROLE ` + admin + `; SET ROLE postgres; GRANT INSERT ON app.t TO rec_away_reader`)
	b.apply(o)
	b.settled(o)
	if got := b.edges(); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// An administrator with a grant option of its own takes what the owner gave all the same.
func TestOptionOfTheExecutor(t *testing.T) {
	b := newBench(t, "rec_opt")
	admin := b.administrator()
	o := b.options(b.manifest(aLead))
	o.Connect = b.connect(admin)
	b.apply(o)
	b.sql(`CREATE TABLE app.t (id int); ALTER TABLE app.t OWNER TO rec_opt_lead; GRANT SELECT ON app.t TO rec_opt_x; GRANT SELECT ON app.t TO ` + admin + ` WITH GRANT OPTION`)
	b.apply(o)
	b.settled(o)
}

// What a role has since it made another, and as its member too, is exported as one: nothing takes it away then.
func TestExportOfCreator(t *testing.T) {
	b := newBench(t, "rec_maker")
	if b.major() < 16 {
		return // who makes a role is no member of it
	}
	b.apply(b.options(b.manifest(`roles: [{name: dba, createrole: true}]`)))
	b.sql(`GRANT pgscope_db_rec_maker TO rec_maker_dba WITH ADMIN OPTION; SET ROLE rec_maker_dba; CREATE ROLE rec_maker_team IN ROLE pgscope_db_rec_maker; GRANT rec_maker_team TO rec_maker_dba`)
	b.settled(b.options(b.exported(Authoritative, false)))
}
