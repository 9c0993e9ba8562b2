package rewrite

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// What a name means goes by settings: the mode, the search_path, the current role. Statements of a text may change them before
// others of it run. The server was asked before the text; this file follows them through it. Where what a statement goes back to is
// not known, what depends on it is refused.

// standing is what names go by at one place of a text.
type standing struct {
	mode          scope.Mode // empty where it is not known
	path          scope.Path
	user, session scope.Cluster // empty where they are not known
}

var nowhere = standing{path: scope.Path{Unknown: true}}

// course is how that changes along a text.
type course struct {
	now   standing
	kept  standing // without what is set for the transaction only: what COMMIT leaves
	began standing // what ROLLBACK goes back to
	saved []saved
	reset standing // what RESET brings, but for the search_path
	path  []string // and that; nil where it is not known
}

// saved is a savepoint.
type saved struct {
	name      string
	now, kept standing
}

// newCourse returns the course of a text, before which the view was asked for.
func newCourse(v *scope.View, mode scope.Mode) *course {
	c := &course{now: standing{mode, v.Path, v.User, v.Session}, reset: nowhere}
	c.kept, c.began = c.now, c.now
	if v.InBlock {
		c.kept, c.began = nowhere, nowhere
	}
	if !v.ModeSet {
		c.kept.mode, c.began.mode, c.reset.mode = mode, mode, mode
	}
	if v.Resets != nil {
		c.path = scope.SplitPath(v.Resets[settingPath])
		c.reset.session = scope.Cluster(v.Resets[settingSession])
		c.reset.user = scope.Cluster(v.Resets[settingRole]) // roleNone for the session's user
	}
	return c
}

// pathOf returns a search_path of those elements. user is what "$user" means; where that is not known, it is not known which they are.
func pathOf(elements []string, user string) scope.Path {
	p := scope.Path{}
	for _, e := range elements {
		if scope.NamesUser(e) {
			if user == "" {
				return nowhere.path
			}
			e = user
		}
		p.Schemas = append(p.Schemas, e)
	}
	return p
}

// turn is what a statement does to it.
type turn struct {
	kind  turnKind
	local bool       // for the transaction only
	mode  scope.Mode // setsMode; empty: not known
	path  []string   // setsPath
	save  string     // the savepoint
}

type turnKind int

const (
	setsMode turnKind = iota
	setsPath
	losesPath // it may be another
	losesRole
	losesMode // it may be reset
	losesAll
	resetsMode
	resetsPath
	resetsRole
	resetsSession // and the role with it
	commits
	rollsBack
	saves
	rollsBackTo
)

// resets tells of the settings what RESET of them does.
var resets = map[string]turnKind{
	settingRole: resetsRole, settingSession: resetsSession, settingPath: resetsPath, scope.ModeSetting: resetsMode,
}

// transactions tells what the statements do that end a transaction, or a part of it. RELEASE changes nothing.
var transactions = map[pg.TransactionStmtKind]turnKind{
	pg.TransactionStmtKind_TRANS_STMT_COMMIT: commits, pg.TransactionStmtKind_TRANS_STMT_PREPARE: commits,
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK: rollsBack, pg.TransactionStmtKind_TRANS_STMT_SAVEPOINT: saves,
	pg.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO: rollsBackTo,
}

// turnsOf returns what a statement does, but for SET ROLE and SET SESSION AUTHORIZATION, which [mapping.follow] sees.
func turnsOf(stmt *pg.Node) []turn {
	switch n := stmt.GetNode().(type) {
	case *pg.Node_VariableSetStmt:
		return turnsOfSet(n.VariableSetStmt)
	case *pg.Node_DiscardStmt:
		if n.DiscardStmt.Target == pg.DiscardMode_DISCARD_ALL {
			return []turn{{kind: resetsSession}, {kind: resetsPath}, {kind: resetsMode}}
		}
	case *pg.Node_TransactionStmt:
		if kind, ok := transactions[n.TransactionStmt.Kind]; ok {
			return []turn{{kind: kind, save: n.TransactionStmt.SavepointName}}
		}
	case *pg.Node_CreateSchemaStmt:
		return []turn{{kind: losesPath}}
	case *pg.Node_DropStmt:
		if n.DropStmt.RemoveType == pg.ObjectType_OBJECT_SCHEMA {
			return []turn{{kind: losesPath}}
		}
	case *pg.Node_RenameStmt:
		if n.RenameStmt.RenameType == pg.ObjectType_OBJECT_SCHEMA {
			return []turn{{kind: losesPath}}
		}
	default:
		return turnsOfCalls(stmt)
	}
	return nil
}

