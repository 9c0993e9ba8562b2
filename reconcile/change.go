package reconcile

import (
	"fmt"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Step is what a change does. Changes are made in the order of the steps: what gives access comes before what takes it
// away, so that nobody is without it in between; object privileges go before the memberships that may be needed to
// revoke them.
type Step uint8

// The steps.
const (
	Enrol Step = iota + 1
	CreateRole
	CreateSchema
	EnrolSchema
	CreateSchemaRole
	OwnSchema
	EnrolRole
	AlterRole
	SetPassword
	CommentRole
	TurnMembership // a membership that the next step gives the other way round
	GrantMembership
	SetParameter
	Grant
	GrantDefault
	RevokeDefault
	Revoke
	GrantColumns // a REVOKE on a table takes the same from its columns
	RevokeMembership
	DisableRole
	EndSessions
	KeepGift
	RevokeGift
	ReassignOwned
	DropOwned
	DropRole
)

// stage is a transaction of its own, or, for what no transaction can take back, none.
type stage uint8

const (
	inMain     stage = iota // of the manifest's database
	inShut                  // of the manifest's database again
	inNone                  // sessions stay ended whatever happens after
	inDatabase              // of each database that a retired role has something in
	inLast                  // of the manifest's database once more
)

var steps = [...]struct {
	name  string
	stage stage
	// drops: not in mode adopt. takes: not in mode additive.
	drops, takes bool
}{
	Enrol:            {name: "enrol"},
	CreateRole:       {name: "create role"},
	AlterRole:        {name: "alter role", takes: true},
	SetPassword:      {name: "set password", takes: true},
	CommentRole:      {name: "comment", takes: true},
	CreateSchema:     {name: "create schema"},
	EnrolSchema:      {name: "enrol schema"},
	CreateSchemaRole: {name: "create role"},
	OwnSchema:        {name: "schema owner", takes: true},
	EnrolRole:        {name: "enrol role"},
	TurnMembership:   {name: "remove member", takes: true},
	GrantMembership:  {name: "add member"},
	SetParameter:     {name: "setting", takes: true},
	Grant:            {name: "grant"},
	GrantDefault:     {name: "default grant"},
	RevokeDefault:    {name: "default revoke", takes: true},
	Revoke:           {name: "revoke", takes: true},
	GrantColumns:     {name: "grant"},
	RevokeMembership: {name: "remove member", takes: true},
	DisableRole:      {name: "disable role", drops: true, takes: true, stage: inShut},
	EndSessions:      {name: "end sessions", drops: true, takes: true, stage: inNone},
	KeepGift:         {name: "grant", drops: true, stage: inDatabase},
	RevokeGift:       {name: "revoke", drops: true, takes: true, stage: inDatabase},
	ReassignOwned:    {name: "reassign owned", drops: true, takes: true, stage: inDatabase},
	DropOwned:        {name: "drop owned", drops: true, takes: true, stage: inDatabase},
	DropRole:         {name: "drop role", drops: true, takes: true, stage: inLast},
}

func (s Step) String() string { return steps[s].name }

// in reports whether the mode has the step.
func (s Step) in(m Mode) bool {
	return (m != Additive || !steps[s].takes) && (m != Adopt || !steps[s].drops)
}

// Change is one thing to do, mostly one statement.
type Change struct {
	Step     Step
	Database string // where, unless it is the manifest's database
	Subject  string // what it is about, as the manifest calls it
	Reason   string
	Places   []access.Place // of what the manifest says about it; empty where it says nothing
	SQL      string         // without secrets: a password stands as ***
	Undo     string         // what takes it back; empty where nothing can
	Rights   int            // how many single rights a grant or revoke gives or takes

	lent     []scope.Cluster  // roles that the executor makes itself a member of for as long as it takes; empty names are none
	fresh    bool             // part of making a role: in every mode
	retires  scope.Cluster    // the role that goes by this and other changes, each of which needs those before it
	role     scope.Cluster    // of SetPassword
	password *access.Password // of SetPassword
	rounds   int              // of SetPassword: how often it is hashed
	blind    bool             // of SetPassword: the stored one may not be read
}

func (c Change) String() string { return fmt.Sprintf("%v %s: %s", c.Step, c.Subject, c.Reason) }

// hidden stands for a password wherever it is shown.
const hidden = "'***'"

// Adds reports whether nothing that was there is less, or other, after the change.
func (c Change) Adds() bool { return c.fresh || !steps[c.Step].takes }

func alterRole(role scope.Cluster, options string) string {
	return "ALTER ROLE " + role.Ident() + " " + options
}

func commentSQL(role scope.Cluster, comment string) string {
	text := "NULL"
	if comment != "" {
		text = scope.QuoteLiteral(comment)
	}
	return "COMMENT ON ROLE " + role.Ident() + " IS " + text
}

// idents joins roles as a list in SQL.
func idents(roles []scope.Cluster) string {
	list := make([]string, len(roles))
	for i, r := range roles {
		if list[i] = r.Ident(); r == "" {
			list[i] = "PUBLIC"
		}
	}
	return strings.Join(list, ", ")
}

// acting wraps statements that only work as another role.
func acting(as scope.Cluster, sql string) string {
	if as == "" {
		return sql
	}
	return "SET LOCAL ROLE " + as.Ident() + "; " + sql + "; RESET ROLE"
}

// objectSQL returns how the object is called in GRANT.
func (o *Object) objectSQL() string {
	switch {
	case o.Kind == access.Routine:
		in := ""
		if o.Shared && o.Args != "" { // with a mode they are not also taken for all arguments of a procedure (LookupFuncWithArgs, parse_func.c)
			in = "IN "
		}
		return scope.QuoteIdent(o.Schema) + "." + scope.QuoteIdent(o.Name) + "(" + in + o.Args + ")"
	case o.Kind == access.LargeObject:
		return o.Name
	case o.Kind == access.Parameter:
		return scope.SettingIdent(o.Name)
	case o.Kind.Info().InSchema:
		return scope.QuoteIdent(o.Schema) + "." + scope.QuoteIdent(o.Name)
	default:
		return scope.QuoteIdent(o.Name)
	}
}

// on is the part of a statement that names the object.
func (o *Object) on() string { return " ON " + o.Kind.Info().Word + " " + o.objectSQL() }

// String returns what people call the object.
func (o *Object) String() string {
	name := o.Name
	if o.Schema != "" {
		name = o.Schema + "." + name
	}
	if o.Kind == access.Routine {
		name += "(" + o.Args + ")"
	}
	return o.Kind.String() + " " + name
}

// Blind reports whether the change sets a password that the server does not show: nobody can tell whether it is needed.
func (c Change) Blind() bool { return c.password != nil && c.blind }
