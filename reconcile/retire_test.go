package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// What a role that goes has given, those have who stay: as a gift of the owner, or of who applies. What the manifest does
// not want goes. One plan says all of it.
func TestGiftsOfARetiredRoleStay(t *testing.T) {
	b := newBench(t, "rec_heir")
	b.CreateDatabase(t, "rec_heir_two")
	b.apply(b.options(b.manifest(`roles: [{name: lead, createrole: true}, {name: reader}, {name: other}]`)))
	b.sql(`CREATE ROLE rec_heirx; CREATE ROLE rec_heiry`)
	const give = `CREATE SCHEMA app; CREATE TABLE app.t (id int, note text); CREATE VIEW app.v AS SELECT 1 AS id; CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION app.f FROM PUBLIC;
GRANT USAGE ON SCHEMA app TO rec_heir_lead, rec_heirx; GRANT SELECT, UPDATE ON app.t, app.v TO rec_heir_lead WITH GRANT OPTION; GRANT EXECUTE ON FUNCTION app.f TO rec_heir_lead WITH GRANT OPTION;
SET ROLE rec_heir_lead; GRANT SELECT ON app.t TO rec_heir_reader, rec_heir_other; GRANT SELECT ON app.t, app.v TO rec_heirx WITH GRANT OPTION; GRANT UPDATE (id) ON app.t, app.v TO rec_heirx; GRANT EXECUTE ON FUNCTION app.f TO PUBLIC;
SET ROLE rec_heirx; GRANT SELECT ON app.t TO rec_heiry; RESET ROLE`
	b.sql(give + `; SET ROLE rec_heir_lead; CREATE ROLE rec_heirteam; RESET ROLE; GRANT rec_heirteam TO rec_heir_lead WITH ADMIN OPTION;
SET ROLE rec_heir_lead; GRANT rec_heirteam TO rec_heirx WITH ADMIN OPTION; SET ROLE rec_heirx; GRANT rec_heirteam TO rec_heiry`)
	b.Psql(t, "rec_heir_two", give)
	o := b.options(b.manifest(`
roles: [{name: reader}, {name: other}]
schemas: [{name: app}]
grants: [{role: reader, privileges: [SELECT], object: {type: table, schema: app, name: t}}]
retirements: [{role: lead, drop_owned: true}]
`))
	const rights = `SELECT string_agg(concat_ws(' ', r, CASE WHEN has_table_privilege(r, 'app.t', 'SELECT') THEN 'reads' END, CASE WHEN has_table_privilege(r, 'app.t', 'SELECT WITH GRANT OPTION') THEN 'gives' END,
CASE WHEN has_column_privilege(r, 'app.t', 'id', 'UPDATE') THEN 'writes' END, CASE WHEN has_table_privilege(r, 'app.v', 'SELECT') THEN 'sees' END, CASE WHEN has_column_privilege(r, 'app.v', 'id', 'UPDATE') THEN 'changes' END,
CASE WHEN has_function_privilege(r, 'app.f()', 'EXECUTE') THEN 'calls' END, CASE WHEN pg_has_role(r, 'rec_heirteam', 'USAGE') THEN 'belongs' END), ', ' ORDER BY r)
FROM unnest('{rec_heir_reader,rec_heir_other,rec_heirx,rec_heiry}'::text[]) r`
	o.Expect = b.fingerprint(o) // nothing is left to a second plan
	b.apply(o)
	o.Expect = ""
	b.settled(o)
	const want = "rec_heir_other calls, rec_heir_reader reads calls, rec_heirx reads gives writes sees changes calls belongs, rec_heiry reads calls belongs\n"
	if got := b.sql(rights); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got, want := b.Psql(t, "rec_heir_two", rights), strings.Replace(want, "other calls", "other reads calls", 1); got != want {
		t.Errorf("in the other database\ngot  %swant %s", got, want)
	}
}

