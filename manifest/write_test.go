package manifest_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/manifest"
	"github.com/pgscope/pgscope-proxy/scope"
)

// sameDesired compares what is desired, wherever it is written.
var sameDesired = cmp.Options{cmpopts.IgnoreTypes(access.Place{}), cmpopts.EquateEmpty()}

// TestWriteReadsBack: whatever can be desired reads back as it was written, and is written again in the same bytes.
func TestWriteReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, o := desired(t)
		var text bytes.Buffer
		if err := manifest.Write(&text, &d); err != nil {
			t.Fatal(err)
		}
		m, err := manifest.Parse("m.yaml", text.Bytes(), o)
		if err != nil {
			t.Fatalf("%v\n%s", err, &text)
		}
		if diff := cmp.Diff(d, m.Databases[0], sameDesired); diff != "" {
			t.Fatalf("%s\n%s", diff, &text)
		}
		var again bytes.Buffer
		if err := manifest.Write(&again, &m.Databases[0]); err != nil || again.String() != text.String() {
			t.Fatalf("%v, written again:\n%s\nfirst:\n%s", err, &again, &text)
		}
	})
}

// word draws a name as people and machines may choose it, but for those that the server reserves.
var word = rapid.OneOf(
	rapid.StringMatching(`[a-z][a-z_]{0,10}`),
	rapid.SampledFrom([]string{"yes", "null", "off", "~", "1", "0x10", "1e3", "a: b", "- a", "#", "{", "*x", "&x", "!x", "%", "a#b", " ", "\"", "'", "\\", "é", "a\nb", "\t", "\u0085", "\u2028", "=", "<<"}),
	rapid.StringN(1, 12, 30).Filter(func(s string) bool { return !strings.ContainsAny(s, "\x00\ufffd") }),
).Filter(func(s string) bool { return !strings.HasPrefix(s, "pg_") })

// desired draws an access, and the options to read it with.
func desired(t *rapid.T) (access.Desired, manifest.Options) {
	var d access.Desired
	o := manifest.Options{Scope: rapid.SampledFrom([]manifest.Scope{manifest.Database, manifest.None}).Draw(t, "scope")}
	coin := func() bool { return rapid.Bool().Draw(t, "coin") }
	names := rapid.SliceOfNDistinct(word, 2, 9, rapid.ID).Draw(t, "names")
	schemas := rapid.SliceOfNDistinct(word, 1, 3, rapid.ID).Draw(t, "schemas")
	for i, name := range names {
		r := access.Role{
			Ref:   access.Ref{Kind: access.Own, Name: scope.Name{Role: scope.Short(fmt.Sprintf("%s%d", name, i))}},
			Login: coin(), Superuser: coin(), CreateDB: coin(), CreateRole: coin(), Replication: coin(), BypassRLS: coin(),
			Inherit: coin(), ConnectionLimit: rapid.IntRange(-1, 100).Draw(t, "limit"), PreserveGrants: coin(),
		}
		switch r.External = i > 1 && coin(); {
		case r.External || o.Scope == manifest.None:
			r.Kind = access.Global
		case coin():
			r.Name.Schema = schemas[0]
		}
		if r.External { // what it is, others say
			r = access.Role{Ref: r.Ref, External: true, PreserveGrants: r.PreserveGrants, Inherit: true, ConnectionLimit: -1}
			d.Roles = append(d.Roles, r)
			continue
		}
		if coin() {
			r.Comment = word.Draw(t, "comment")
		}
		if r.Login && coin() {
			r.Password = &access.Password{FromEnv: word.Draw(t, "variable")}
		}
		if coin() {
			r.ValidUntil = time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "until"), 0).UTC().Format(time.RFC3339)
		}
		if coin() {
			r.Settings = []access.Setting{{Name: "a.b", Value: word.Draw(t, "value")}, {Name: "search_path", Value: "", InDatabase: true}}
		}
		d.Roles = append(d.Roles, r)
	}
	anyRole := func() access.Ref { return rapid.SampledFrom(d.Roles).Draw(t, "role").Ref }
	for _, name := range schemas {
		s := access.SchemaSpec{Name: "s" + name}
		if coin() {
			s.Owner = anyRole()
		}
		d.Schemas = append(d.Schemas, s)
	}
	seen := make(map[any]bool)
	for range rapid.IntRange(0, 20).Draw(t, "grants") {
		// Absent is what everyone shall not have; so nothing contradicts.
		g := access.Grant{Grantee: access.Ref{Kind: access.Public}, Absent: true}
		if coin() {
			g = access.Grant{Grantee: anyRole(), GrantOption: coin()}
		}
		g.On.Kind = rapid.SampledFrom(access.Kinds()).Draw(t, "kind")
		info := g.On.Kind.Info()
		g.Privileges = some(t, info.Privileges)
		if info.InSchema {
			g.On.Schema = rapid.SampledFrom(schemas).Draw(t, "schema")
		}
		switch {
		case info.InSchema && coin():
			g.On.Pattern = rapid.SampledFrom([]string{"%", "a%", "*"}).Draw(t, "pattern")
		case g.On.Kind == access.LargeObject:
			g.On.Name = "4711"
		case g.On.Kind == access.Parameter:
			g.On.Name = "work_mem"
		case g.On.Kind == access.Routine:
			g.On.Name = "f(integer, text)"
		default:
			g.On.Name = "o" + word.Draw(t, "object")
		}
		if info.Columns != 0 && coin() {
			g.On.Column, g.Privileges = word.Draw(t, "column"), some(t, info.Columns)
		}
		if key := (struct {
			a access.Ref
			b access.Selector
		}{g.Grantee, g.On}); !seen[key] {
			seen[key] = true
			d.Grants = append(d.Grants, g)
		}
	}
	for range rapid.IntRange(0, 6).Draw(t, "defaults") {
		g := access.DefaultPrivilege{Owner: anyRole(), Grantee: anyRole(), GrantOption: coin()}
		if coin() {
			g.Schema = rapid.SampledFrom(schemas).Draw(t, "schema")
		}
		kinds := []access.Kind{access.Table, access.Sequence, access.Routine, access.Type}
		if g.Schema == "" {
			kinds = append(kinds, access.Schema, access.LargeObject)
		}
		g.Kind = rapid.SampledFrom(kinds).Draw(t, "kind")
		g.Privileges = some(t, g.Kind.Info().Privileges)
		key := g
		key.GrantOption, key.Privileges = false, 0
		if !seen[key] {
			seen[key] = true
			d.Defaults = append(d.Defaults, g)
		}
	}
	for i, r := range d.Roles[:len(d.Roles)-1] {
		if coin() {
			continue
		}
		m := access.Membership{Role: r.Ref, Exclusive: !r.External || coin()}
		for _, member := range d.Roles[i+1:] {
			if coin() {
				m.Members = append(m.Members, access.Member{Ref: member.Ref, Admin: coin(), Inherit: coin(), Set: coin()})
			}
		}
		d.Memberships = append(d.Memberships, m)
	}
	if coin() {
		gone := access.Retirement{Ref: d.Roles[0].Ref, ReassignTo: anyRole(), DropOwned: coin(), TerminateSessions: coin()}
		gone.Name = scope.Name{Role: "gone"}
		d.Retirements = append(d.Retirements, gone)
	}
	return d, o
}

// some draws a set that is not empty from those that may be.
func some(t *rapid.T, may access.Privileges) access.Privileges {
	var p access.Privileges
	for _, word := range may.Words() {
		one, _ := access.ParsePrivilege(word)
		if p == 0 || rapid.Bool().Draw(t, word) {
			p |= one
		}
	}
	return p
}
