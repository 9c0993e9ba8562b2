package rewrite

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// statement is one statement that has to do with roles, or changes what names depend on.
type statement struct {
	start, end  int // its tokens' bytes in the text
	names       []name
	wants       []want
	references  []reference  // what in it reads or says names by means of SQL
	refusal     *Error       // refused, whatever the names mean
	unmapped    *Error       // refused where names are mapped: one cannot be
	malformed   bool         // so is the text: it is no SQL, of which the server would run nothing
	tried       bool         // unless the server says what is wrong with the text
	blanked     []extension  // to be taken out
	mode        scope.Mode   // SET pgscope.mode: how later statements of the text are read
	local       bool         // SET LOCAL ROLE
	earlier     []transition // what idle statements between it and the one before it do to the session's state
	transitions []transition // what it does itself
	users       []spot       // "$user" in a search_path that is set for the session
	schemaOf    extra        // CREATE SCHEMA AUTHORIZATION CURRENT_USER, or SESSION_USER: the schema's name; else noExtra
	standard    []spot       // DEFAULT in SET search_path TO DEFAULT for the session
	allRoles    int          // ALTER ROLE ALL of the whole cluster: where it stands; else none
	database    string       // ALTER ROLE … IN DATABASE, ALTER DATABASE … SET: where its settings will be in force
	md5         int          // PASSWORD 'md5…': where it stands; else none
	bodies      []body       // texts in its strings that run with it
	quotes      bool         // they may raise what the server said in an error
	makes       bool         // they make roles whose names are computed
	unseen      []unseen     // texts in its strings that name roles and are not mapped
	changes     []Change     // what it does to databases and schemas as a whole
}

// none is the place of what is not there.
const none = -1

// use is what a statement does with a name.
type use int

const (
	refers  use = iota
	creates     // CREATE ROLE
	drops       // DROP ROLE
	renames     // ALTER ROLE … RENAME
	becomes     // RENAME TO …
)

// name is one role name in a statement.
type name struct {
	spot
	schema   string // that the name is qualified with; else empty
	from     int    // byte of the text where it begins, schema and all
	use      use
	dbonly   bool
	computed bool // where the statement stands, from what the block has: it is not known
	lax      bool // DROP ROLE IF EXISTS: its schema need not exist either
	extra    extra
}

// makes reports whether a role is made of a name that is not known.
func (n name) makes() bool { return n.computed && n.use == creates }

// full is the name as it is resolved.
func (n name) full() scope.Name { return scope.Name{Schema: n.schema, Role: n.name} }

// extra is text that a name which is mapped brings into its statement elsewhere: CREATE ROLE takes the marker into its
// IN ROLE list, CREATE SCHEMA AUTHORIZATION takes the short name for the schema's.
type extra struct {
	what          extraKind
	at            int // byte of the text
	before, after string
}

type extraKind int

const (
	noExtra extraKind = iota
	extraMarker
	extraShort
	extraSession // extraShort of the session's user
)

// want is a policy.Action before its names are resolved.
type want struct {
	kind          policy.Kind
	role, grantee party
	attributes    []string
	object        string
	mode          scope.Mode
	maybe         bool // it stands in a query, which may not come to it, or may turn out to want something else
}

// party is a role of a want: one of the statement's names, counted from 1, or a special word. The zero value is nobody.
type party struct {
	name int
	word scope.Short
}

// idle reports whether a statement has nothing to do with roles.
func (s *statement) idle() bool {
	return s.refusal == nil && s.wants == nil && s.bodies == nil && s.unseen == nil && s.users == nil && s.standard == nil && s.changes == nil && s.references == nil
}

// acts reports whether the statement sets a role.
func (s *statement) acts() bool {
	return slices.ContainsFunc(s.wants, func(w want) bool { return w.kind == policy.SetRole || w.kind == policy.SetSessionAuth })
}

func (s *statement) setsMode() bool {
	return slices.ContainsFunc(s.wants, func(w want) bool { return w.kind == policy.SetMode })
}