// What the owners have given, DROP OWNED takes only where who runs it has a part in them: else that is told before the
// role loses its login.
func TestRetirementWithoutTheOwners(t *testing.T) {
	b := newBench(t, "rec_owns")
	admin := b.administrator()
	o := b.options(b.manifest(`roles: [{name: old, login: true}, {name: owner}]`))
	o.Connect = b.connect(admin)
	b.apply(o)
	b.sql(`CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO rec_owns_owner; CREATE TABLE app.t (id int); ALTER TABLE app.t OWNER TO rec_owns_owner; CREATE TABLE app.theirs (id int); GRANT SELECT ON app.t, app.theirs TO rec_owns_old`)
	o.Desired = b.manifest("roles: [{name: owner}]\nretirements: [{role: old, drop_owned: true}]")
	var problems *ProblemsError
	if r, err := Run(t.Context(), o); !errors.As(err, &problems) || len(r.Made) > 0 || !strings.Contains(err.Error(), `may not take back what was given by "postgres"`) {
		t.Errorf("made %v, %v", r.Made, err)
	}
	b.sql(`DROP TABLE app.theirs`)
	b.apply(o)
	b.settled(o)
}

// What the server alone knows to be in the way is found out before the role loses its login. Nothing comes after a step
// that failed, also where the trouble of one role is not that of the rest: what the heir cannot have is not dropped.
func TestRetirementThatTheServerRefuses(t *testing.T) {
	b := newBench(t, "rec_refuses")
	b.CreateDatabase(t, "rec_refuses_two")
	b.apply(b.options(b.manifest(`roles: [{name: old, login: true}, {name: heir}]`)))
	b.sql(`CREATE TABLE kept (id int); ALTER TABLE kept OWNER TO rec_refuses_old`)
	b.Psql(t, "rec_refuses_two", `CREATE TABLE kept (id int); ALTER TABLE kept OWNER TO rec_refuses_old;
CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; ALTER ROLE rec_refuses_old SUPERUSER; SET ROLE rec_refuses_old;
CREATE EVENT TRIGGER rec_refuses ON ddl_command_end EXECUTE FUNCTION f(); RESET ROLE; ALTER ROLE rec_refuses_old NOSUPERUSER`)
	session, err := b.connect("rec_refuses_old")(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(t.Context()) }()
	if err := run(t.Context(), session, "BEGIN; LOCK TABLE kept"); err != nil { // what a session that will be ended holds does not count
		t.Fatal(err)
	}
	o := b.options(b.manifest("roles: [{name: heir}]\nretirements: [{role: old, reassign_owned_to: heir, drop_owned: true, terminate_sessions: true}]"))
	o.LockTimeout = 50 * time.Millisecond
	for _, o.Partial = range []bool{false, true} {
		var refused *ChangeError
		if r, err := Run(t.Context(), o); !errors.As(err, &refused) || refused.Change.Step != ReassignOwned || len(r.Made) > 0 || !strings.Contains(err.Error(), "must be a superuser") {
			t.Errorf("partial %v: made %v, %v", o.Partial, r.Made, err)
		}
	}
	if got := b.sql(`SELECT rolcanlogin FROM pg_roles WHERE rolname = 'rec_refuses_old'`) + b.Psql(t, "rec_refuses_two", `SELECT count(*) FROM kept`); got != "t\n0\n" {
		t.Errorf("left: %s", got)
	}
	b.Psql(t, "rec_refuses_two", `DROP EVENT TRIGGER rec_refuses`)
	b.apply(o)
	b.settled(o)
	if got := b.Psql(t, "rec_refuses_two", `SELECT relowner::regrole FROM pg_class WHERE relname = 'kept'`); got != "rec_refuses_heir\n" {
		t.Errorf("the owner is %s", got)
	}
}

// A database that cannot be reached is tried once, and told once.
func TestRetirementBehindADatabaseThatCannotBeReached(t *testing.T) {
	b := newBench(t, "rec_unreached")
	b.CreateDatabase(t, "rec_unreached_two")
	b.apply(b.options(b.manifest(`roles: [{name: old, login: true}]`)))
	b.Psql(t, "rec_unreached_two", `CREATE TABLE kept (id int); ALTER TABLE kept OWNER TO rec_unreached_old`)
	o := b.options(b.manifest(`retirements: [{role: old, drop_owned: true}]`))
	o.Partial = true
	unreachable, tried, connect := errors.New("not to be reached"), 0, o.Connect
	o.Connect = func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		if database == "rec_unreached_two" {
			tried++
			return nil, unreachable
		}
		return connect(ctx, database)
	}
	r, err := Run(t.Context(), o)
	if !errors.Is(err, unreachable) || strings.Count(err.Error(), unreachable.Error()) != 1 || tried != 1 || len(r.Made) > 0 {
		t.Errorf("tried %d times, made %v, %v", tried, r.Made, err)
	}
}
