package rewrite

import (
	"fmt"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgscope/pgscope-proxy/policy"
	"github.com/pgscope/pgscope-proxy/scope"
)

// set_config(setting, value, is_local) can set a role, and the text need not tell which, nor that it is one.

func isSetConfig(n *pg.FuncCall) bool { return funcName(n) == "set_config" && len(n.Args) == 3 }

// setsComputed reports whether a call sets a setting whose name the text does not tell.
func setsComputed(n *pg.FuncCall) bool {
	return isSetConfig(n) && textConstant(n.Args[0]) == nil
}

// room says for what of a call a subselect may stand in.
type room int

const (
	roomForCall     room = iota // of all of it
	roomInArguments             // of its arguments
	noRoom
)

// setConfig takes in what a call of set_config wants: the same as a SET with its effect. Which role it sets, or
// whether the setting is a role at all, may be unknown, where the text does not tell. It returns the argument that
// is a role's name, if that was taken in.
func (c *catalogReader) setConfig(n *pg.FuncCall, at writtenCall, r room) (resolved *pg.Node) {
	if !isSetConfig(n) {
		return nil
	}
	role := party{word: policy.UnknownRole}
	setting := textConstant(n.Args[0])
	if setting == nil {
		c.want(want{kind: policy.SetRole, role: role, maybe: true})
		c.want(want{kind: policy.SetSessionAuth, role: role, maybe: true})
		switch {
		case len(at.args) == 0:
			c.beyondLookup(n)
		case r == roomForCall && !bound(n):
			c.computed(n, at)
		default:
			c.refer(reference{start: at.args[0].start, end: at.args[0].end, form: noRoleSetting})
		}
		return nil
	}
	if is([]byte(setting.GetSval().GetSval()), scope.ModeSetting) {
		c.configMode(n.Args[1])
		return nil
	}
	kind, ok := settingKind(setting.GetSval().GetSval())
	if !ok {
		return nil
	}
	switch value := textConstant(n.Args[1]); {
	case value != nil:
		name := value.GetSval().GetSval()
		resolved = n.Args[1]
		if role.word = roleNone; kind != policy.SetRole || name != roleNone {
			s, _, err := c.tokens.value(c.tokens.index(c.base+int(value.Location)), name)
			role = c.add(s, err, name, refers)
		}
	case n.Args[1].GetAConst() != nil, saysServersName(n.Args[1], clusterText): // NULL, or a name of the cluster's
	case r == noRoom, bound(n.Args[1]), len(at.args) == 0:
		c.beyondLookup(n)
	}
	c.want(want{kind: kind, role: role, maybe: true})
	return resolved
}

// computed makes the arguments of such a call columns, of which [maybeRole] makes the call.
func (c *catalogReader) computed(n *pg.FuncCall, at writtenCall) {
	c.refer(reference{start: at.whole.start, end: at.whole.end, form: maybeRole, as: columnName(n)})
	c.refer(reference{start: at.whole.start, end: at.args[0].start, form: fixed})
	for i, column := range []struct{ typ, as string }{{typeText, " AS s"}, {typeText, " AS x"}, {"::pg_catalog.bool", " AS b"}} {
		a := n.Args[i]
		if a.GetParamRef() != nil || a.GetAConst() != nil {
			column.as = column.typ + column.as
		}
		c.refer(reference{start: at.args[i].end, end: at.args[i].end, form: fixed, as: column.as})
	}
	c.refer(reference{start: at.args[2].end, end: at.whole.end, form: fixed})
}

// beyondLookup refuses a statement, where names are mapped, for the role that a call sets: it cannot be looked up there.
func (c *catalogReader) beyondLookup(n *pg.FuncCall) {
	c.unmapped = at(scope.Error{
		Code:    scope.CodeFeatureNotSupported,
		Message: "the role that set_config sets could not be mapped",
		Detail:  "It is computed where no subquery may stand that looks it up.",
		Hint:    "Call set_config in the list of a SELECT, for one role.",
	}, c.tokens.sql, c.base+int(n.Location))
}

// configMode takes in the mode that a set_config sets. One that the text does not tell would be
// shown without being in force.
func (c *catalogReader) configMode(value *pg.Node) {
	constant := textConstant(value)
	if constant == nil {
		c.refuse(c.start, scope.Error{
			Code:    scope.CodeFeatureNotSupported,
			Message: fmt.Sprintf(`parameter "%s" cannot be set to a value that is computed`, scope.ModeSetting),
			Hint:    fmt.Sprintf("Use SET %s.", scope.ModeSetting),
		})
		return
	}
	if mode, ok := c.readMode(constant.GetSval().GetSval()); ok {
		c.want(want{kind: policy.SetMode, mode: mode, maybe: true})
	}
}
