package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgscope/pgscope-proxy/manifest"
	"github.com/pgscope/pgscope-proxy/provision"
)

// administrator makes a login that is no superuser: with CREATEROLE, and the right to make schemas in the database.
func (b *bench) administrator() string {
	b.Helper()
	name := b.database + "admin"
	b.sql(`CREATE ROLE ` + name + ` LOGIN CREATEROLE; GRANT CREATE ON DATABASE ` + b.database + ` TO ` + name)
	return name
}

// edges are the memberships in the database's own roles, but for what the server gave to a role's creator.
func (b *bench) edges() string {
	b.Helper()
	options := "true, true"
	if b.major() >= 16 {
		options = "inherit_option, set_option"
	}
	return b.sql(`SELECT roleid::regrole, member::regrole, admin_option, ` + options + ` FROM pg_auth_members
WHERE starts_with(roleid::regrole::text, '` + b.database + `') AND (grantor <> 10 OR member::regrole::text !~ 'admin$') ORDER BY 1, 2, grantor`)
}

const shop = `
roles: [{name: owner}, {name: reader}]
schemas: [{name: shop, owner: owner}]
grants:
  - {role: reader, privileges: [USAGE], object: {type: schema, name: shop}}
  - {role: reader, privileges: [SELECT], object: {type: table, schema: shop, name: "*"}}
default_privileges: [{owner: owner, schema: shop, grant: [{role: reader, privileges: [SELECT], on_type: table}]}]
`

// What is the owner's, an administrator makes who is no superuser and not a member of it; it is none afterwards. It can be
// undone. What it becomes by itself when it makes a role stays as it is.
func TestOwnerOfAnAdministrators(t *testing.T) {
	for _, self := range []string{"", "set, inherit"} {
		t.Run(self, func(t *testing.T) {
			b := newBench(t, "rec_lend")
			admin := b.administrator()
			switch {
			case self == "":
			case b.major() >= 16:
				b.sql(`ALTER ROLE ` + admin + ` SET createrole_self_grant TO '` + self + `'`)
			default:
				return // there is no such parameter
			}
			o := b.options(b.manifest(shop))
			o.Connect = b.connect(admin)
			first := b.apply(withUndo(o))
			b.settled(o)
			before := b.edges()
			if self == "" && before != "" {
				t.Errorf("left behind: %s", before)
			}
			if n := strings.Count(before, admin+"|f|t|t"); self != "" && n != 2 {
				t.Errorf("not what the server gave: %s", before)
			}
			b.sql(`SET ROLE rec_lend_owner; CREATE TABLE shop.t (id int); REVOKE ALL ON shop.t FROM rec_lend_reader;
GRANT INSERT ON shop.t TO rec_lend_reader; ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT INSERT ON TABLES TO rec_lend_reader`)
			second := b.apply(withUndo(o))
			b.settled(o)
			if got := b.edges(); got != before {
				t.Errorf("left behind: %s, was: %s", got, before)
			}
			b.undo(admin, second)
			b.sql(`DROP TABLE shop.t; ALTER DEFAULT PRIVILEGES FOR ROLE rec_lend_owner IN SCHEMA shop REVOKE ALL ON TABLES FROM rec_lend_reader`)
			b.undo(admin, first)
			if got := b.sql(`SELECT count(*) FROM pg_roles WHERE rolname LIKE 'rec\_lend\_%'`); got != "0\n" {
				t.Errorf("not undone: %s", got)
			}
		})
	}
}

// undo takes back what a run did.
func (b *bench) undo(user string, r Report) {
	b.Helper()
	conn, err := b.connect(user)(b.Context(), "")
	if err != nil {
		b.Fatal(err)
	}
	sql := "BEGIN;\n" + strings.Join(r.Undo, ";\n") + ";\nCOMMIT"
	if err := errors.Join(run(b.Context(), conn, sql), conn.Close(b.Context())); err != nil {
		b.Errorf("%v\n%s", err, sql)
	}
}

// A schema changes hands, and a role that has things goes, both by an administrator who owns none of it.
func TestOwnersChangeWithoutSuperuser(t *testing.T) {
	b := newBench(t, "rec_hands")
	admin := b.administrator()
	apply := func(text string) {
		t.Helper()
		o := b.options(b.manifest(text))
		o.Connect = b.connect(admin)
		b.apply(o)
		b.settled(o)
		if got := b.edges(); got != "" {
			t.Errorf("left behind: %s", got)
		}
	}
	apply(`{roles: [{name: a}, {name: b}], schemas: [{name: app, owner: a}]}`)
	apply(`{roles: [{name: a}, {name: b}], schemas: [{name: app, owner: b}]}`)
	b.sql(`SET ROLE rec_hands_b; CREATE TABLE app.t (id int); ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO rec_hands_a`)
	apply(`{roles: [{name: a}], schemas: [{name: app, owner: a}], retirements: [{role: b, reassign_owned_to: a, drop_owned: true}]}`)
	if got := b.sql(`SELECT relowner::regrole FROM pg_class WHERE oid = 'app.t'::regclass`); got != "rec_hands_a\n" {
		t.Error(got)
	}
}

