package rewrite

import (
	"slices"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// ChangeKind says what a statement does to a database or a schema as a whole.
type ChangeKind int

const (
	DropDatabase   ChangeKind = iota // DROP DATABASE name
	RenameDatabase                   // ALTER DATABASE name RENAME TO …
	CopyDatabase                     // CREATE DATABASE … TEMPLATE name
	DropSchema                       // DROP SCHEMA name; one change for each name
	RenameSchema                     // ALTER SCHEMA name RENAME TO …
)

// Change is what a statement does to a scope: the roles in it must follow.
type Change struct {
	Kind  ChangeKind
	Name  string // of the database or schema; of a copy, its template
	To    string // the new name, where it is renamed
	Alone bool   // whether the statement is the only one of its text

	start, end int // the statement's bytes in the text
}

// defaultTemplate is what CREATE DATABASE copies unless it says otherwise (createdb, src/backend/commands/dbcommands.c).
const defaultTemplate = "template1"

// Changes returns what the statements of the text do to databases and schemas, in order. It belongs to the Analysis.
func (a *Analysis) Changes() []Change { return a.changes }

// Refuse refuses the statement that a change is from, as if [Analysis.Rewrite] had done so.
func (a *Analysis) Refuse(res *Result, c Change, err scope.Error) {
	src := a.source
	start, end := src.layers.outer(c.start), src.layers.outer(c.end)
	res.Edits = slices.DeleteFunc(res.Edits, func(e edit) bool { return start <= e.start && e.end <= end })
	res.refuse(start, end, src.clientError(at(err, src.text, c.start)))
	res.Edits.sort()
	res.SQL = res.Edits.apply(src.client)
}

// Precede puts a statement of the proxy's own before the text. Positions still point into what the client wrote. It fails
// where the statement cannot be written in the client's character set.
func (a *Analysis) Precede(res *Result, sql string) *scope.Error {
	edits, err := a.source.clientEdits(Edits{{text: sql + "; "}})
	if err != nil {
		return err
	}
	res.Edits = append(edits, res.Edits...)
	res.SQL = res.Edits.apply(a.source.client)
	return nil
}

// change notes what a statement does to a database or a schema. Inside of another statement the server takes none of these.
func (r *reader) change(kind ChangeKind, name, to string) {
	if r.top {
		r.changes = append(r.changes, Change{Kind: kind, Name: name, To: to, start: r.start, end: r.end})
	}
}

// ALTER DATABASE|SCHEMA name RENAME TO name
func (r *reader) renameScope(n *pg.RenameStmt) {
	switch n.RenameType {
	case pg.ObjectType_OBJECT_DATABASE:
		r.change(RenameDatabase, n.Subname, n.Newname)
	case pg.ObjectType_OBJECT_SCHEMA:
		r.change(RenameSchema, n.Subname, n.Newname)
	}
}

// CREATE DATABASE name [TEMPLATE [=] name|DEFAULT]
func (r *reader) copyDatabase(n *pg.CreatedbStmt) {
	template := defaultTemplate
	for _, d := range options(n.Options, "template") {
		if d.Arg != nil {
			template, _ = constant(d.Arg)
		}
	}
	r.change(CopyDatabase, template, "")
}

// DROP SCHEMA [IF EXISTS] name, …
func (r *reader) dropSchemas(n *pg.DropStmt) {
	if n.RemoveType != pg.ObjectType_OBJECT_SCHEMA {
		return
	}
	for _, o := range n.Objects {
		r.change(DropSchema, o.GetString_().GetSval(), "")
	}
}
