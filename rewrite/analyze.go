package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

const (
	// maxNames bounds the different role names of one text: each costs the server a look-up.
	maxNames = 10_000
	// maxSchemas bounds the different schemas that they are qualified with.
	maxSchemas = 256
)

// Options is what of a session changes how its text is read.
type Options struct {
	ServerVersion   int    // server_version_num, e.g. 150018; 0 if unknown
	StandardStrings bool   // standard_conforming_strings
	Encoding        string // client_encoding as the server reported it, e.g. "UTF8"
	ServerEncoding  string // server_encoding as it reported it
	OIDs            Parameters
}

// Analysis is what the statements of one text want with roles. It is immutable and holds nothing of a session: it can
// be kept by (text, Options) and used by many sessions at once.
type Analysis struct {
	source     *source
	statements []*statement
	names      []scope.Name
	databases  map[string]bool // that roles have settings in
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

// Analyze parses a text of one or many statements and finds every role name in it. It returns nil, nil where neither the
// text nor its results have to do with roles or with scopes as a whole, and it deallocates nothing. It returns an error where
// they may have, but the text cannot be read: then it must not be forwarded.
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
	a = &Analysis{source: src, databases: make(map[string]bool)}
	for _, p := range pieces {
		a.statements = append(a.statements, p.statements()...)
	}
	a.statements, a.moves, a.resets = attachTransitions(a.statements)
	a.setsMode = slices.ContainsFunc(a.statements, func(s *statement) bool { return s.setsMode() })
	a.results = readResults(src.text, pieces)
	if !a.Maps() && a.results.Deallocates == nil {
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
		if name := list[i].database; name != "" {
			a.databases[name] = true
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

// Inquire returns the inquiry that must be answered before Rewrite. What is known of the session's database is taken for
// true; whether it was, [scope.View.Knows] tells of the answer.
func (a *Analysis) Inquire(db scope.Database) scope.Inquiry {
	q := db.Inquire(a.names...)
	q.User, q.Moves, q.Resets = a.asksUser || a.moves, a.moves, a.resets
	for name := range a.databases {
		if name != db.Name {
			q.Others = append(q.Others, name)
		}
	}
	return q
}

// Asks reports whether Rewrite needs the answer to the inquiry, or to know in which mode the session is: for role
// statements, and for what changes a database or a schema as a whole; not for queries, nor for a text that is no SQL.
func (a *Analysis) Asks() bool {
	if a.refused {
		return false
	}
	return len(a.changes) > 0 || a.asksUser || a.moves ||
		slices.ContainsFunc(a.statements, func(s *statement) bool { return s.names != nil || s.references == nil })
}

// Maps reports whether there may be something to map, in the text or in its results. If not, it only deallocates.
func (a *Analysis) Maps() bool { return len(a.statements) > 0 || a.results.Any() }

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
