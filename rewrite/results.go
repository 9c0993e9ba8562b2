package rewrite

import (
	"maps"
	"sync"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Results says in which results of a text the server may write roles' names by itself, as values of types of its own
// (see [Localizer.Value]) or as a setting. Which columns they are, the results' descriptions tell.
type Results struct {
	Typed    bool  // columns of those types may come
	Kept     bool  // EXECUTE and FETCH may have such columns from now on: see [MayFetch]
	Settings []int // the statements, counted from 0, that show the setting of a role
	Plans    []int // those that show a plan: see [Plan]
}

// Any reports whether there is something to look at, now or later.
func (r Results) Any() bool { return r.Typed || r.Kept || r.Settings != nil || r.Plans != nil }

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
			switch n := raw.Stmt.GetNode().(type) {
			case *pg.Node_SelectStmt, *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
				r.Typed = r.Typed || typed()
			case *pg.Node_PrepareStmt, *pg.Node_DeclareCursorStmt:
				r.Kept = r.Kept || typed()
			case *pg.Node_ExecuteStmt, *pg.Node_FetchStmt:
				r.Typed = true
			case *pg.Node_VariableShowStmt:
				if counted && showsRole(n.VariableShowStmt) {
					r.Settings = append(r.Settings, at)
				}
			case *pg.Node_ExplainStmt:
				if counted {
					r.Plans = append(r.Plans, at)
				}
			}
		}
	}
	return r
}

func showsRole(n *pg.VariableShowStmt) bool {
	return is([]byte(n.Name), settingRole) || is([]byte(n.Name), settingSession)
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
