package policy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// TestFacts asks rules of one condition about sessions of which the server has said something, and of which it has not:
// what is not known holds for a rule that denies, and for no other.
func TestFacts(t *testing.T) {
	known := policy.Session{Facts: &policy.Facts{
		Known: policy.Need{Standing: true, Members: true}, ServerVersion: 150000, Attributes: []string{"LOGIN", "CREATEROLE"}, MemberOf: []scope.Short{"dev", "sales.clerk"},
	}}
	administered := policy.Action{Kind: policy.AlterRole, Role: policy.Role{Name: "a", Cluster: "orders_a", Administered: true}}
	for _, c := range []struct {
		conditions  string
		session     policy.Session
		action      policy.Action
		deny, allow bool
	}{
		{`member-of: dev`, known, administered, true, true},
		{`member-of: ["x", "sales.*"]`, known, administered, true, true},
		{`member-of: ops`, known, administered, false, false},
		{`member-of: ops`, policy.Session{}, administered, true, false},
		{`user-attribute: createrole`, known, administered, true, true},
		{`user-attribute: SUPERUSER`, known, administered, false, false},
		{`user-attribute: SUPERUSER`, policy.Session{}, administered, true, false},
		{`user-attribute: LOGIN`, modern, administered, true, false},
		{`member-of: dev`, modern, administered, true, false},
		{`administers: "yes"`, modern, administered, true, false},
		{`server-before: 16`, modern, administered, false, false},
		{`server-before: 16`, known, administered, true, true},
		{`server-before: 15`, known, administered, false, false},
		{`administers: "yes"`, known, administered, true, true},
		{`administers: "no"`, known, administered, false, false},
		{`administers: "no"`, known, policy.Action{Role: own("a")}, true, true},
		{`administers: "no"`, policy.Session{}, administered, true, false},
		{`administers: "no"`, policy.Session{}, policy.Action{Role: word("current_user")}, false, false},
		{`administers: "no"`, known, policy.Action{}, false, false},
	} {
		for verdict, want := range map[string]bool{"deny": c.deny, "allow": c.allow} {
			p := parse(t, "rules: [{name: it, "+c.conditions+", action: "+verdict+"}]")
			if d := p.Decide(c.session, c.action); (d.Rule == "it") != want {
				t.Errorf("{%s, action: %s}: decided by %s", c.conditions, verdict, d.Rule)
			}
		}
	}
}

func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		rules   string
		version int
		want    policy.Need
	}{
		{`{action: allow}`, 160000, policy.Need{}},
		{`{action: allow}`, 150000, policy.Need{Standing: true}},
		{`{action: allow}`, 0, policy.Need{Standing: true}},
		{`{member-of: x, action: deny}`, 180000, policy.Need{Members: true}},
		{`{user-attribute: CREATEROLE, action: deny}`, 180000, policy.Need{Standing: true}},
		{`{administers: "no", action: deny}`, 180000, policy.Need{Standing: true}},
		{`{member-of: x, server-before: 16, action: deny}`, 180000, policy.Need{}},
	} {
		if got := parse(t, "rules: ["+c.rules+"]").Needs(c.version); got != c.want {
			t.Errorf("%s at %d: %+v", c.rules, c.version, got)
		}
	}
	p := parse(t, `rules: [{statement: drop role, member-of: x, action: deny}]`)
	for _, c := range []struct {
		kind policy.Kind
		want policy.Need
	}{
		{policy.SetRole, policy.Need{}},
		{policy.DropRole, policy.Need{Standing: true, Members: true}},
		{policy.CreateRole, policy.Need{Standing: true}},
	} {
		if got := p.Needs(150000, c.kind); got != c.want {
			t.Errorf("%s: %+v", c.kind, got)
		}
	}
}

// TestAdministratorsOnly is the rule for servers on which CREATEROLE reaches every role.
func TestAdministratorsOnly(t *testing.T) {
	session := func(version int, attributes ...string) policy.Session {
		return policy.Session{Facts: &policy.Facts{Known: policy.Need{Standing: true}, ServerVersion: version, Attributes: attributes}}
	}
	administered := own("a")
	administered.Administered = true
	for _, c := range []struct {
		session policy.Session
		role    policy.Role
		denied  bool
	}{
		{session(150000, "CREATEROLE"), own("a"), true},
		{session(150000, "CREATEROLE"), global("a"), true},
		{session(150000, "CREATEROLE"), administered, false},
		{session(150000, "CREATEROLE"), word("current_user"), false},
		{session(150000), own("a"), false}, // the server says no
		{session(150000, "CREATEROLE"), policy.Role{Name: policy.UnknownRole}, true},
		{session(150000, "CREATEROLE", "SUPERUSER"), policy.Role{Name: policy.UnknownRole}, false},
		{session(160000, "CREATEROLE"), own("a"), false},
		{policy.Session{}, own("a"), true},
	} {
		for _, kind := range []policy.Kind{policy.CreateRole, policy.AlterRole, policy.DropRole, policy.GrantMembership, policy.RevokeMembership} {
			d := policy.Default().Decide(c.session, policy.Action{Kind: kind, Role: c.role})
			if denied := d.Rule == "default/administrators-only"; denied != c.denied {
				t.Errorf("%+v %s %+v: %s", c.session.Facts, kind, c.role, d.Rule)
			}
		}
	}
}

