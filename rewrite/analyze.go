package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

const (
	// maxNames bounds the different role names of one text: each costs the server a look-up.
	maxNames = 10_000
	// maxSchemas bounds the different schemas that they are qualified with.
	maxSchemas = 256
	// maxWants bounds what one statement wants: GRANT a, b TO c, d wants four things.
	maxWants = 10_000
)

// Options is what of a session changes how its text is read.
type Options struct {
	ServerVersion   int    // server_version_num, e.g. 150018; 0 if unknown
	StandardStrings bool   // standard_conforming_strings
	Encoding        string // client_encoding as the server reported it, e.g. "UTF8"
	ServerEncoding  string // server_encoding as it reported it
}

// Analysis is what the statements of one text want with roles. It is immutable and holds nothing of a session: it can
// be kept by (text, Options) and used by many sessions at once.
type Analysis struct {
	source     *source
	statements []*statement
	names      []scope.Name
	asksUser   bool
	moves      bool // the text changes what names go by: search_path, role, mode
	resets     bool // it sets some of that back to the session's defaults
	setsMode   bool
	refused    bool // it is no SQL, and refused as a whole, whatever its names mean
	changes    []Change
	alone      bool // the text is one statement, and nothing else
	leave      int  // where the first part ends, which leaves a transaction, in bytes; 0: none, or roles are named before it
	results    Results
}

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

// Analyze parses a text of one or many statements and finds every role name in it. It returns nil, nil where neither the
// text nor its results have to do with roles or with scopes as a whole. It returns an error where they may have, but the
// text cannot be read: then it must not be forwarded.
func Analyze(sql string, o Options) (a *Analysis, refusal *Error) {
	defer func() {
		if p := recover(); p != nil {
			a, refusal = nil, faulty(p)
		}
	}()
	src, pieces, refusal := readPieces(sql, o)
	switch {
	case refusal != nil && mayUseRole(sql):
		return nil, refusal
	case refusal != nil:
		return nil, nil
	}
	a = &Analysis{source: src}
	for _, p := range pieces {
		a.statements = append(a.statements, p.statements()...)
	}
	a.statements, a.moves, a.resets = attachTransitions(a.statements)
	a.setsMode = slices.ContainsFunc(a.statements, func(s *statement) bool { return s.setsMode() })
	a.results = readResults(src.text, pieces)
	if len(a.statements) == 0 && !a.results.Any() {
		return nil, nil
	}
	malformed := slices.ContainsFunc(a.statements, func(s *statement) bool { return s.malformed })
	if leave := leavesAt(pieces); !malformed && len(a.statements) > 0 && leave <= a.statements[0].start {
		a.leave = leave
	}
	schemas := make(map[string]bool)
	a.collect(a.statements, make(map[scope.Name]bool), schemas)
	a.alone = len(pieces) == 1 && len(pieces[0].tree.GetStmts()) == 1
	if malformed {
		a.changes = nil
	}
	if a.refused = malformed && !a.setsMode; a.refused {
		a.names, a.asksUser, a.moves = nil, false, false
	}
	for i := range a.changes {
		a.changes[i].Alone = a.alone
	}
	if len(a.names) > maxNames || len(schemas) > maxSchemas {
		return nil, &Error{Error: tooManyNames}
	}
	return a, nil
}

var tooManyNames = scope.Error{
	Code:    scope.CodeProgramLimitExceeded,
	Message: fmt.Sprintf("a text cannot name more than %d roles, or roles of more than %d schemas", maxNames, maxSchemas),
	Hint:    "Send it in parts.",
}

// readPieces decodes and parses a text.
func readPieces(sql string, o Options) (*source, []piece, *Error) {
	src, err := readable(sql, o)
	if err != nil {
		return nil, nil, err
	}
	rd := o.reading()
	rd.unsure = setsStrings(src.text)
	pieces, err := parse(src.text, rd)
	if err != nil {
		return nil, nil, src.clientError(err)
	}
	return src, pieces, nil
}

