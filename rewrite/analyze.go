package rewrite

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

const (
	// maxNames bounds the different role names of one text: each costs the server a look-up.
	maxNames = 10_000
	// maxWants bounds what one statement wants: GRANT a, b TO c, d wants four things.
	maxWants = 10_000
)

// Options is what of a session changes how its text is read.
type Options struct {
	ServerVersion   int    // server_version_num, e.g. 150018; 0 if unknown
	StandardStrings bool   // standard_conforming_strings
	Encoding        string // client_encoding as the server reported it, e.g. "UTF8"
}

// Analysis is what the statements of one text want with roles. It is immutable and holds nothing of a session: it can
// be kept by (text, Options) and used by many sessions at once.
type Analysis struct {
	sql        string
	statements []statement
	names      []scope.Short
	changes    []Change
}

// statement is one statement that has to do with roles.
type statement struct {
	start, end int // its tokens' bytes in the text
	names      []name
	wants      []want
	refusal    *Error     // refused, whatever the names mean
	blanked    []token    // the words DBONLY, to be taken out
	mode       scope.Mode // SET pgscope.mode: how later statements of the text are read
	allRoles   int        // ALTER ROLE ALL of the whole cluster: where it stands; else none
	database   string     // ALTER ROLE … IN DATABASE, ALTER DATABASE … SET: where its settings will be in force
	md5        int        // PASSWORD 'md5…': where it stands; else none
	changes    []Change
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
	use    use
	dbonly bool
	extra  extra
}

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
)

// want is a policy.Action before its names are resolved.
type want struct {
	kind          policy.Kind
	role, grantee party
	attributes    []string
	object        string
	mode          scope.Mode
}

// party is a role of a want: one of the statement's names, counted from 1, or a special word. The zero value is nobody.
type party struct {
	name int
	word scope.Short
}

// Analyze parses a text of one or many statements and finds every role name in it. It returns nil, nil where the text
// has nothing to do with roles, nor with scopes as a whole, and an error where it may have, but cannot be read: then it must not be forwarded.
func Analyze(sql string, o Options) (a *Analysis, refusal *Error) {
	defer func() {
		if p := recover(); p != nil {
			a, refusal = nil, &Error{Error: notRead(p)}
		}
	}()
	pieces, refusal := parse(sql, o)
	if refusal != nil {
		return nil, refusal
	}
	a = &Analysis{sql: sql}
	for _, p := range pieces {
		for _, raw := range p.tree.Stmts {
			if s := readStatement(p, raw); s != nil {
				a.statements = append(a.statements, *s)
			}
		}
	}
	if len(a.statements) == 0 {
		return nil, nil
	}
	seen := make(map[scope.Short]bool)
	alone := len(pieces) == 1 && len(pieces[0].tree.Stmts) == 1
	for i := range a.statements {
		for _, c := range a.statements[i].changes {
			c.Alone = alone
			a.changes = append(a.changes, c)
		}
		for _, n := range a.statements[i].names {
			if !seen[n.name] {
				seen[n.name] = true
				a.names = append(a.names, n.name)
			}
		}
	}
	if len(a.names) > maxNames {
		return nil, &Error{Error: scope.Error{
			Code:    scope.CodeProgramLimitExceeded,
			Message: fmt.Sprintf("a text cannot name more than %d roles", maxNames),
			Hint:    "Send it in parts.",
		}}
	}
	return a, nil
}

// Names returns every short name that must be asked about before Rewrite, each once. It belongs to the Analysis.
func (a *Analysis) Names() []scope.Short { return slices.Clip(a.names) }

// reader reads one statement.
type reader struct {
	piece
	statement
	top       bool // whether the node at hand is the statement itself, not one inside it
	byOffset  map[int32]party
	wanted    map[int]bool // names, counted from 1, that some want speaks of
	whole     bool         // CREATE DBONLY ROLE and its like: all names say DBONLY
	enclosing policy.Kind  // what GRANT inside ALTER DEFAULT PRIVILEGES is
	owners    []party      // ALTER DEFAULT PRIVILEGES FOR ROLE
}

// readStatement returns nil for a statement that has nothing to do with roles or scopes.
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
	r.readDBOnly()
	walk(raw.Stmt.ProtoReflect(), r.node)
	r.finish()
	if r.refusal == nil && r.wants == nil && r.changes == nil {
		return nil
	}
	return &r.statement
}

// readDBOnly finds the words DBONLY of the statement, and whether one stands before its ROLE, USER or GROUP.
func (r *reader) readDBOnly() {
	for _, k := range r.dbonly {
		if k.start < r.tokens.list[0].start || k.start > r.end {
			continue
		}
		r.blanked = append(r.blanked, k)
		switch next := r.tokens.index(k.start); r.tokens.kind(next) {
		case pg.Token_ROLE, pg.Token_USER, pg.Token_GROUP_P:
			switch r.tokens.kind(next - 1) {
			case pg.Token_CREATE, pg.Token_ALTER, pg.Token_DROP, pg.Token_ON:
				r.whole = true
			}
		}
	}
	slices.SortFunc(r.blanked, func(a, b token) int { return a.start - b.start })
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

// finish gives each name that no want speaks of one of its own, so that none goes by unseen.
func (r *reader) finish() {
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
	dbonly := r.whole || r.afterDBOnly(s.start)
	r.names = append(r.names, name{spot: s, use: u, dbonly: dbonly})
	return party{name: len(r.names)}
}

// sameName compares a name with what the parser has cut it to (truncate_identifier, scansup.c).
func sameName(name, cut string) bool {
	return name == cut || len(name) > scope.MaxName && len(cut) <= scope.MaxName && len(cut) > scope.MaxName-4 && name[:len(cut)] == cut
}

// afterDBOnly reports whether the word DBONLY stands before the name at the byte, or before the ROLE, USER or GROUP
// that stands before it.
func (r *reader) afterDBOnly(start int) bool {
	if len(r.blanked) == 0 {
		return false
	}
	before := r.tokens.index(start) - 1
	switch r.tokens.kind(before) {
	case pg.Token_ROLE, pg.Token_USER, pg.Token_GROUP_P:
		before--
	}
	for _, k := range r.blanked {
		if k.start < start && (before < 0 || k.start > r.tokens.list[before].start) {
			return true
		}
	}
	return false
}
