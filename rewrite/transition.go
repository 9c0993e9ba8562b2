package rewrite

import (
	"slices"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/scope"
)

// transition is what a statement does to the state.
type transition struct {
	kind  transitionKind
	local bool       // for the transaction only
	mode  scope.Mode // setsMode; empty: not known
	path  []string   // setsPath
	save  string     // saves, rollsBackTo: the savepoint
}

type transitionKind int

const (
	setsMode transitionKind = iota
	setsPath
	losesPath // it may be another
	losesRole
	losesMode // it may be reset
	losesAll
	losesSetting // a computed one: where names are mapped it is not the mode, and where they are not read it does not count yet
	resetsMode
	resetsPath
	resetsRole
	resetsSession // and the role with it
	commits
	rollsBack
	saves
	rollsBackTo
)

// needsDefault reports whether the server must be asked for the default that the transition
// goes back to. That of the mode is known.
func (k transitionKind) needsDefault() bool {
	switch k {
	case resetsPath, resetsRole, resetsSession:
		return true
	default:
		return false
	}
}

// resets tells what RESET does, by the setting.
var resets = map[string]transitionKind{
	settingRole: resetsRole, settingSession: resetsSession, settingPath: resetsPath, scope.ModeSetting: resetsMode,
}

// transactions tells what statements do that end a transaction or a part of it. RELEASE does nothing to the state.
var transactions = map[pg.TransactionStmtKind]transitionKind{
	pg.TransactionStmtKind_TRANS_STMT_COMMIT: commits, pg.TransactionStmtKind_TRANS_STMT_PREPARE: commits,
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK: rollsBack, pg.TransactionStmtKind_TRANS_STMT_SAVEPOINT: saves,
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO: rollsBackTo,
}

// transitionsOf returns what a statement does, but for SET ROLE and SET SESSION AUTHORIZATION, which [mapping.follow] sees.
func transitionsOf(stmt *pg.Node) []transition {
	switch n := stmt.GetNode().(type) {
	case *pg.Node_VariableSetStmt:
		return transitionsOfSet(n.VariableSetStmt)
	case *pg.Node_DiscardStmt:
		if n.DiscardStmt.Target == pg.DiscardMode_DISCARD_ALL {
			return []transition{{kind: resetsSession}, {kind: resetsPath}, {kind: resetsMode}}
		}
	case *pg.Node_TransactionStmt:
		if kind, ok := transactions[n.TransactionStmt.Kind]; ok {
			return []transition{{kind: kind, save: n.TransactionStmt.SavepointName}}
		}
	case *pg.Node_CreateSchemaStmt:
		return []transition{{kind: losesPath}}
	case *pg.Node_DropStmt:
		if n.DropStmt.RemoveType == pg.ObjectType_OBJECT_SCHEMA {
			return []transition{{kind: losesPath}}
		}
	case *pg.Node_RenameStmt:
		if n.RenameStmt.RenameType == pg.ObjectType_OBJECT_SCHEMA {
			return []transition{{kind: losesPath}}
		}
	default:
		return transitionsOfCalls(stmt)
	}
	return nil
}

func transitionsOfSet(n *pg.VariableSetStmt) []transition {
	name := settingName(n.Name)
	kind, known := resets[name]
	switch n.Kind {
	case pg.VariableSetKind_VAR_RESET_ALL:
		return []transition{{kind: resetsPath}, {kind: resetsMode}}
	case pg.VariableSetKind_VAR_RESET, pg.VariableSetKind_VAR_SET_DEFAULT:
		if known {
			return []transition{{kind: kind, local: n.IsLocal}}
		}
	case pg.VariableSetKind_VAR_SET_VALUE:
		var values []string
		for _, a := range n.Args {
			value, _ := constant(a)
			values = append(values, value)
		}
		switch kind {
		case resetsPath:
			return []transition{{kind: setsPath, local: n.IsLocal, path: values}}
		case resetsMode:
			if mode, ok := scope.ParseMode(values[0]); ok && len(values) == 1 { // else it is refused
				return []transition{{kind: setsMode, local: n.IsLocal, mode: mode}}
			}
		default: // a role
		}
	case pg.VariableSetKind_VAR_SET_CURRENT:
		if known {
			return []transition{{kind: losesAll}}
		}
	default:
	}
	return nil
}

