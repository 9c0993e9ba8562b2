package reconcile

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/provision"
)

// A schema that the plan makes has from the start what its owner's default privileges say of schemas.
func TestSchemaWithDefaults(t *testing.T) {
	b := newBench(t, "rec_sdef")
	const roles = "roles: [{name: owner}, {name: reader}]\n"
	b.apply(b.options(b.manifest(roles)))
	b.sql(`ALTER DEFAULT PRIVILEGES FOR ROLE rec_sdef_owner GRANT USAGE ON SCHEMAS TO rec_sdef_reader`)
	o := b.options(b.manifest(roles + "schemas: [{name: app, owner: owner}]\n"))
	b.apply(o)
	b.settled(o)
}

// A schema's role owns it, both made by one run.
func TestSchemaOwnedByItsRole(t *testing.T) {
	b := newBench(t, "rec_sown")
	admin := b.administrator()
	for _, user := range []string{admin, "postgres"} {
		o := b.options(b.manifest("roles: [{name: owner, schema: app" + user + "}, {name: reader}]\nschemas: [{name: app" + user + ", owner: app" + user + ".owner}]\n"))
		o.Connect = b.connect(user)
		b.apply(o)
		b.settled(o)
	}
}

// What neither REASSIGN OWNED nor DROP OWNED takes from a role that shall go is told before the first change.
func TestRetirementInTheWay(t *testing.T) {
	b := newBench(t, "rec_way")
	for _, c := range []struct{ name, state, how, problem string }{
		{"defaults", `ALTER DEFAULT PRIVILEGES FOR ROLE rec_way_old REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC`, "reassign_owned_to: heir", "set drop_owned"},
		{"mapping", `CREATE FOREIGN DATA WRAPPER rec_way_w; CREATE SERVER rec_way_s FOREIGN DATA WRAPPER rec_way_w; CREATE USER MAPPING FOR rec_way_old SERVER rec_way_s`, "reassign_owned_to: heir", "set drop_owned"},
		{"database", `CREATE DATABASE rec_way_theirs OWNER rec_way_old`, "drop_owned: true", "set reassign_owned_to"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{t, b.Cluster, b.database}
			b.apply(b.options(b.manifest(`roles: [{name: old, login: true}, {name: heir}]`)))
			b.sql(c.state)
			_, err := Run(t.Context(), b.options(b.manifest("roles: [{name: heir}]\nretirements: [{role: old, "+c.how+"}]")))
			var problems *ProblemsError
			if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("told: %v", err)
			}
			if got := b.sql(`SELECT rolcanlogin FROM pg_roles WHERE rolname = 'rec_way_old'`); got != "t\n" {
				t.Errorf("begun: %s", got)
			}
			b.apply(b.options(b.manifest("roles: [{name: heir}]\nretirements: [{role: old, reassign_owned_to: heir, drop_owned: true}]")))
			b.sql(`DROP DATABASE IF EXISTS rec_way_theirs`)
		})
	}
}

// An administrator that is no superuser ends the sessions of a role that goes.
func TestSessionsEndedByAdministrator(t *testing.T) {
	b := newBench(t, "rec_end")
	admin := b.administrator()
	o := b.options(b.manifest(`roles: [{name: old, login: true}]`))
	o.Connect = b.connect(admin)
	b.apply(o)
	session, err := b.connect("rec_end_old")(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(t.Context()) }()
	o.Desired = b.manifest(`retirements: [{role: old, terminate_sessions: true}]`)
	b.apply(o)
	b.settled(o)
}

// What a run did beside retiring a role is taken back, and the role is there again.
func TestUndoOfRetirement(t *testing.T) {
	b := newBench(t, "rec_gone")
	before := b.options(b.manifest(`
roles: [{name: old, login: true, comment: theirs, config: {work_mem: 1MB}, connection_limit: 3}, {name: team}, {name: member}]
memberships: [{role: team, members: [{name: old, admin: true}]}, {role: old, members: [{name: member}]}]
`))
	b.apply(before)
	r := b.apply(withUndo(b.options(b.manifest(`
roles: [{name: team}, {name: member}, {name: new}]
retirements: [{role: old, drop_owned: true}]
`))))
	b.undo("postgres", r)
	b.settled(before)
}

