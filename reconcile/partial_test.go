package reconcile

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pgscope/pgscope-proxy/access"
)

// The trouble of one role is not that of the rest: what can be made is made, and what cannot be is told.
func TestPartial(t *testing.T) {
	b := newBench(t, "rec_partial")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.t (id int)`)
	o := b.options(b.manifest(readers + `
  - {role: reader, privileges: [SELECT], object: {type: table, schema: app, name: nosuch}}
`))
	o.Desired.Roles[1].Password = &access.Password{FromEnv: "REC_PARTIAL_NOT_SET", Place: access.Place{File: "test.yaml", Line: 9, Column: 9}}
	// The server refuses one, and nobody could have known.
	o.Desired.Roles[0].Settings = []access.Setting{{Name: "nosuch_parameter", Value: "1"}}

	if r, err := Run(t.Context(), o); err == nil || len(r.Made) > 0 {
		t.Fatalf("a run that is not partial: %d statements, %v", len(r.Made), err)
	}
	o.Partial = true
	for range 2 {
		r, err := Run(t.Context(), o)
		var problems *ProblemsError
		var refused *ChangeError
		if !errors.As(err, &problems) || !errors.As(err, &refused) || len(problems.Problems) != 2 || refused.Change.Step != SetParameter {
			t.Fatalf("%+v\n%v", r.Plan.Changes, err)
		}
		if !strings.Contains(err.Error(), "REC_PARTIAL_NOT_SET") || !strings.Contains(err.Error(), "nosuch") {
			t.Errorf("%v", err)
		}
	}
	if got := b.sql(`SELECT has_table_privilege('rec_partial_reader', 'app.t', 'SELECT'), has_table_privilege('rec_partial_writer', 'app.t', 'INSERT')`); got != "t|t\n" {
		t.Errorf("what can be made: %s", got)
	}
}

// A statement that does not even parse takes nothing along.
func TestPartialUnparsed(t *testing.T) {
	b := newBench(t, "rec_unparsed")
	o := b.options(b.manifest(`roles: [{name: bad}, {name: good}]`))
	o.Desired.Roles[0].Settings = []access.Setting{{Name: "", Value: "1"}}
	o.Desired.Roles[1].Settings = []access.Setting{{Name: "work_mem", Value: "1MB"}}
	o.Partial = true
	var refused *ChangeError
	if _, err := Run(t.Context(), o); !errors.As(err, &refused) || !strings.Contains(err.Error(), "42601") {
		t.Errorf("%v", err)
	}
	if got := b.sql(`SELECT rolconfig FROM pg_roles WHERE rolname IN ('rec_unparsed_good', 'rec_unparsed_bad') ORDER BY rolname DESC`); got != "{work_mem=1MB}\n\n" {
		t.Errorf("made: %q", got)
	}
}

// A role whose retirement something is in the way of stays as it is, with its sessions and its login: what the manifest
// does not allow is no less forbidden where the rest is done.
func TestPartialRetirement(t *testing.T) {
	b := newBench(t, "rec_stays")
	b.apply(b.options(b.manifest(`roles: [{name: busy, login: true}, {name: owner, login: true}, {name: idle, login: true}]`)))
	b.sql(`CREATE TABLE t (id int); ALTER TABLE t OWNER TO rec_stays_owner`)
	session, err := b.connect("rec_stays_busy")(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(t.Context()) }()
	o := b.options(b.manifest(`retirements: [{role: busy}, {role: owner}, {role: idle}]`))
	o.Partial = true
	var problems *ProblemsError
	if _, err := Run(t.Context(), o); !errors.As(err, &problems) || len(problems.Problems) != 2 {
		t.Errorf("what is in the way: %v", err)
	}
	if err := run(t.Context(), session, "SELECT 1"); err != nil {
		t.Errorf("the session was ended: %v", err)
	}
	if got := b.sql(`SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname LIKE 'rec\_stays\_%' ORDER BY 1`); got != "rec_stays_busy|t\nrec_stays_owner|t\n" {
		t.Errorf("left: %s", got)
	}
}

// Who applies does not retire itself: it could not log in to do the rest.
func TestRetirementOfOneself(t *testing.T) {
	b := newBench(t, "rec_oneself")
	b.sql(`CREATE ROLE rec_oneself_admin LOGIN CREATEROLE SUPERUSER`)
	b.apply(withMode(b.options(b.manifest(`roles: [{name: admin, login: true, superuser: true, createrole: true}]`)), Adopt))
	o := b.options(b.manifest(`retirements: [{role: admin, terminate_sessions: true, drop_owned: true}]`))
	o.Connect, o.Partial = b.connect("rec_oneself_admin"), true
	if r, err := Run(t.Context(), o); err == nil || len(r.Made) > 0 {
		t.Errorf("made %v, %v", r.Made, err)
	}
}

// One process applies, another that comes meanwhile stands by, and takes over when the first has gone.
func TestStandby(t *testing.T) {
	b := newBench(t, "rec_standby")
	o := b.options(b.manifest(`roles: [{name: reader}]`))
	release, ok, err := o.lock(t.Context())
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	o.Wait = false
	if r, err := Run(t.Context(), o); err != nil || !r.Standby || len(r.Made) > 0 || len(r.Plan.Changes) == 0 {
		t.Errorf("beside another: %+v, %v", r, err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	// The server ends the session behind the client's back.
	b.Await(t, `NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = 'postgres'))`)
	if r, err := Run(t.Context(), o); err != nil || r.Standby || len(r.Made) == 0 {
		t.Errorf("alone: %+v, %v", r, err)
	}
	b.settled(o)
}

// Whatever limits the sessions of a role have, it waits until the other process has gone, and nobody comes in between while
// it is at work.
func TestLockLasts(t *testing.T) {
	b := newBench(t, "rec_lasts")
	admin := b.administrator()
	for _, limit := range []string{"lock_timeout", "idle_in_transaction_session_timeout"} {
		b.sql(`ALTER ROLE ` + admin + ` IN DATABASE postgres SET ` + limit + ` TO '1ms'`)
	}
	o := b.options(b.manifest(`roles: [{name: reader}]`))
	release, _, err := o.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.Connect = b.connect(admin)
	done := make(chan error, 1)
	o.Progress = func(int, int) {
		b.sql(`SELECT pg_sleep(0.01)`)
		const ofTransaction = `SELECT state FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'` // behind a pooler a session's would stay
		if got := b.sql(ofTransaction); got != "idle in transaction\n" {
			t.Errorf("the lock is of a session: %s", got)
		}
		other := o
		other.Wait = false
		if _, ok, err := other.lock(t.Context()); ok || err != nil {
			t.Errorf("another comes in: %v, %v", ok, err)
		}
	}
	go func() { _, err := Run(t.Context(), o); done <- err }()
	b.Await(t, `EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)`)
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.settled(o)
}

