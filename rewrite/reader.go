package rewrite

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// maxWants bounds what one statement wants: GRANT a, b TO c, d wants four things.
const maxWants = 10_000

// reader reads one statement.
type reader struct {
	piece
	statement
	top       bool // whether the node at hand is the statement itself, not one inside it
	byOffset  map[int32]party
	wanted    map[int]bool           // names, counted from 1, that some want speaks of
	whole     bool                   // CREATE DBONLY ROLE and its like: all names say DBONLY
	taken     []bool                 // which of the extensions belong to a name
	enclosing policy.Kind            // what GRANT inside ALTER DEFAULT PRIVILEGES is
	owners    []party                // ALTER DEFAULT PRIVILEGES FOR ROLE
	inRows    map[proto.Message]bool // the nodes whose values are mapped in the rows of the result
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
	r := &reader{piece: p, top: true, inRows: make(map[proto.Message]bool)}
	r.tokens = t
	r.start, r.end = t.list[0].start, t.list[len(t.list)-1].end
	r.allRoles, r.md5 = none, none
	r.readExtensions(start, end)
	walk(raw.Stmt.ProtoReflect(), r.node)
	for _, column := range p.named(raw.Stmt) {
		if targets := raw.Stmt.GetSelectStmt().GetTargetList(); column < len(targets) {
			r.inRows[resultNode(targets[column].GetResTarget().GetVal())] = true
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