// Column privileges that were given by virtue of a grant option on the table go before it.
func TestColumnsBelowATable(t *testing.T) {
	b := newBench(t, "rec_below")
	b.apply(b.options(b.manifest(`roles: [{name: lead}, {name: x}]`)))
	b.sql(`CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO rec_below_lead, rec_below_x; CREATE ROLE rec_below_other; CREATE TABLE app.t (id int, a int);
GRANT SELECT, UPDATE ON app.t TO rec_below_lead WITH GRANT OPTION; SET ROLE rec_below_lead; GRANT SELECT (id), UPDATE (a) ON app.t TO rec_below_x; GRANT SELECT (id) ON app.t TO rec_below_other`)
	o := b.options(b.manifest(`
roles: [{name: lead}, {name: x}]
schemas: [{name: app}]
grants: [{role: x, privileges: [UPDATE], object: {type: table, schema: app, name: t, columns: [a]}}]
`))
	r := b.apply(withUndo(o))
	b.settled(o)
	got := b.sql(`SELECT attname, attacl FROM pg_attribute WHERE attrelid = 'app.t'::regclass AND attacl IS NOT NULL ORDER BY 1`)
	if want := "a|{rec_below_x=w/postgres}\nid|{rec_below_other=r/postgres}\n"; got != want {
		t.Errorf("%s", got)
	}
	b.undo("postgres", r)
	if got := b.sql(`SELECT has_column_privilege('rec_below_x', 'app.t', 'id', 'SELECT'), has_table_privilege('rec_below_lead', 'app.t', 'UPDATE WITH GRANT OPTION')`); got != "t|t\n" {
		t.Errorf("undone: %s", got)
	}
}

// An undo takes back what a run did, whoever runs it.
func TestUndoByAnother(t *testing.T) {
	b := newBench(t, "rec_by")
	admin := b.administrator()
	o := b.options(b.manifest(`roles: [{name: owner}, {name: team}, {name: x}]`))
	o.Connect = b.connect(admin)
	b.apply(o)
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int); GRANT USAGE ON SCHEMA app TO ` + admin + ` WITH GRANT OPTION; GRANT SELECT ON app.t TO ` + admin + ` WITH GRANT OPTION;
CREATE SCHEMA theirs AUTHORIZATION rec_by_owner`)
	look := func() string {
		return b.edges() + b.sql(`SELECT roleid::regrole::text FROM pg_auth_members WHERE member = 'postgres'::regrole
UNION ALL SELECT relname FROM pg_class, aclexplode(relacl) x WHERE x.grantee = 'rec_by_x'::regrole
UNION ALL SELECT nspname FROM pg_namespace, aclexplode(nspacl) x WHERE x.grantee = 'rec_by_x'::regrole`)
	}
	before := look()
	o.Desired = b.manifest(`
roles: [{name: owner}, {name: team}, {name: x}]
schemas: [{name: theirs, owner: owner}]
memberships: [{role: team, members: [{name: x}]}]
grants:
  - {role: x, privileges: [SELECT], object: {type: table, schema: app, name: t}}
  - {role: x, privileges: [USAGE], object: {type: schema, name: app}}
  - {role: x, privileges: [USAGE], object: {type: schema, name: theirs}}
`)
	r := b.apply(withUndo(o))
	b.undo("postgres", r)
	if got := look(); got != before {
		t.Errorf("undone: %s\nwas: %s\n%s", got, before, strings.Join(r.Undo, ";\n"))
	}
}

// Nor does it matter who adopted the roles.
func TestUndoOfAdoption(t *testing.T) {
	b := newBench(t, "rec_unadopt")
	admin := b.administrator()
	b.sql(`SET ROLE ` + admin + `; CREATE ROLE rec_unadopt_reader; CREATE ROLE rec_unadopt_api LOGIN IN ROLE rec_unadopt_reader`)
	o := withUndo(withMode(b.options(b.manifest(`