func turnsOfSet(n *pg.VariableSetStmt) []turn {
	name := settingName(n.Name)
	kind, known := resets[name]
	switch n.Kind {
	case pg.VariableSetKind_VAR_RESET_ALL:
		return []turn{{kind: resetsPath}, {kind: resetsMode}}
	case pg.VariableSetKind_VAR_RESET, pg.VariableSetKind_VAR_SET_DEFAULT:
		if known {
			return []turn{{kind: kind, local: n.IsLocal}}
		}
	case pg.VariableSetKind_VAR_SET_VALUE:
		var values []string
		for _, a := range n.Args {
			value, _ := constant(a)
			values = append(values, value)
		}
		switch kind {
		case resetsPath:
			return []turn{{kind: setsPath, local: n.IsLocal, path: values}}
		case resetsMode:
			if known && len(values) == 1 {
				mode, _ := scope.ParseMode(values[0])
				return []turn{{kind: setsMode, local: n.IsLocal, mode: mode}}
			}
		default: // a role
		}
	case pg.VariableSetKind_VAR_SET_CURRENT:
		if known {
			return []turn{{kind: losesAll}}
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

// turnsOfCalls is for queries, which may call set_config. Only one that is nothing but the call is sure to run it, and once.
func turnsOfCalls(stmt *pg.Node) (turns []turn) {
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
		name := call.Args[0].GetAConst().GetSval().GetSval()
		kind, known := resets[settingName(name)]
		exact := value.GetSval() != nil && local.GetBoolval() != nil
		switch {
		case name == "":
			turns = append(turns, turn{kind: losesAll})
		case !known:
		case kind == resetsPath && exact:
			turns = append(turns, turn{kind: setsPath, local: local.GetBoolval().GetBoolval(), path: scope.SplitPath(value.GetSval().GetSval())})
		case kind == resetsPath:
			turns = append(turns, turn{kind: losesPath})
		case kind == resetsMode:
			turns = append(turns, turn{kind: setsMode})
		default: // a role: follow
		}
	})
	return turns
}

// callAlone returns the call that a query consists of; nil for others.
func callAlone(n *pg.SelectStmt) *pg.FuncCall {
	if len(n.GetTargetList()) != 1 || len(n.FromClause)+len(n.SortClause) > 0 || n.WhereClause != nil || n.LimitCount != nil || n.LimitOffset != nil ||
		n.HavingClause != nil || n.IntoClause != nil {
		return nil
	}
	return n.TargetList[0].GetResTarget().GetVal().GetFuncCall()
}

// resetPath is what RESET makes of the search_path. Until the client's next message "$user" in it means what it does on the server.
func (c *course) resetPath(v *scope.View) scope.Path {
	if _, own := v.Name(c.now.user); c.path == nil || own && slices.ContainsFunc(c.path, scope.NamesUser) {
		return nowhere.path
	}
	return pathOf(c.path, string(c.now.user))
}

// take lets the course take a turn.
func (c *course) take(t turn, v *scope.View) {
	switch t.kind {
	case setsMode:
		c.set(t.local, func(s *standing) { s.mode = t.mode })
	case setsPath:
		c.set(t.local, func(s *standing) { s.path = pathOf(t.path, c.userSchema(v)) })
	case losesPath:
		c.set(false, func(s *standing) { s.path = nowhere.path })
	case losesRole:
		c.set(false, func(s *standing) { s.user, s.session = "", "" })
	case losesMode:
		c.set(false, func(s *standing) {
			if s.mode != c.reset.mode {
				s.mode = ""
			}
		})
	case losesAll:
		c.now, c.kept, c.began, c.saved = nowhere, nowhere, nowhere, nil
	case resetsMode:
		c.set(t.local, func(s *standing) { s.mode = c.reset.mode })
	case resetsPath:
		c.set(t.local, func(s *standing) { s.path = c.resetPath(v) })
	case resetsSession, resetsRole:
		if t.kind == resetsSession {
			c.act(t.local, policy.SetSessionAuth, c.reset.session)
		}
		role := c.reset.user
		if role == roleNone {
			role = c.now.session
		}
		c.act(t.local, policy.SetRole, role)
	case commits:
		c.now, c.began, c.saved = c.kept, c.kept, nil
	case rollsBack:
		c.now, c.kept, c.saved = c.began, c.began, nil
	case saves:
		c.saved = append(c.saved, saved{t.save, c.now, c.kept})
	case rollsBackTo:
		i := len(c.saved) - 1
		for i >= 0 && c.saved[i].name != t.save {
			i--
		}
		if i < 0 {
			c.now, c.kept = c.hazy(), c.hazy()
			return
		}
		c.now, c.kept, c.saved = c.saved[i].now, c.saved[i].kept, c.saved[:i+1]
	}
}

// hazy is what is known behind a way back to before the text: a mode that was never set.
func (c *course) hazy() standing {
	s := nowhere
	if c.kept.mode == c.began.mode && c.now.mode == c.began.mode {
		s.mode = c.began.mode
	}
	return s
}

// set changes what is known, also behind the transaction unless local.
func (c *course) set(local bool, change func(*standing)) {
	change(&c.now)
	if !local {
		change(&c.kept)
	}
}

// act has another role act.
func (c *course) act(local bool, kind policy.Kind, role scope.Cluster) {
	c.set(local, func(s *standing) {
		if kind == policy.SetSessionAuth {
			s.session = role
		}
		s.user = role
	})
}

// userSchema is the schema that "$user" means, as the text is sent.
func (c *course) userSchema(v *scope.View) string {
	if name, ok := v.Name(c.now.user); ok {
		return string(name.Role)
	}
	return string(c.now.user)
}

// blurs are what the statements of a body may do, in whatever order and how often.
func (b *body) blurs() (turns []turn) {
	for i := range b.statements {
		for _, t := range slices.Concat(b.statements[i].earlier, b.statements[i].turns) {
			switch t.kind {
			case setsPath, resetsPath:
				turns = append(turns, turn{kind: losesPath})
			case resetsRole, resetsSession:
				turns = append(turns, turn{kind: losesRole})
			case resetsMode:
				turns = append(turns, turn{kind: losesMode})
			case setsMode:
				if t.mode == "" { // else it is SET, which is refused there
					turns = append(turns, t)
				}
			case losesPath, losesRole, losesMode, losesAll:
				turns = append(turns, t)
			default: // of transactions
				turns = append(turns, turn{kind: losesAll})
			}
		}
	}
	return turns
}

// show makes the view see how it stands. user is the role that the server was asked as: another may use other schemas.
func (c *course) show(v *scope.View, user scope.Cluster) {
	v.User, v.Session, v.Path = c.now.user, c.now.session, c.now.path
	if c.now.user == user {
		return
	}
	v.Path.Unknown = v.Path.Unknown || v.Path.Told
	v.Path.Unsure = true
}

// noteTurns gives each statement the turns of the idle ones before it, and leaves these out. moves is whether one is left that stands
// behind a turn, resets whether behind one that goes back.
func noteTurns(list []statement) (left []statement, moves, resets bool) {
	var before []turn
	for i := range list {
		s := &list[i]
		if s.idle() {
			before = append(before, s.turns...)
			continue
		}
		s.earlier = append(before, s.earlier...)
		before = nil
		for _, t := range s.earlier {
			resets = resets || t.kind >= resetsPath && t.kind <= resetsSession
		}
		moves = moves || len(s.earlier) > 0 || slices.ContainsFunc(left, func(s statement) bool { return s.turns != nil || s.acts() })
		left = append(left, *s)
	}
	return left, moves, resets
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
