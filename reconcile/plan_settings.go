package reconcile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/scope"
)

// parameters makes the configuration parameters of a role what they shall be.
func (p *planner) parameters(r *access.Role, have *RoleState, fresh bool) {
	find := func(list []access.Setting, s access.Setting) (access.Setting, bool) {
		i := slices.IndexFunc(list, func(o access.Setting) bool {
			return o.InDatabase == s.InDatabase && strings.EqualFold(o.Name, s.Name)
		})
		if i < 0 {
			return access.Setting{}, false
		}
		return list[i], true
	}
	sql := func(s access.Setting, set bool) string { return p.parameter(have.Name, s, set) }
	wanted := slices.SortedFunc(slices.Values(r.Settings), compareSettings)
	for _, s := range wanted {
		if strings.EqualFold(s.Name, "role") {
			s.Value = p.roleSetting(s.Value)
		}
		old, ok := find(have.Settings, s)
		if ok && sameSetting(old, s) {
			continue
		}
		p.change(Change{
			Step: SetParameter, fresh: fresh, Subject: r.String(), Places: places(s.Place), Reason: "parameter " + s.Name + " shall be another",
			SQL: sql(s, true), Undo: sql(cmp.Or(old, s), ok),
		})
	}
	for _, s := range have.Settings {
		if _, ok := find(wanted, s); !ok {
			p.change(Change{
				Step: SetParameter, Subject: r.String(), Places: places(r.Place), Reason: "parameter " + s.Name + " shall not be set",
				SQL: sql(s, false), Undo: sql(s, true),
			})
		}
	}
}

// parameter sets a parameter of a role, or resets it.
func (p *planner) parameter(role scope.Cluster, s access.Setting, set bool) string {
	in, verb := "", "RESET "+parameterSQL(s.Name)
	if s.InDatabase {
		in = "IN DATABASE " + scope.QuoteIdent(p.state.Scope.Name) + " "
	}
	if set {
		verb = "SET " + parameterSQL(s.Name) + " TO " + settingSQL(s)
	}
	return alterRole(role, in+verb)
}

// roleSetting returns what the server calls the role that a setting of parameter role names.
func (p *planner) roleSetting(value string) string {
	for _, r := range p.desired.Roles {
		if r.String() == value {
			if n := p.state.Names[r.Ref]; n.Cluster != "" {
				return string(n.Cluster)
			}
		}
	}
	return value
}

// listParameters are those whose value is a list of names, each to be quoted by itself
// (GUC_LIST_QUOTE; variable_is_guc_list_quote, src/bin/pg_dump/dumputils.c).
var listParameters = map[string]bool{
	"local_preload_libraries": true, "search_path": true, "session_preload_libraries": true, "shared_preload_libraries": true,
	"temp_tablespaces": true, "unix_socket_directories": true,
}

func settingSQL(s access.Setting) string {
	if !listParameters[strings.ToLower(s.Name)] {
		return scope.QuoteLiteral(s.Value)
	}
	list := splitList(s.Value)
	if len(list) == 0 {
		return "''"
	}
	for i := range list {
		list[i] = scope.QuoteLiteral(list[i])
	}
	return strings.Join(list, ", ")
}

func sameSetting(a, b access.Setting) bool {
	if listParameters[strings.ToLower(a.Name)] {
		return slices.Equal(splitList(a.Value), splitList(b.Value))
	}
	return a.Value == b.Value
}

// splitList splits a list of names, in double quotes or not (SplitIdentifierString, src/backend/utils/adt/varlena.c).
func splitList(s string) (list []string) {
	var name strings.Builder
	quoted, inside := false, false
	end := func() {
		text := name.String()
		if !quoted {
			text = strings.ToLower(strings.TrimSpace(text))
		}
		if text != "" {
			list = append(list, text)
		}
		name.Reset()
		quoted = false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && inside && i+1 < len(s) && s[i+1] == '"':
			name.WriteByte(c)
			i++
		case c == '"':
			inside = !inside
			if inside {
				name.Reset()
			}
			quoted = true
		case c == ',' && !inside:
			end()
		case quoted && !inside: // blanks after the closing quote
		default:
			name.WriteByte(c)
		}
	}
	end()
	return list
}