// collect adds the names in the statements and in their bodies that were not seen yet, and the schemas of names.
func (a *Analysis) collect(list []*statement, seen map[scope.Name]bool, schemas map[string]bool) {
	ask := func(n scope.Name) {
		if !seen[n] {
			seen[n] = true
			a.names = append(a.names, n)
			schemas[n.Schema] = true
		}
	}
	for i := range list {
		a.asksUser = a.asksUser || list[i].asksUser()
		if list[i].refusal == nil {
			a.changes = append(a.changes, list[i].changes...)
		}
		for j, n := range list[i].names {
			if n.computed {
				continue
			}
			ask(n.full())
			if n.use == becomes && j > 0 {
				for renamed := range list[i].names[j-1].full().Renames(n.name) {
					ask(renamed)
				}
			}
		}
		for _, b := range list[i].bodies {
			a.collect(b.statements, seen, schemas)
		}
	}
}

// setsStrings reports whether a text may change standard_conforming_strings.
func setsStrings(sql string) bool {
	return strings.Contains(strings.ToLower(sql), "standard_conforming_strings")
}

// Names returns every name that must be asked about before Rewrite, each once. It belongs to the Analysis.
func (a *Analysis) Names() []scope.Name { return slices.Clip(a.names) }

// AsksUser reports whether Rewrite must know the session's current role, and its user, too.
func (a *Analysis) AsksUser() bool { return a.asksUser || a.moves }

// Moves reports whether the text changes what names go by: the search_path, the current role, the mode.
func (a *Analysis) Moves() bool { return a.moves }

// Resets reports whether it sets some of that back to the session's defaults.
func (a *Analysis) Resets() bool { return a.resets }

// SetsMode reports whether a statement of the text sets the mode.
func (a *Analysis) SetsMode() bool { return a.setsMode }

// SetsRole tells which role the text sets and whether for the transaction only, where it is nothing but one SET ROLE.
func (a *Analysis) SetsRole() (name scope.Short, local, ok bool) {
	if !a.alone || len(a.statements) != 1 {
		return "", false, false
	}
	s := a.statements[0]
	if s.refusal != nil || len(s.names) != 1 || len(s.wants) != 1 || s.wants[0].kind != policy.SetRole || s.wants[0].maybe || s.names[0].schema != "" {
		return "", false, false
	}
	return s.names[0].name, s.local, true
}

// reader reads one statement.
type reader struct {
	piece
	statement
	top       bool // whether the node at hand is the statement itself, not one inside it
	byOffset  map[int32]party
	wanted    map[int]bool    // names, counted from 1, that some want speaks of
	whole     bool            // CREATE DBONLY ROLE and its like: all names say DBONLY
	taken     []bool          // which of the extensions belong to a name
	enclosing policy.Kind     // what GRANT inside ALTER DEFAULT PRIVILEGES is
	owners    []party         // ALTER DEFAULT PRIVILEGES FOR ROLE
	inRows    []proto.Message // the nodes whose values are mapped in the rows of the result
}

// statements reads the statements of a piece.
func (p piece) statements() (list []*statement) {
	if p.unread != nil {
		s := &statement{end: len(p.tokens.sql), refusal: p.unread, malformed: true, tried: p.tried, allRoles: none, md5: none}
		if t := p.tokens.list; len(t) > 0 {
			s.start, s.end = t[0].start, t[len(t)-1].end
		}
		return []*statement{s}
	}
	for _, raw := range p.tree.GetStmts() {
		if s := readStatement(p, raw); s != nil {
			list = append(list, s)
		}
	}
	return list
}

