package reconcile

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/manifest"
)

// exported exports the database, writes the manifest and reads it again.
func (b *bench) exported(mode Mode, asWritten bool) *access.Desired {
	b.Helper()
	ctx := context.Background()
	conn, err := b.connect("postgres")(ctx, "")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	d, err := Export(ctx, conn, ExportOptions{Mode: mode, AsWritten: asWritten})
	if err != nil {
		b.Fatal(err)
	}
	var text bytes.Buffer
	if err := manifest.Write(&text, d); err != nil {
		b.Fatal(err)
	}
	o := manifest.Options{Database: b.database, Scope: manifest.Database}
	if asWritten {
		o.Scope = manifest.None
	}
	m, err := manifest.Parse("exported.yaml", text.Bytes(), o)
	if err != nil {
		b.Fatalf("%v\n%s", err, text.String())
	}
	return &m.Databases[0]
}

// states are databases as they may be, before anybody declared anything.
var states = map[string]string{
	"rec_exp_plain": `CREATE SCHEMA app; CREATE TABLE app.t (id int)`,
	"rec_exp_app": `CREATE ROLE rec_exp_app_owner; CREATE ROLE rec_exp_app_reader; CREATE ROLE rec_exp_app_api LOGIN CONNECTION LIMIT 5 VALID UNTIL '2090-01-01';
COMMENT ON ROLE rec_exp_app_api IS 'it''s'; GRANT rec_exp_app_reader TO rec_exp_app_api WITH ADMIN OPTION; ALTER ROLE rec_exp_app_api SET search_path TO app, "$user";
CREATE SCHEMA app AUTHORIZATION rec_exp_app_owner; SET ROLE rec_exp_app_owner; CREATE TABLE app.a (x int, y int); CREATE TABLE app.b (x int);
GRANT USAGE ON SCHEMA app TO rec_exp_app_reader; GRANT SELECT ON ALL TABLES IN SCHEMA app TO rec_exp_app_reader;
GRANT UPDATE (x) ON app.a TO rec_exp_app_api; GRANT INSERT ON app.a TO rec_exp_app_api WITH GRANT OPTION;
CREATE FUNCTION app.f(int, app.a) RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION app.f FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO rec_exp_app_reader; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
RESET ROLE; REVOKE CONNECT ON DATABASE rec_exp_app FROM PUBLIC; GRANT CONNECT ON DATABASE rec_exp_app TO rec_exp_app_api;
GRANT pg_monitor TO rec_exp_app_api`,
	"rec_exp_long": longState(),
	"rec_exp_start": `CREATE ROLE rec_exp_start_owner; CREATE ROLE rec_exp_start_team IN ROLE rec_exp_start_owner; CREATE ROLE rec_exp_start_app IN ROLE rec_exp_start_team;
ALTER ROLE rec_exp_start_app SET role = rec_exp_start_owner; ALTER ROLE rec_exp_start_team IN DATABASE rec_exp_start SET role = 'none';
CREATE ROLE rec_exp_start_boss SUPERUSER; ALTER ROLE rec_exp_start_boss SET role = pg_monitor; ALTER ROLE rec_exp_start_boss IN DATABASE rec_exp_start SET role = rec_exp_start_team`,
	"rec_exp_odd": `CREATE ROLE "rec_exp_odd_A b"; CREATE SCHEMA "S p"; CREATE TABLE "S p"."t""q" ("c d" int); GRANT SELECT ("c d") ON "S p"."t""q" TO "rec_exp_odd_A b";
CREATE TYPE "S p".mood AS ENUM ('x'); REVOKE USAGE ON TYPE "S p".mood FROM PUBLIC; CREATE DOMAIN "S p".d AS int; GRANT USAGE ON DOMAIN "S p".d TO "rec_exp_odd_A b";
CREATE FUNCTION "S p".g("S p".mood, int[], varchar, timestamptz, "char") RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON FUNCTION "S p".g TO "rec_exp_odd_A b";
CREATE FOREIGN DATA WRAPPER rec_exp_w; GRANT USAGE ON FOREIGN DATA WRAPPER rec_exp_w TO "rec_exp_odd_A b"; SELECT lo_create(424242); GRANT SELECT ON LARGE OBJECT 424242 TO "rec_exp_odd_A b";
GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE SEQUENCE "S p".s; GRANT ALL ON SEQUENCE "S p".s TO "rec_exp_odd_A b"`,
}

