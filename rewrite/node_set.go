package rewrite

import (
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// The settings whose values are role names, and the one that may name one.
const (
	settingRole    = "role"
	settingSession = "session_authorization"
	settingPath    = "search_path"

	roleNone = "none" // SET ROLE NONE
)

// settingKind tells what a session does that sets a setting of that name to a role; false where its value is no role.
func settingKind(name string) (policy.Kind, bool) {
	switch {
	case is([]byte(name), settingRole):
		return policy.SetRole, true
	case is([]byte(name), settingSession):
		return policy.SetSessionAuth, true
	default:
		return "", false
	}
}

// SET name = value, by itself or inside ALTER ROLE|DATABASE|SYSTEM|FUNCTION … SET and CREATE FUNCTION … SET. The server
// compares a setting's name without regard to case, however it is quoted (guc_name_compare, guc.c).
func (r *reader) set(n *pg.VariableSetStmt) {
	setting := []byte(n.Name)
	reset := n.Kind == pg.VariableSetKind_VAR_RESET
	switch {
	case is(setting, settingRole) && n.Kind == pg.VariableSetKind_VAR_SET_VALUE:
		r.setRole(n, policy.SetRole, roleNone)
	case is(setting, settingSession) && n.Kind == pg.VariableSetKind_VAR_SET_VALUE:
		r.setRole(n, policy.SetSessionAuth, "")
	case is(setting, settingPath) && n.Kind == pg.VariableSetKind_VAR_SET_VALUE && r.top:
		r.setPath(n)
	case is(setting, settingPath) && n.Kind == pg.VariableSetKind_VAR_SET_DEFAULT && r.top:
		last := r.tokens.list[len(r.tokens.list)-1]
		r.standard = append(r.standard, spot{start: last.start, end: last.end})
	case is(setting, scope.ModeSetting) && n.Kind == pg.VariableSetKind_VAR_SET_VALUE:
		r.setMode(n)
	case is(setting, scope.DatabaseSetting) && !reset:
		r.refuse(r.start, scope.Error{
			Code:    codeCantChangeParam,
			Message: fmt.Sprintf(`parameter "%s" cannot be changed`, scope.DatabaseSetting),
		})
	}
}

// setRole takes in the role that a setting is set to. nobody is the value that means no role.
func (r *reader) setRole(n *pg.VariableSetStmt, kind policy.Kind, nobody string) {
	if !r.top { // a setting that is stored, for later
		kind = policy.NameRole
	}
	r.local = n.IsLocal
	for _, a := range n.Args {
		inTree, offset := constant(a)
		if p := a.GetParamRef(); p != nil { // which the parser takes here, and no server
			i := r.tokens.index(r.base + int(p.Location))
			r.refuseText(r.tokens.list[i].start, syntaxErrorAt(r.tokens.text(i)))
			return
		}
		i := r.tokens.index(r.base + int(offset))
		if inTree == nobody && nobody != "" && r.before(r.base+int(offset)) == nil {
			r.want(want{kind: kind, role: party{word: scope.Short(nobody)}})
			continue
		}
		s, _, err := r.tokens.value(i, inTree)
		r.want(want{kind: kind, role: r.add(s, err, inTree, refers)})
	}
}

// setPath takes in "$user" in the search_path of the session. In a setting that is stored it means whoever will run with
// it, and stays: see docs/adr/0006-schema-scope.md.
func (r *reader) setPath(n *pg.VariableSetStmt) {
	for _, a := range n.Args {
		value, offset := constant(a)
		if !scope.NamesUser(value) || offset == none {
			continue
		}
		if s, _, err := r.tokens.value(r.tokens.index(r.base+int(offset)), value); err == nil {
			r.users = append(r.users, s)
		}
	}
}

// setMode checks a value of pgscope.mode: the server takes any, since the setting is a placeholder to it.
func (r *reader) setMode(n *pg.VariableSetStmt) {
	var values []string
	for _, a := range n.Args {
		value, _ := constant(a)
		values = append(values, value)
	}
	mode, ok := r.readMode(strings.Join(values, ", "))
	if !ok {
		return
	}
	if r.depth > 0 { // how what follows it is read would depend on whether it runs
		r.refuse(r.start, scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf(`parameter "%s" cannot be set in a DO block`, scope.ModeSetting),
		})
		return
	}
	if r.top {
		r.mode = mode
	}
	r.want(want{kind: policy.SetMode, mode: mode})
}

// readMode returns the mode that a value of pgscope.mode is, and refuses what is none.
func (r *reader) readMode(value string) (scope.Mode, bool) {
	mode, ok := scope.ParseMode(value)
	if !ok {
		r.refuse(r.start, scope.Error{
			Code:    scope.CodeInvalidParameter,
			Message: fmt.Sprintf(`invalid value for parameter "%s": "%s"`, scope.ModeSetting, value),
			Hint:    "Available values: " + modeList() + ".",
		})
	}
	return mode, ok
}

func modeList() string {
	names := make([]string, len(scope.Modes))
	for i, m := range scope.Modes {
		names[i] = string(m)
	}
	return strings.Join(names, ", ")
}