roles: [{name: reader}, {name: api, login: true}]
memberships: [{role: reader, members: [{name: api}]}]
`)), Adopt))
	o.Connect = b.connect(admin)
	conn, err := o.Connect(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = provision.Enrol(t.Context(), conn, "")
	if err := errors.Join(err, conn.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	r := b.apply(o)
	if r.Proof == nil {
		t.Errorf("nothing is proven: %v", r.Made)
	}
	b.undo("postgres", r)
	if got := b.sql(`SELECT member::regrole FROM pg_auth_members WHERE roleid::regrole::text = 'pgscope_db_rec_unadopt' AND NOT admin_option`); got != "" {
		t.Errorf("not undone: %s\n%s", got, strings.Join(r.Undo, ";\n"))
	}
}

// From PostgreSQL 18 on large objects have default privileges, in no schema.
func TestDefaultsOfLargeObjects(t *testing.T) {
	b := newBench(t, "rec_lo")
	const roles = "roles: [{name: a}, {name: b}]\n"
	o := b.options(b.manifest(roles + "default_privileges: [{owner: a, scope: {type: global}, grant: [{role: b, privileges: [SELECT], on_type: large_object}]}]"))
	if b.major() < 18 {
		if p := b.plan(o).Problems; len(p) != 1 || !strings.Contains(p[0].Message, "a large_object need PostgreSQL 18") {
			t.Errorf("%v", p)
		}
		return
	}
	r := b.apply(withUndo(o))
	b.settled(o)
	if got := b.sql(`SET ROLE rec_lo_a; SELECT lomacl FROM pg_largeobject_metadata WHERE oid = lo_create(0)`); got != "" && !strings.Contains(got, "rec_lo_b=r/rec_lo_a") {
		t.Errorf("%s", got)
	}
	b.sql(`ALTER DEFAULT PRIVILEGES FOR ROLE rec_lo_a GRANT UPDATE ON LARGE OBJECTS TO rec_lo_b, PUBLIC`)
	b.settled(b.options(b.exported(Authoritative, false)))
	report, findings, err := Check(t.Context(), o)
	if err != nil || len(report.Plan.Changes) != 1 || !slices.ContainsFunc(findings, func(f Finding) bool {
		return f.Message == "everyone has UPDATE on every new large_object of a in any schema"
	}) {
		t.Errorf("%v %v %v", report.Plan.Changes, findings, err)
	}
	b.apply(o)
	b.settled(o)
	b.sql(`ALTER DEFAULT PRIVILEGES FOR ROLE rec_lo_a REVOKE ALL ON LARGE OBJECTS FROM PUBLIC`)
	b.undo("postgres", r)
}

// What another session drops while this one is at it is looked for again.
func TestDroppedMeanwhile(t *testing.T) {
	b := newBench(t, "rec_drop")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int); CREATE TABLE app.u (id int)`)
	o := b.options(b.manifest(`
roles: [{name: reader}]
grants: [{role: reader, privileges: [SELECT], object: {type: table, schema: app, name_pattern: "_"}}]
`))
	b.meets(o, `DROP TABLE app.t`)
}

// A password that has never been valid is not one that always is.
func TestNeverValid(t *testing.T) {
	b := newBench(t, "rec_never")
	o := b.options(b.manifest(`roles: [{name: a}]`))
	b.apply(o)
	b.sql(`ALTER ROLE rec_never_a VALID UNTIL '-infinity'`)
	b.settled(b.options(b.exported(Authoritative, false)))
	b.apply(o)
	if got := b.sql(`SELECT rolvaliduntil FROM pg_roles WHERE rolname = 'rec_never_a'`); got != "infinity\n" {
		t.Error(got)
	}
}

// The server takes from a table's columns what it takes from the table, but not what was granted on them by virtue of
// it. Who gave that may not take it back any more.
func TestDanglingColumnGrant(t *testing.T) {
	b := newBench(t, "rec_dangle")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int, note text); CREATE ROLE rec_dangle_lead; CREATE ROLE rec_dangle_y`)
	b.apply(b.options(b.manifest(`roles: [{name: x}]`)))
	b.sql(`GRANT USAGE ON SCHEMA app TO rec_dangle_lead; GRANT SELECT, UPDATE ON app.t TO rec_dangle_lead WITH GRANT OPTION;
SET ROLE rec_dangle_lead; GRANT SELECT (id), UPDATE (id) ON app.t TO rec_dangle_x; GRANT SELECT (id) ON app.t TO rec_dangle_y;
RESET ROLE; REVOKE ALL ON app.t FROM rec_dangle_lead; GRANT SELECT (id) ON app.t TO rec_dangle_lead`)
	o := b.options(b.manifest(`
roles: [{name: x}]
schemas: [{name: app}]
grants: [{role: x, privileges: [SELECT], object: {type: table, schema: app, name: t}}]
`))
	b.apply(o)
	b.settled(o)
	const want = "rec_dangle_lead|postgres|SELECT|f\nrec_dangle_y|postgres|SELECT|f\n" // and y keeps what it had
	if got := b.sql(`SELECT a.grantee::regrole, a.grantor::regrole, a.privilege_type, a.is_grantable