// Where the manifest names the executor, it has what stands there, before and after changes that need more.
func TestExecutorAsMember(t *testing.T) {
	for _, options := range []string{"", ", admin: true", ", inherit: false", ", admin: true, inherit: false, set: false", ", admin: true, inherit: false, set: false, self"} {
		t.Run(options, func(t *testing.T) {
			b := newBench(t, "rec_self")
			if b.major() < 16 && strings.Contains(options, "false") {
				return
			}
			admin := b.administrator()
			options, self := strings.CutSuffix(options, ", self")
			if self {
				b.sql(`ALTER ROLE ` + admin + ` SET createrole_self_grant TO 'inherit'`)
			}
			text := strings.Replace(shop, "{name: reader}]", "{name: reader}, {name: "+admin+", external: true, preserve_undeclared_grants: true}]", 1) + `memberships: [{role: owner, members: [{name: ` + admin + options + `}]}]`
			o := b.options(b.manifest(text))
			o.Connect = b.connect(admin)
			b.apply(o)
			b.settled(o)
			want := "t|t"
			if strings.Contains(options, "inherit: false") {
				want = "f|" + map[bool]string{true: "f", false: "t"}[strings.Contains(options, "set: false")]
			}
			if got := b.edges(); !strings.Contains(got, want) && want != "f|f" {
				t.Error(got)
			}
			before := b.edges()
			b.sql(`SET ROLE rec_self_owner; CREATE TABLE shop.t (id int); REVOKE ALL ON shop.t FROM rec_self_reader`)
			b.apply(o)
			b.settled(o)
			if got := b.edges(); got != before {
				t.Errorf("was %s, is %s", before, got)
			}
		})
	}
}

// What the server would refuse an administrator is told before the first change.
func TestAdministratorMayNot(t *testing.T) {
	b := newBench(t, "rec_maynot")
	admin := b.administrator()
	b.sql(`REVOKE CREATE ON DATABASE rec_maynot FROM ` + admin + `; CREATE SCHEMA app`)
	b.apply(b.options(b.manifest(`roles: [{name: theirs}, {name: old}]`)))
	o := b.options(b.manifest(`
roles: [{name: theirs, comment: x}, {name: mine, createdb: true, replication: true}, {name: postgres, external: true}]
schemas: [{name: app, owner: mine}, {name: more, owner: postgres}]
default_privileges: [{owner: postgres, schema: app, grant: [{role: mine, privileges: [SELECT], on_type: table}]}]
retirements: [{role: old}]
`))
	o.Connect = b.connect(admin)
	_, err := Run(t.Context(), o)
	var problems *ProblemsError
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	want := []string{
		`may not give away schemas of "postgres"`, `may not make schemas for "postgres"`, `may not create schemas in database "rec_maynot"`,
		`may not set the default privileges of "postgres"`,
	}
	if b.major() >= 16 {
		want = append(want, `may not administer role "theirs"`, `may not administer role "old"`, `may not administer role "pgscope_db_rec_maynot"`,
			`which has no CREATEDB, may not change that of role "mine"`, `which has no REPLICATION, may not change that of role "mine"`)
	} else {
		want = append(want, `only a superuser may change REPLICATION of role "mine"`)
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: not told:\n%v", text, err)
		}
	}
}

// A membership is turned round in one run, by one step and by way of others.
func TestTurnedMembership(t *testing.T) {
	b := newBench(t, "rec_turn")
	const roles = "roles: [{name: team}, {name: lead}, {name: third}]\n"
	for _, members := range []string{
		`[{role: team, members: [{name: lead, admin: true}]}]`,
		`[{role: lead, members: [{name: team}]}]`,
		`[{role: team, members: [{name: third}]}, {role: third, members: [{name: lead, admin: true}]}]`,
		`[{role: lead, members: [{name: team}]}]`,
		`[{role: team, members: [{name: third}]}, {role: third, members: [{name: lead}]}]`,
	} {
		before := b.edges()
		o := b.options(b.manifest(roles + "memberships: " + members))
		r := b.apply(withUndo(o))
		b.settled(o)
		after := b.edges()
		b.undo("postgres", r)
		if got := b.edges(); got != before && before != "" {
			t.Errorf("%s: undone: %s, was: %s", members, got, before)
		}
		if before == "" {
			b.apply(b.options(b.manifest(roles)))
		}
		b.apply(o)
		if got := b.edges(); got != after {
			t.Errorf("%s: %s, was: %s", members, got, after)
		}
	}
	// Nothing is taken in mode additive: then it cannot be.
	_, err := Run(t.Context(), withMode(b.options(b.manifest(roles+`memberships: [{role: lead, members: [{name: team}]}]`)), Additive))
	var problems *ProblemsError
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), `role "team" cannot be a member of role "lead"`) {
		t.Error(err)
	}
}