func TestConnect(t *testing.T) {
	p := parse(t, `
rules:
  - {user: mallory, action: deny}
  - {statement: connect, database: orders, user: intern, when: mon-fri 08:00-18:00 Europe/Berlin, action: allow}
  - {name: no-interns, statement: connect, user: intern, action: deny}
  - {name: ops, statement: [connect, create role], user: ops, action: warn}`)
	work := time.Date(2026, 11, 20, 7, 30, 0, 0, time.UTC) // a Friday, 08:30 in Berlin
	for _, c := range []struct {
		session policy.Session
		want    string
	}{
		{policy.Session{Database: "orders", User: "mallory"}, "default/server-authenticates"}, // that rule is about roles
		{policy.Session{Database: "orders", User: "intern", Time: work}, "rule 2"},
		{policy.Session{Database: "orders", User: "intern", Time: work.Add(-time.Hour)}, "no-interns"},
		{policy.Session{Database: "billing", User: "intern", Time: work}, "no-interns"},
		{policy.Session{Database: "billing", User: "ops"}, "ops"},
	} {
		d := p.Decide(c.session, policy.Action{Kind: policy.Connect})
		if d.Rule != c.want {
			t.Errorf("%+v: %s, want %s", c.session, d.Rule, c.want)
		}
		if d.Verdict == policy.Deny && d.Err.Code != scope.CodeInvalidAuthorization {
			t.Errorf("%+v: %+v", c.session, d.Err)
		}
	}
}

func TestWhen(t *testing.T) {
	for _, c := range []struct {
		when string
		at   string
		want bool
	}{
		{"mon-fri 08:00-18:00 Europe/Berlin", "2026-11-20T07:00:00Z", true},
		{"mon-fri 08:00-18:00 Europe/Berlin", "2026-11-20T06:59:59Z", false},
		{"mon-fri 08:00-18:00 Europe/Berlin", "2026-11-20T17:00:00Z", false},
		{"mon-fri 08:00-18:00 Europe/Berlin", "2026-07-20T06:00:00Z", true}, // summer time
		{"mon-fri", "2026-11-21T12:00:00Z", false},
		{"sat,sun", "2026-11-21T12:00:00Z", true},
		{"fri-mon", "2026-11-22T12:00:00Z", true},
		{"fri-mon", "2026-11-24T12:00:00Z", false},
		{"08:30-09:15", "2026-11-20T08:29:59Z", false},
		{"08:30-09:15", "2026-11-20T09:14:59Z", true},
		{"22:00-06:00", "2026-11-24T22:00:00Z", true},
		{"22:00-06:00", "2026-11-24T23:00:00Z", true},
		{"22:00-06:00", "2026-11-24T05:59:00Z", true},
		{"22:00-06:00", "2026-11-24T06:00:00Z", false},
		{"fri 22:00-06:00", "2026-11-21T03:00:00Z", true}, // of Friday
		{"fri 22:00-06:00", "2026-11-20T03:00:00Z", false},
		{"20:00-24:00", "2026-11-20T23:59:59Z", true},
		{"America/New_York", "2026-11-20T23:59:59Z", true},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		p := parse(t, "rules: [{name: it, when: '"+c.when+"', action: deny}]")
		if d := p.Decide(policy.Session{Time: at}, policy.Action{Kind: policy.DropRole}); (d.Rule == "it") != c.want {
			t.Errorf("%s at %s: %s", c.when, c.at, d.Rule)
		}
	}
}