// settingName returns the name of a setting that names go by, as it is written here; others are as they are.
func settingName(name string) string {
	for known := range resets {
		if is([]byte(name), known) {
			return known
		}
	}
	return name
}

// transitionsOfCalls returns what the calls of set_config in a query do. Only a query that is nothing but
// the call is sure to run it, and once.
func transitionsOfCalls(stmt *pg.Node) (list []transition) {
	alone := callAlone(stmt.GetSelectStmt())
	walk(stmt.ProtoReflect(), func(m proto.Message) {
		call, ok := m.(*pg.FuncCall)
		if !ok || !isSetConfig(call) {
			return
		}
		var value, local *pg.A_Const
		if call == alone {
			value, local = call.Args[1].GetAConst(), call.Args[2].GetAConst()
		}
		name := firstConstant(call)
		kind, known := resets[settingName(name)]
		exact := value.GetSval() != nil && local.GetBoolval() != nil
		switch {
		case name == "":
			list = append(list, transition{kind: losesSetting})
		case !known:
		case kind == resetsPath && exact:
			list = append(list, transition{kind: setsPath, local: local.GetBoolval().GetBoolval(), path: scope.SplitPath(value.GetSval().GetSval())})
		case kind == resetsPath:
			list = append(list, transition{kind: losesPath})
		case kind == resetsMode:
			list = append(list, transition{kind: setsMode})
		default: // a role: follow
		}
	})
	return list
}

// callAlone returns the call that a query consists of; nil for others.
func callAlone(n *pg.SelectStmt) *pg.FuncCall {
	if len(n.GetTargetList()) != 1 || len(n.FromClause)+len(n.SortClause) > 0 || n.WhereClause != nil || n.LimitCount != nil || n.LimitOffset != nil ||
		n.HavingClause != nil || n.IntoClause != nil {
		return nil
	}
	return n.TargetList[0].GetResTarget().GetVal().GetFuncCall()
}

// uncertain returns what the statements of a body may do, which run in an unknown order, and any number of times.
func (b *body) uncertain() (list []transition) {
	for i := range b.statements {
		for _, t := range slices.Concat(b.statements[i].earlier, b.statements[i].transitions) {
			switch t.kind {
			case setsPath, resetsPath:
				list = append(list, transition{kind: losesPath})
			case resetsRole, resetsSession:
				list = append(list, transition{kind: losesRole})
			case resetsMode:
				list = append(list, transition{kind: losesMode})
			case setsMode:
				if t.mode == "" { // else it is SET, which is refused there
					list = append(list, t)
				}
			case losesPath, losesRole, losesMode, losesAll, losesSetting:
				list = append(list, t)
			default: // of transactions
				list = append(list, transition{kind: losesAll})
			}
		}
	}
	return list
}

// attachTransitions leaves idle statements out, and gives their transitions to the next statement that is
// not. moves reports whether a statement stands behind a transition, resets whether behind one for which
// the session's defaults must be known.
func attachTransitions(list []*statement) (rest []*statement, moves, resets bool) {
	var before []transition
	changed := false // the state, by one of the rest
	for _, s := range list {
		if s.idle() {
			before = append(before, s.transitions...)
			continue
		}
		s.earlier = append(before, s.earlier...)
		before = nil
		for _, t := range s.earlier {
			resets = resets || t.kind.needsDefault()
		}
		moves = moves || len(s.earlier) > 0 || changed
		changed = changed || s.transitions != nil || s.acts()
		rest = append(rest, s)
	}
	return rest, moves, resets
}