// longState has names, lists of arguments, comments and settings that are as long as the server has them, and longer
// than people do.
func longState() string {
	schema, types := strings.Repeat(`q""`, 31), make([]string, 100)
	name := strings.Repeat("é", 31)
	for i := range types {
		types[i] = `"` + schema + `"."` + strings.Repeat(`""`, 62) + string(rune('a'+i%3)) + `"`
	}
	return `CREATE ROLE rec_exp_long_a; CREATE SCHEMA "` + schema + `";
COMMENT ON ROLE rec_exp_long_a IS '` + strings.Repeat(`it''s "long"\n`, 2000) + `';
ALTER ROLE rec_exp_long_a SET search_path TO ` + strings.Repeat(`"One, ""two", `, 500) + `three;
CREATE TYPE ` + strings.Join(types[:3], ` AS ENUM (); CREATE TYPE `) + ` AS ENUM ();
CREATE FUNCTION "` + schema + `".` + name + `(` + strings.Join(types, "[], ") + `[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION "` + schema + `"."f(x)y"(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
GRANT EXECUTE ON FUNCTION "` + schema + `".` + name + `, "` + schema + `"."f(x)y" TO rec_exp_long_a`
}

// What is exported has an empty plan, with the names of the cluster, and once its roles are the database's own.
func TestExport(t *testing.T) {
	for database, script := range states {
		t.Run(database, func(t *testing.T) {
			b := newBench(t, database)
			b.sql(script)
			b.settled(b.options(b.exported(Authoritative, false)))
			asWritten := b.options(b.exported(Authoritative, true))
			asWritten.AsWritten = true
			b.settled(asWritten)

			adopt := withMode(b.options(b.exported(Adopt, false)), Adopt)
			plan := b.plan(adopt)
			if len(plan.Problems) > 0 || !onlyEnrols(plan.Changes) {
				t.Fatalf("%v %v", plan.Changes, plan.Problems)
			}
			r := b.apply(adopt)
			if len(plan.Changes) > 0 && (r.Proof == nil || r.Proof.Rights == 0 || r.Proof.Roles == 0) {
				t.Errorf("nothing is proven: %v", r.Proof)
			}
			b.settled(b.options(b.exported(Authoritative, false)))
		})
	}
}

// A proof is worth something: what changes anybody's access fails it.
func TestProof(t *testing.T) {
	b := newBench(t, "rec_proof")
	b.sql(`CREATE ROLE rec_proof_a; CREATE ROLE rec_proof_b; CREATE TABLE t (id int); GRANT SELECT ON t TO rec_proof_a; CREATE ROLE pgscope_x_rec_proof`)
	look := func() *State {
		conn, err := b.connect("postgres")(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		s, err := Observe(t.Context(), conn, Extent{All: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := look()
	b.sql(`GRANT pgscope_x_rec_proof TO rec_proof_a`)
	if _, err := prove(before, look()); err != nil {
		t.Error(err)
	}
	for _, sql := range []string{`GRANT DELETE ON t TO rec_proof_b`, `GRANT rec_proof_a TO rec_proof_b`, `GRANT INSERT ON t TO PUBLIC`, `ALTER TABLE t OWNER TO rec_proof_b`} {
		before := look()
		b.sql(sql)
		if _, err := prove(before, look()); err == nil {
			t.Errorf("%s: proven", sql)
		}
	}
}

// What sessions cannot start as is left out of a manifest, which would not be one: its plan takes the setting away.
func TestExportOfVainStart(t *testing.T) {
	b := newBench(t, "rec_vain")
	b.apply(b.options(b.manifest(`roles: [{name: a}, {name: b}, {name: c}]`)))
	b.sql(`CREATE ROLE rec_vain_gone; ALTER ROLE rec_vain_a SET role = rec_vain_b; ALTER ROLE rec_vain_c SET role = rec_vain_gone; DROP ROLE rec_vain_gone`)
	plan := b.plan(b.options(b.exported(Authoritative, false)))
	if len(plan.Changes) != 2 || plan.Changes[0].Step != SetParameter || plan.Changes[1].Step != SetParameter {
		t.Errorf("%v", plan.Changes)
	}
}