func TestDeclared(t *testing.T) {
	session := modern
	session.Declared = &policy.Declared{
		Databases: map[string]policy.Declarations{"orders": {
			Roles: map[scope.Short]string{"app": "access.yaml:3"},
			Memberships: map[policy.Membership]string{
				{Role: "reader", Member: "app"}: "access.yaml:9", {Role: "pg_monitor", Member: "app"}: "access.yaml:10",
			},
			Grants: map[policy.Grant]string{
				{Grantee: "app", Object: "table"}: "access.yaml:14", {Grantee: "app", Object: "function"}: "access.yaml:15",
				{Grantee: "counter", Object: "sequence"}: "access.yaml:16", {Grantee: "counter", Object: "domain"}: "access.yaml:17",
			},
		}},
		Cluster: policy.Declarations{
			Roles:       map[scope.Short]string{"alice": "people.yaml:2"},
			Memberships: map[policy.Membership]string{{Role: "staff", Member: "alice"}: "people.yaml:5"},
			Grants: map[policy.Grant]string{
				{Grantee: "alice", Object: "tablespace"}: "people.yaml:7", {Grantee: "public", Object: "parameter"}: "people.yaml:8",
			},
		},
	}
	for _, c := range []struct {
		action policy.Action
		place  string
	}{
		{policy.Action{Kind: policy.AlterRole, Role: own("app")}, "access.yaml:3"},
		{policy.Action{Kind: policy.RenameRole, Role: own("x"), Grantee: own("app")}, "access.yaml:3"},
		{policy.Action{Kind: policy.DropRole, Role: global("alice")}, "people.yaml:2"},
		{policy.Action{Kind: policy.RevokeMembership, Role: own("reader"), Grantee: own("app")}, "access.yaml:9"},
		{policy.Action{Kind: policy.GrantMembership, Role: global("pg_monitor"), Grantee: own("app")}, "access.yaml:10"},
		{policy.Action{Kind: policy.RevokeMembership, Role: global("staff"), Grantee: global("alice")}, "people.yaml:5"},
		{policy.Action{Kind: policy.RevokePrivilege, Object: "table", Grantee: own("app")}, "access.yaml:14"},
		{policy.Action{Kind: policy.RevokePrivilege, Object: "schema", Grantee: own("app")}, ""},
		{policy.Action{Kind: policy.RevokePrivilege, Object: "sequence", Grantee: own("app")}, ""},
		{policy.Action{Kind: policy.GrantPrivilege, Object: "function", Grantee: own("app")}, "access.yaml:15"},
		{policy.Action{Kind: policy.GrantPrivilege, Object: "procedure", Grantee: own("app")}, "access.yaml:15"},
		{policy.Action{Kind: policy.RevokePrivilege, Object: "routine", Grantee: own("app")}, "access.yaml:15"},
		{policy.Action{Kind: policy.RevokePrivilege, Object: "routine", Grantee: own("counter")}, ""},
		{policy.Action{Kind: policy.RevokePrivilege, Object: "table", Grantee: own("counter")}, "access.yaml:16"},
		{policy.Action{Kind: policy.RevokePrivilege, Object: "type", Grantee: own("counter")}, "access.yaml:17"},
		{policy.Action{Kind: policy.GrantMembership, Role: own("reader"), Grantee: own("other")}, ""},
		{policy.Action{Kind: policy.DropOwned, Role: own("app")}, "access.yaml:14"},
		{policy.Action{Kind: policy.DropOwned, Role: own("reader")}, ""},
		{policy.Action{Kind: policy.DropOwned, Role: global("alice")}, "people.yaml:7"},
		{policy.Action{Kind: policy.GrantPrivilege, Object: "tablespace", Grantee: global("alice")}, "people.yaml:7"},
		{policy.Action{Kind: policy.GrantPrivilege, Object: "parameter", Grantee: policy.Role{Name: "public"}}, "people.yaml:8"},
		{policy.Action{Kind: policy.GrantPrivilege, Object: "tablespace", Grantee: own("alice")}, ""},
		{policy.Action{Kind: policy.AlterRole, Role: global("app")}, ""},
		{policy.Action{Kind: policy.SetRole, Role: own("app")}, ""},
	} {
		where := "It is declared at " + c.place + "."
		switch {
		case c.action.Kind == policy.DropOwned:
			where = fmt.Sprintf("Privileges of %q are declared at %s.", c.action.Role.Name, c.place)
		case c.action.Object != "":
			where = fmt.Sprintf("Privileges of %q on such objects are declared at %s.", c.action.Grantee.Name, c.place)
		}
		d := policy.Default().Decide(session, c.action)
		want := policy.Decision{Verdict: policy.Allow, Rule: "default/server-decides"}
		if c.place != "" {
			want = policy.Decision{Verdict: policy.Deny, Rule: "default/manifest-owns", Err: &scope.Error{
				Code: "42501", Message: "permission denied by policy: " + c.action.String(),
				Detail: `Rule "default/manifest-owns" of the built-in policy denies it.`,
				Hint:   "Change it in the manifest, or allow this in the policy. " + where,
			}}
		}
		if diff := cmp.Diff(want, d); diff != "" {
			t.Errorf("%v (-want +got)\n%s", c.action.String(), diff)
		}
		warned := parse(t, `rules: [{declared: "yes", action: warn}]`).Decide(session, c.action)
		if (warned.Verdict == policy.Warn) != (c.place != "") || warned.Warning != nil && warned.Warning.Hint != where {
			t.Errorf("%v: %+v", c.action.String(), warned)
		}
		if other := parse(t, `rules: [{database: billing, declared: "yes", action: allow}]`).Decide(session, c.action); (other.Verdict == policy.Deny) != (c.place != "") {
			t.Errorf("%v: %+v", c.action.String(), other)
		}
	}
	for _, c := range []struct {
		kind   policy.Kind
		denied bool
	}{{policy.DropRole, true}, {policy.GrantPrivilege, true}, {policy.ChangeOwner, false}, {policy.SetRole, false}} {
		a := policy.Action{Kind: c.kind, Role: policy.Role{Name: policy.UnknownRole}}
		if d := policy.Default().Decide(session, a); (d.Rule == "default/manifest-owns") != c.denied {
			t.Errorf("%s of a role that is not known: %s", c.kind, d.Rule)
		}
	}
}