// Where an edge of somebody else is there already, what the server's defaults are has no say.
func TestOptionsBesideAnotherGrantors(t *testing.T) {
	b := newBench(t, "rec_beside")
	if b.major() < 16 {
		return // a membership has one grantor, and no options
	}
	const roles = "roles: [{name: team}, {name: m}, {name: dba}]\nmemberships: [{role: team, members: [{name: dba, admin: true}, {name: m, set: false, inherit: INHERIT}]}]"
	b.apply(b.options(b.manifest(strings.Replace(roles, "INHERIT", "false", 1))))
	b.sql(`GRANT rec_beside_team TO rec_beside_m WITH INHERIT FALSE, SET FALSE GRANTED BY rec_beside_dba; REVOKE rec_beside_team FROM rec_beside_m GRANTED BY postgres`)
	o := b.options(b.manifest(strings.Replace(roles, "INHERIT", "true", 1)))
	before := b.edges()
	r := b.apply(withUndo(o))
	b.settled(o)
	if got := b.sql(`SELECT pg_has_role('rec_beside_m', 'rec_beside_team', 'SET'), pg_has_role('rec_beside_m', 'rec_beside_team', 'USAGE')`); got != "f|t\n" {
		t.Error(got)
	}
	b.undo("postgres", r)
	if got := b.edges(); got != before {
		t.Errorf("undone: %s, was: %s", got, before)
	}
}

// What was done before a later transaction failed can be undone as well.
func TestUndoAfterError(t *testing.T) {
	b := newBench(t, "rec_late")
	b.CreateDatabase(t, "rec_late_two")
	b.apply(b.options(b.manifest(`roles: [{name: old}]`)))
	b.Psql(t, "rec_late_two", `CREATE TABLE t (id int); GRANT SELECT ON t TO rec_late_old`)
	o := b.options(b.manifest(`
roles: [{name: new, comment: new}, {name: member}]
schemas: [{name: app, owner: new}]
memberships: [{role: new, members: [{name: member}]}]
retirements: [{role: old, drop_owned: true}]
`))
	connect, looked, looks := o.Connect, 0, 0 // looks: how often there is a way
	o.Connect = func(ctx context.Context, database string) (*pgconn.PgConn, error) {
		if database == "rec_late_two" {
			if looked++; looked > looks {
				return nil, errors.New("no way to it")
			}
		}
		return connect(ctx, database)
	}
	if _, err := Run(t.Context(), withUndo(o)); err == nil || !strings.Contains(err.Error(), "nobody can clear up") {
		t.Errorf("what is in the way: %v", err)
	}
	looks, looked = 1, 0
	r, err := Run(t.Context(), withUndo(o))
	if err == nil || len(r.Made) == 0 {
		t.Fatalf("%v made, %v", r.Made, err)
	}
	b.undo("postgres", r)
	if got := b.sql(`SELECT count(*) FROM pg_roles WHERE rolname IN ('rec_late_new', 'rec_late_member')`); got != "0\n" {
		t.Errorf("not undone: %s", got)
	}
}

// What harden gives to roles that do not inherit it from the marker, they keep, unless the manifest says otherwise.
func TestHardened(t *testing.T) {
	b := newBench(t, "rec_hard")
	b.sql(`CREATE ROLE rec_harddba LOGIN CREATEROLE`)
	text := `
roles:
  - {name: web, login: true}
  - {name: batch, login: true, inherit: false}
  - {name: shut, login: true, inherit: false}
  - {name: rec_harddba, external: true}
grants: [{role: shut, ensure: absent, privileges: [CONNECT], object: {type: database, name: rec_hard}}]
`
	o := b.options(b.manifest(text))
	b.apply(o)
	conn, err := o.Connect(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	db, err := provision.Enrol(t.Context(), conn, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := provision.Administrator(t.Context(), conn, db, "rec_harddba"); err != nil {
		t.Fatal(err)
	}
	may := func(want string) {
		t.Helper()
		if got := b.sql(`SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE starts_with(rolname, 'rec_hard') AND has_database_privilege(rolname, 'rec_hard', 'CONNECT')`); got != want+"\n" {
			t.Errorf("let in: %s", got)
		}
	}
	harden := func() {
		t.Helper()
		h, err := provision.Harden(t.Context(), conn)
		if err == nil {
			err = h.Apply(t.Context(), conn)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	harden()
	may("rec_hard_batch rec_hard_shut rec_hard_web rec_harddba")
	b.apply(o)
	b.settled(o)
	may("rec_hard_batch rec_hard_web rec_harddba")
	o = b.options(b.manifest(strings.Replace(text, "roles:", "roles:\n  - {name: later, login: true, inherit: false}", 1)))
	b.apply(o)
	b.settled(o)
	harden()
	b.sql(`REVOKE CONNECT ON DATABASE rec_hard FROM rec_hard_shut`) // nobody has told harden
	b.settled(o)
	may("rec_hard_batch rec_hard_later rec_hard_web rec_harddba")
	exported, err := Export(t.Context(), conn, ExportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	if err := manifest.Write(&file, exported); err != nil {
		t.Fatal(err)
	}
	b.settled(b.options(b.manifest(file.String())))
}
