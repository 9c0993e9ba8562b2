package rewrite

import (
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Results says in which results of a text the server may write roles' names by itself: as values of types of its own
// (see [Localizer.Value]), which the results' descriptions tell; as a setting; as what CURRENT_USER and its like return.
type Results struct {
	Typed bool          // columns of those types may come
	Kept  bool          // EXECUTE and FETCH may have such columns from now on: see [MayFetch]
	Named map[int][]int // the columns that are a role's name by themselves, by statement; all counted from 0, in order
	Plans []int         // the statements that show a plan, in order: see [Plan]
	// Deallocates has a name for each DEALLOCATE, in order: of the prepared statement that is gone when it has succeeded,
	// whatever becomes of the transaction. AllStatements stands for all of them: DEALLOCATE ALL, DISCARD ALL.
	Deallocates []string
}

// AllStatements is no name of a prepared statement that SQL can say.
const AllStatements = ""

// Any reports whether there is something to look at, now or later.
func (r Results) Any() bool { return r.Typed || r.Kept || r.Named != nil || r.Plans != nil }

// Results says what of the text's results is to be looked at.
func (a *Analysis) Results() Results { return a.results }

// MayFetch reports whether a text may show rows of a statement or a cursor that the session made before.
func MayFetch(sql []byte) bool {
	return hasWord(sql, func(w []byte) bool { return is(w, "execute") || is(w, "fetch") })
}

// readResults reads the statements of a text. They can be counted as far as all before them could be read.
func readResults(text string, pieces []piece) (r Results) {
	typed := sync.OnceValue(func() bool { return hasWord([]byte(text), valueWord) })
	for i, p := range pieces {
		counted := i == 0 && p.base == 0
		for at, raw := range p.tree.GetStmts() {
			if columns := p.named(raw.Stmt); columns != nil {
				if r.Named == nil {
					r.Named = make(map[int][]int)
				}
				r.Named[at] = columns
			}
			switch raw.Stmt.GetNode().(type) {
			case *pg.Node_SelectStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
				r.Typed = r.Typed || typed()
			case *pg.Node_PrepareStmt, *pg.Node_DeclareCursorStmt:
				r.Kept = r.Kept || typed()
			case *pg.Node_ExecuteStmt, *pg.Node_FetchStmt:
				r.Typed = true
			case *pg.Node_ExplainStmt:
				if counted {
					r.Plans = append(r.Plans, at)
				}
			case *pg.Node_DeallocateStmt:
				r.Deallocates = append(r.Deallocates, raw.Stmt.GetDeallocateStmt().Name)
			case *pg.Node_DiscardStmt:
				if raw.Stmt.GetDiscardStmt().Target == pg.DiscardMode_DISCARD_ALL {
					r.Deallocates = append(r.Deallocates, AllStatements)
				}
			}
		}
	}
	return r
}

// named returns the columns of a statement's result that are a role's name by themselves. Of such a column of a plain query
// the text stays as it is, and the rows are mapped, unless the query does more with its values than to show them.
func (p piece) named(stmt *pg.Node) (columns []int) {
	if p.base > 0 || p.depth > 0 { // then it is not known which statement of the text this is
		return nil
	}
	if n := stmt.GetVariableShowStmt(); n != nil && showsRole(n) {
		return []int{0}
	}
	n := stmt.GetSelectStmt()
	if n == nil || n.IntoClause != nil || n.DistinctClause != nil || n.GroupClause != nil {
		return nil
	}
	for i, t := range n.TargetList {
		target := t.GetResTarget()
		if expands(target.GetVal()) {
			break // what is behind it has a place that the text does not tell
		}
		if resultNode(target.GetVal()) != nil && !sorts(n.SortClause, i+1, target) {
			columns = append(columns, i)
		}
	}
	return columns
}

// resultNode returns the call of a function, or the key word, that an expression consists of
// and that returns a role's name.
func resultNode(n *pg.Node) proto.Message {
	switch v := n.GetNode().(type) {
	case *pg.Node_SqlvalueFunction:
		if saysUser(v.SqlvalueFunction) {
			return v.SqlvalueFunction
		}
	case *pg.Node_FuncCall:
		f := v.FuncCall
		if shown := callOf(f).result; (shown == shortName || shown == shortNames) && f.AggOrder == nil && f.Over == nil && f.AggFilter == nil && !bound(f) {
			return f
		}
	}
	return nil
}

// expands reports whether a target may become more than one column.
func expands(n *pg.Node) bool {
	star := func(list []*pg.Node) bool {
		return slices.ContainsFunc(list, func(f *pg.Node) bool { return f.GetAStar() != nil })
	}
	return star(n.GetColumnRef().GetFields()) || star(n.GetAIndirection().GetIndirection())
}

// sorts reports whether ORDER BY may mean a column of the result, by its place or its name. What else it says is of the
// query's own columns.
func sorts(order []*pg.Node, place int, target *pg.ResTarget) bool {
	name := target.Name
	if name == "" {
		name = columnName(target.Val)
	}
	return slices.ContainsFunc(order, func(o *pg.Node) bool {
		switch by := o.GetSortBy().GetNode().GetNode().(type) {
		case *pg.Node_AConst:
			return int(by.AConst.GetIval().GetIval()) == place
		case *pg.Node_ColumnRef:
			return len(by.ColumnRef.Fields) == 1 && by.ColumnRef.Fields[0].GetString_().GetSval() == name
		default:
			return resultNode(o.GetSortBy().GetNode()) != nil
		}
	})
}

func showsRole(n *pg.VariableShowStmt) bool {
	_, ok := settingKind(n.Name)
	return ok
}

// valueWords are the words of which a text has at least one whose results have access lists and regroles.
var valueWords = func() map[string]struct{} {
	words := set("regrole", "to_regrole", "aclitem", "makeaclitem")
	for _, more := range []map[string]struct{}{aclColumns, aclFunctions, aclCatalogs} {
		maps.Copy(words, more)
	}
	return words
}()

func valueWord(w []byte) bool { return among(valueWords, w) }