// readStatement reads one statement. It returns nil for one that has nothing to do with roles or scopes.
func readStatement(p piece, raw *pg.RawStmt) *statement {
	start := p.base + int(raw.StmtLocation)
	end := start + int(raw.StmtLen)
	if raw.StmtLen == 0 { // up to the end
		end = len(p.tokens.sql)
	}
	t := p.tokens.from(start, end)
	for t.kind(0) == tokenSemicolon {
		t.list = t.list[1:]
	}
	for n := len(t.list); t.kind(n-1) == tokenSemicolon; n-- {
		t.list = t.list[:n-1]
	}
	if len(t.list) == 0 {
		return nil
	}
	r := &reader{piece: p, top: true}
	r.tokens = t
	r.start, r.end = t.list[0].start, t.list[len(t.list)-1].end
	r.allRoles, r.md5 = none, none
	r.readExtensions(start, end)
	walk(raw.Stmt.ProtoReflect(), r.node)
	for _, column := range p.named(raw.Stmt) {
		if targets := raw.Stmt.GetSelectStmt().GetTargetList(); column < len(targets) {
			r.inRows = append(r.inRows, resultNode(targets[column].GetResTarget().GetVal()))
		}
	}
	r.readCatalog(raw.Stmt)
	r.finish()
	r.transitions = append(r.transitions, transitionsOf(raw.Stmt)...)
	if r.idle() && r.transitions == nil {
		return nil
	}
	return r.done()
}

// done returns the statement, without what it was read from.
func (r *reader) done() *statement {
	s := r.statement
	return &s
}

// walk visits every node of a tree, a parent before its children.
func walk(m protoreflect.Message, visit func(proto.Message)) {
	visit(m.Interface())
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for list, i := v.List(), 0; i < list.Len(); i++ {
				walk(list.Get(i).Message(), visit)
			}
		default:
			walk(v.Message(), visit)
		}
		return true
	})
}

// finish gives each name that no want speaks of a want of its own, so that the policy sees every name.
func (r *reader) finish() {
	r.leftOver()
	for i := range r.names {
		if !r.wanted[i+1] {
			r.want(want{kind: policy.NameRole, role: party{name: i + 1}})
		}
	}
	if r.refusal == nil && len(r.wants) >= maxWants {
		r.refuse(r.start, scope.Error{
			Code:    scope.CodeProgramLimitExceeded,
			Message: "this statement names too many roles",
			Detail:  fmt.Sprintf("It wants more than %d things.", maxWants),
		})
	}
}

// refuse refuses the statement; the first reason is kept.
func (r *reader) refuse(offset int, err scope.Error) {
	if r.refusal == nil {
		r.refusal = at(err, r.tokens.sql, offset)
	}
}

// refuseText refuses the text, for what the server's grammar does not take.
func (r *reader) refuseText(offset int, err scope.Error) {
	if !r.malformed {
		r.refusal, r.malformed = at(err, r.tokens.sql, offset), true
		r.refusal.Grammar = true
	}
}

func (r *reader) want(w want) {
	if len(r.wants) >= maxWants {
		return
	}
	r.wants = append(r.wants, w)
	if r.wanted == nil {
		r.wanted = make(map[int]bool)
	}
	r.wanted[w.role.name], r.wanted[w.grantee.name] = true, true
}

// add takes in a name whose place is known. inTree is what the parser has for it, cut at MaxName bytes: where the two
// differ the place is not the name's, and the statement is refused.
func (r *reader) add(s spot, err error, inTree string, u use) party {
	if err == nil && !sameName(string(s.name), inTree) {
		err = fmt.Errorf("found %q in its place", s.name)
	}
	if err != nil {
		r.refuse(r.start, scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf(`role name "%s" could not be located, so it could not be mapped`, inTree),
			Detail:  err.Error(),
			Hint:    "Write the name as a plain or quoted identifier.",
		})
		return party{}
	}
	n := name{spot: s, use: u}
	r.extend(&n)
	r.names = append(r.names, n)
	return party{name: len(r.names)}
}

// sameName compares a name with what the parser has cut it to (truncate_identifier, scansup.c).
func sameName(name, cut string) bool {
	return name == cut || len(name) > scope.MaxName && len(cut) <= scope.MaxName && len(cut) > scope.MaxName-4 && name[:len(cut)] == cut
}