FROM pg_attribute, aclexplode(attacl) a WHERE attrelid = 'app.t'::regclass ORDER BY 1::text`); got != want {
		t.Errorf("%s", got)
	}
}

// The server keeps the names of parameters in lower case.
func TestParameterInAnyCase(t *testing.T) {
	b := newBench(t, "rec_param")
	if b.major() < 15 {
		return // parameters have no privileges
	}
	o := b.options(b.manifest(`
roles: [{name: a}]
grants: [{role: a, privileges: [SET], object: {type: parameter, name: DateStyle}}, {role: a, privileges: [SET], object: {type: parameter, name: My.Setting}}]
`))
	b.apply(o)
	b.settled(o)
}

// The input arguments of one procedure may be all arguments of another.
func TestProceduresOfOneName(t *testing.T) {
	b := newBench(t, "rec_procs")
	b.sql(`CREATE SCHEMA app; CREATE PROCEDURE app.p(a int, OUT b int) LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE app.p(a int, b int) LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION app.other() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE app.p(float8 ORDER BY float8) (sfunc = ordered_set_transition, stype = internal, finalfunc = percentile_cont_float8_final)`)
	o := b.options(b.manifest(`
roles: [{name: a}, {name: old}]
grants: [{role: a, privileges: [EXECUTE], object: {type: function, schema: app, name_pattern: "p%"}}]
`))
	b.apply(o)
	b.settled(o)
	b.sql(`SET ROLE rec_procs_a; RESET ROLE; CREATE ROLE rec_procsx; GRANT EXECUTE ON PROCEDURE app.p(IN int, IN int) TO rec_procs_old WITH GRANT OPTION; GRANT USAGE ON SCHEMA app TO rec_procs_old; SET ROLE rec_procs_old; GRANT EXECUTE ON PROCEDURE app.p(IN int, IN int) TO rec_procsx`)
	o = b.options(b.manifest(`
roles: [{name: a}]
grants: [{role: a, privileges: [EXECUTE], object: {type: function, schema: app, name_pattern: "p%"}}]
retirements: [{role: old, drop_owned: true}]
`))
	b.apply(o)
	b.settled(o)
}

// Nobody becomes a member of pg_database_owner, for no time: that an administrator may not grant on schema public is told
// before the first change.
func TestPublicOfTheDatabasesOwner(t *testing.T) {
	b := newBench(t, "rec_public")
	admin := b.administrator()
	o := b.options(b.manifest(`
roles: [{name: a}]
grants: [{role: a, privileges: [CREATE], object: {type: schema, name: public}}]
`))
	o.Connect = b.connect(admin)
	var problems *ProblemsError
	if r, err := Run(t.Context(), o); !errors.As(err, &problems) || len(r.Made) > 0 {
		t.Errorf("made %v: %v", r.Made, err)
	}
	b.sql(`ALTER DATABASE rec_public OWNER TO ` + admin)
	if b.major() >= 15 {
		b.apply(o)
		b.settled(o)
	}
}

// Parameters that only a superuser may set, or whoever was granted that, are told of before the first change, to be set
// and to be taken away.
func TestParametersOfOthers(t *testing.T) {
	b := newBench(t, "rec_barred")
	o := b.options(b.manifest(`roles: [{name: web, config: {work_mem: 1MB}}]`))
	admin := b.administrator()
	o.Connect = b.connect(admin)
	b.apply(o)
	with := b.manifest(`roles: [{name: web, config: {work_mem: 1MB, My.tenant: a, log_statement: ddl}}, {name: new, config: {my.tenant: b}}]`)
	told := func(n int) {
		t.Helper()
		var problems *ProblemsError
		if r, err := Run(t.Context(), o); !errors.As(err, &problems) || len(problems.Problems) != n || len(r.Made) > 0 {
			t.Errorf("made %v, %v", r.Made, err)
		}
	}
	without := o.Desired
	o.Desired = with
	told(3)
	b.apply(b.options(with))
	b.settled(o)
	o.Desired = without
	told(2)
	if b.major() < 15 {
		return
	}
	b.sql(`GRANT SET ON PARAMETER my.tenant, log_statement TO ` + admin)
	b.apply(o)
	b.settled(o)
	b.sql(`REVOKE SET ON PARAMETER my.tenant, log_statement FROM ` + admin)
}
