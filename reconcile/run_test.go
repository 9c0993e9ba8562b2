package reconcile

import (
	"testing"

	"github.com/pgscope/pgscope-proxy/access"
)

func TestRun(t *testing.T) {
	b := newBench(t, "rec_run")
	b.sql(`CREATE SCHEMA app; CREATE TABLE app.a (id int, note text); CREATE TABLE app.b (id int); CREATE FUNCTION app.f(int4, varchar) RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	reader, api := role("reader"), role("api")
	api.Login, api.Comment, api.ConnectionLimit = true, "it's the API", 20
	api.Settings = []access.Setting{{Name: "search_path", Value: `"$user", app`}, {Name: "statement_timeout", Value: "30s", InDatabase: true}}
	d := &access.Desired{
		Roles:   []access.Role{reader, api},
		Schemas: []access.SchemaSpec{{Name: "app"}, {Name: "fresh", Owner: own("api")}},
		Grants: []access.Grant{
			{Grantee: own("reader"), On: access.Selector{Kind: access.Schema, Name: "app"}, Privileges: access.Usage},
			{Grantee: own("reader"), On: access.Selector{Kind: access.Table, Schema: "app", Pattern: "%"}, Privileges: access.Select},
			{Grantee: own("api"), On: access.Selector{Kind: access.Table, Schema: "app", Name: "a"}, Privileges: access.Select | access.Insert, GrantOption: true},
			{Grantee: own("api"), On: access.Selector{Kind: access.Table, Schema: "app", Name: "b", Column: "id"}, Privileges: access.Update},
			{Grantee: own("api"), On: access.Selector{Kind: access.Routine, Schema: "app", Name: "f(integer, character varying)"}, Privileges: access.Execute},
			{Grantee: access.Ref{Kind: access.Public}, On: access.Selector{Kind: access.Routine, Schema: "app", Pattern: "%"}, Privileges: access.Execute, Absent: true},
			{Grantee: access.Ref{Kind: access.Public}, On: access.Selector{Kind: access.Database, Name: "rec_run"}, Privileges: access.Connect, Absent: true},
			{Grantee: own("api"), On: access.Selector{Kind: access.Database, Name: "rec_run"}, Privileges: access.Connect},
		},
		Defaults: []access.DefaultPrivilege{
			{Owner: own("api"), Schema: "app", Kind: access.Table, Grantee: own("reader"), Privileges: access.Select},
			{Owner: own("api"), Kind: access.Routine, Grantee: access.Ref{Kind: access.Public}, Privileges: access.Execute, Absent: true},
		},
		Memberships: []access.Membership{{Role: own("reader"), Members: []access.Member{{Ref: own("api"), Inherit: true, Set: true}}}},
	}
	o := b.options(d)
	for _, c := range b.plan(o).Changes {
		t.Logf("%v\n\t%s\n\t%s", c, c.SQL, c.Undo)
	}
	b.apply(o)
	b.settled(o)
}
