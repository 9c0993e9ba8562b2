package rewrite

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// What a name means depends on settings of the session: the mode, the search_path, the current role. Statements of
// a text may change them before later statements of it run. The server was asked before the text; this file
// follows the settings through the text, statement by statement. Where a statement goes back to a state that is
// not known, what depends on it is refused.

// sessionState is what names depend on at one place of a text.
type sessionState struct {
	mode          scope.Mode // empty where it is not known
	path          scope.Path
	user, session scope.Cluster // empty where they are not known
}

var unknownState = sessionState{path: scope.Path{Unknown: true}}

// tracker follows the state along a text.
type tracker struct {
	now   sessionState
	kept  sessionState // what COMMIT leaves: without what is set for the transaction only
	began sessionState // what ROLLBACK goes back to
	saved []saved
	reset sessionState // what RESET goes back to, but for the search_path
	path  []string     // the search_path that RESET goes back to; nil where it is not known
}

// saved is a savepoint.
type saved struct {
	name      string
	now, kept sessionState
}

// newTracker returns the tracker of a text, at its beginning: v is what the server has answered before it.
func newTracker(v *scope.View, mode scope.Mode) *tracker {
	tr := &tracker{now: sessionState{mode, v.Path, v.User, v.Session}, reset: unknownState}
	tr.kept, tr.began = tr.now, tr.now
	if v.InBlock {
		tr.kept, tr.began = unknownState, unknownState
	}
	if !v.ModeSet {
		tr.kept.mode, tr.began.mode, tr.reset.mode = mode, mode, mode
	}
	if v.Resets != nil {
		tr.path = scope.SplitPath(v.Resets[settingPath])
		tr.reset.session = scope.Cluster(v.Resets[settingSession])
		tr.reset.user = scope.Cluster(v.Resets[settingRole]) // roleNone for the session's user
	}
	return tr
}

// pathOf returns a search_path of those elements. user is what "$user" means; where that is not known, neither is the path.
func pathOf(elements []string, user string) scope.Path {
	p := scope.Path{}
	for _, e := range elements {
		if scope.NamesUser(e) {
			if user == "" {
				return unknownState.path
			}
			e = user
		}
		p.Schemas = append(p.Schemas, e)
	}
	return p
}

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
			if known && len(values) == 1 {
				mode, _ := scope.ParseMode(values[0])
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
	for known := range maps.Keys(resets) {
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
		if !ok || funcName(call) != "set_config" || len(call.Args) != 3 {
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

// resetPath is what RESET makes of the search_path. Until the client's next message "$user" in
// it means what it does on the server.
func (tr *tracker) resetPath(v *scope.View) scope.Path {
	if _, own := v.Name(tr.now.user); tr.path == nil || own && slices.ContainsFunc(tr.path, scope.NamesUser) {
		return unknownState.path
	}
	return pathOf(tr.path, string(tr.now.user))
}

// apply makes a transition.
func (tr *tracker) apply(t transition, v *scope.View) {
	switch t.kind {
	case setsMode:
		tr.set(t.local, func(s *sessionState) { s.mode = t.mode })
	case setsPath:
		tr.set(t.local, func(s *sessionState) { s.path = pathOf(t.path, tr.userSchema(v)) })
	case losesPath:
		tr.set(false, func(s *sessionState) { s.path = unknownState.path })
	case losesRole:
		tr.set(false, func(s *sessionState) { s.user, s.session = "", "" })
	case losesMode:
		tr.set(false, func(s *sessionState) {
			if s.mode != tr.reset.mode {
				s.mode = ""
			}
		})
	case losesSetting:
		if tr.now.mode == scope.Explicit { // where the call stays as it is
			tr.apply(transition{kind: losesAll}, v)
			return
		}
		tr.apply(transition{kind: losesPath}, v)
		tr.apply(transition{kind: losesRole}, v)
	case losesAll:
		tr.now, tr.kept, tr.began, tr.saved = unknownState, unknownState, unknownState, nil
	case resetsMode:
		tr.set(t.local, func(s *sessionState) { s.mode = tr.reset.mode })
	case resetsPath:
		tr.set(t.local, func(s *sessionState) { s.path = tr.resetPath(v) })
	case resetsSession, resetsRole:
		if t.kind == resetsSession {
			tr.act(t.local, policy.SetSessionAuth, tr.reset.session)
		}
		role := tr.reset.user
		if role == roleNone {
			role = tr.now.session
		}
		tr.act(t.local, policy.SetRole, role)
	case commits:
		tr.now, tr.began, tr.saved = tr.kept, tr.kept, nil
	case rollsBack:
		tr.now, tr.kept, tr.saved = tr.began, tr.began, nil
	case saves:
		tr.saved = append(tr.saved, saved{t.save, tr.now, tr.kept})
	case rollsBackTo:
		tr.rollBackTo(t.save)
	}
}

func (tr *tracker) rollBackTo(savepoint string) {
	i := len(tr.saved) - 1
	for i >= 0 && tr.saved[i].name != savepoint {
		i--
	}
	if i < 0 {
		tr.now, tr.kept = tr.afterUnknownSavepoint(), tr.afterUnknownSavepoint()
		return
	}
	tr.now, tr.kept, tr.saved = tr.saved[i].now, tr.saved[i].kept, tr.saved[:i+1]
}

// afterUnknownSavepoint is what is known after ROLLBACK TO a savepoint from before the text:
// the mode, if the text never set it.
func (tr *tracker) afterUnknownSavepoint() sessionState {
	s := unknownState
	if tr.kept.mode == tr.began.mode && tr.now.mode == tr.began.mode {
		s.mode = tr.began.mode
	}
	return s
}

// set changes the state; with local only up to the end of the transaction.
func (tr *tracker) set(local bool, change func(*sessionState)) {
	change(&tr.now)
	if !local {
		change(&tr.kept)
	}
}

// act makes another role the current one.
func (tr *tracker) act(local bool, kind policy.Kind, role scope.Cluster) {
	tr.set(local, func(s *sessionState) {
		if kind == policy.SetSessionAuth {
			s.session = role
		}
		s.user = role
	})
}

// userSchema is the schema that "$user" means, as the text is sent.
func (tr *tracker) userSchema(v *scope.View) string {
	if name, ok := v.Name(tr.now.user); ok {
		return string(name.Role)
	}
	return string(tr.now.user)
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

// show puts the state into the view. user is the role that the server was asked as: another role may use other schemas.
func (tr *tracker) show(v *scope.View, user scope.Cluster) {
	v.User, v.Session, v.Path = tr.now.user, tr.now.session, tr.now.path
	if tr.now.user == user {
		return
	}
	v.Path.Unknown = v.Path.Unknown || v.Path.Told
	v.Path.Unsure = true
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

// acts reports whether the statement sets a role.
func (s *statement) acts() bool {
	return slices.ContainsFunc(s.wants, func(w want) bool { return w.kind == policy.SetRole || w.kind == policy.SetSessionAuth })
}

// unknownMode refuses a statement of which it is not known how its names are read.
var unknownMode = scope.Error{
	Code:    scope.CodeFeatureNotSupported,
	Message: `the value of parameter "` + scope.ModeSetting + `" is not known here`,
	Detail:  "It depends on what other statements of the same string go back to.",
	Hint:    "Send the statement by itself.",
}