// What a bundle has not claimed is none of its business: to want something there is an error, not a thing to pass over.
func TestSurface(t *testing.T) {
	b := newBench(t, "rec_surface")
	b.sql(`CREATE SCHEMA app; CREATE SCHEMA other`)
	at := func(line int) access.Place { return access.Place{File: "f.yaml", Line: line, Column: 1} }
	mine, theirs := role("mine"), role("theirs")
	mine.Place, theirs.Place = at(1), at(2)
	d := &access.Desired{
		Roles:   []access.Role{mine, theirs},
		Schemas: []access.SchemaSpec{{Name: "app", Owner: mine.Ref, Place: at(3)}},
		Grants: []access.Grant{
			{Grantee: mine.Ref, On: access.Selector{Kind: access.Schema, Name: "app"}, Privileges: access.Usage, Place: at(4)},
			{Grantee: mine.Ref, On: access.Selector{Kind: access.Schema, Name: "other"}, Privileges: access.Usage, Place: at(5)},
		},
		Defaults:    []access.DefaultPrivilege{{Owner: mine.Ref, Schema: "other", Kind: access.Table, Grantee: mine.Ref, Privileges: access.Select, Place: at(6)}},
		Memberships: []access.Membership{{Role: theirs.Ref, Members: []access.Member{{Ref: mine.Ref, Inherit: true, Set: true}}, Place: at(7)}},
		Retirements: []access.Retirement{{Ref: own("old"), Place: at(8)}},
		Surface: &access.Surface{
			Roles: map[access.Ref]bool{mine.Ref: true}, SchemaOwners: map[string]bool{}, Schemas: map[string]bool{"app": true},
		},
	}
	var lines []int
	for _, p := range b.plan(b.options(d)).Problems {
		if strings.Contains(p.Message, "outside of what the bundle decides") {
			lines = append(lines, p.Place.Line)
		}
	}
	want := []int{2, 3, 5, 6, 7, 8}
	if len(lines) != len(want) {
		t.Fatalf("told of lines %v, want %v", lines, want)
	}
	for i := range want {
		if lines[i] != want[i] {
			t.Errorf("told of lines %v, want %v", lines, want)
		}
	}
	d.Surface.Roles[theirs.Ref], d.Surface.Roles[own("old")], d.Surface.SchemaOwners["app"], d.Surface.Schemas["other"] = true, true, true, true
	if p := b.plan(b.options(d)); len(p.Problems) > 0 {
		t.Errorf("all is claimed: %v", p.Problems)
	}
}

// A run that is told to end, or whose session the server ends, says so once, and has done nothing.
func TestEndedRun(t *testing.T) {
	b := newBench(t, "rec_ended")
	b.sql(`CREATE TABLE t (id int); CREATE TABLE u (id int)`)
	other, err := b.connect("postgres")(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close(t.Context()) }()
	if err := run(t.Context(), other, "BEGIN; GRANT SELECT ON t TO PUBLIC"); err != nil {
		t.Fatal(err)
	}
	const waits = `FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'rec_ended'`
	for want, end := range map[string]func(context.CancelFunc){
		"context canceled": func(cancel context.CancelFunc) { cancel() },
		"57P01":            func(context.CancelFunc) { b.sql(`SELECT pg_terminate_backend(pid) ` + waits) },
	} {
		o := b.options(b.manifest("roles: [{name: x}]\ngrants: [{role: x, privileges: [SELECT], object: {type: table, schema: public, name: t}}, {role: x, privileges: [INSERT], object: {type: table, schema: public, name: u}}]"))
		o.Partial = true
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := Run(ctx, o); done <- err }()
		b.Await(t, `EXISTS (SELECT `+waits+`)`)
		end(cancel)
		if err := <-done; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "conn closed") {
			t.Errorf("%v", err)
		}
		cancel()
		b.Await(t, `NOT EXISTS (SELECT `+waits+`)`)
	}
	if got := b.sql(`SELECT count(*) FROM pg_roles WHERE rolname ~ '^rec_ended'`); got != "0\n" {
		t.Errorf("%s roles are there", got)
	}
}
