package proxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/proxy/engine"
	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/scope"
)

// replication is what a client asks for by the parameter of that name: one of these two, or nothing.
type replication string

const (
	physical replication = "true"     // of the cluster: the session is in no database, and takes no SQL
	logical  replication = "database" // beside SQL
)

// readReplication reads the parameter as the server does (ProcessStartupPacket, src/backend/tcop/backend_startup.c), and
// leaves in the packet what everybody reads alike: with SQL the session is one of a database, whose names are mapped.
func (v *visitor) readReplication() *scope.Error {
	const name = "replication"
	list := v.startup.Parameters
	at := slices.IndexFunc(list, func(p wire.Parameter) bool { return p.Name == name })
	if at < 0 {
		return nil
	}
	said := list[at].Value
	asked, ok := parseBool(said)
	switch {
	case said == string(logical):
		v.replication = logical
	case !ok:
		return &scope.Error{
			Code: scope.CodeInvalidParameter, Message: fmt.Sprintf(`invalid value for parameter "%s": "%s"`, name, said),
			Hint: `Valid values are: "false", 0, "true", 1, "database".`,
		}
	case asked:
		v.replication = physical
	default:
		v.startup.Parameters = slices.Delete(list, at, at+1)
		return nil
	}
	list[at].Value = string(v.replication)
	return nil
}

// parseBool is parse_bool (src/backend/utils/adt/bool.c): what begins one of the words and no other, in any case.
func parseBool(s string) (value, ok bool) {
	begins := func(word string) bool { return s != "" && len(s) <= len(word) && strings.EqualFold(word[:len(s)], s) }
	switch {
	case begins("true"), begins("yes"), begins("on") && len(s) > 1, s == "1":
		return true, true
	case begins("false"), begins("no"), begins("off") && len(s) > 1, s == "0":
		return false, true
	}
	return false, false
}

// database is the one that the session will be in; empty for physical replication.
func (v *visitor) database() string {
	if v.replication == physical {
		return ""
	}
	return v.startup.Database()
}

// A startup packet can name roles beside the user, in settings: as parameters of their own, and as switches in options,
// "-c role=x", "-crole=x" or "--role=x". The names cannot be mapped before the session has begun, so the settings are
// taken out of the packet, and the engine makes up for them.

// options is the parameter for switches.
const options = "options"

// withoutRoles returns the packet without the settings that name roles, and what they said. As on the server, what
// stands in options gives way to a parameter of its own, and the last switch wins.
func withoutRoles(s wire.Startup) (_ wire.Startup, role engine.StartRole) {
	s = withoutSettings(s, takeRole(&role))
	return s, role
}

// takeRole returns what takes settings that name roles. Names of settings compare without regard to case (guc_name_compare,
// guc.c).
func takeRole(role *engine.StartRole) func(setting, value string) bool {
	return func(setting, value string) bool {
		switch {
		case strings.EqualFold(setting, "role"):
			role.Role, role.Set = value, true
		case strings.EqualFold(setting, "session_authorization"):
			role.Authorization, role.Authorized = value, true
		default:
			return false
		}
		return true
	}
}

// withoutSettings returns the packet without the settings that take takes; those in options are shown to it first.
func withoutSettings(s wire.Startup, take func(setting, value string) bool) wire.Startup {
	kept := make([]wire.Parameter, 0, len(s.Parameters))
	rest := walkOptions(s.Get(options), take)
	for _, p := range s.Parameters {
		if p.Name == options {
			p.Value = rest
		}
		if p.Name == options && rest == "" || take(p.Name, p.Value) {
			continue
		}
		kept = append(kept, p)
	}
	s.Parameters = kept
	return s
}

// settingOf returns what the packet sets a setting to; empty where it says nothing of it.
func settingOf(s wire.Startup, name string) (said string) {
	see := func(setting, value string) bool {
		if strings.EqualFold(setting, name) {
			said = value
		}
		return false
	}
	walkOptions(s.Get(options), see)
	for _, p := range s.Parameters {
		see(p.Name, p.Value)
	}
	return said
}

// withoutSetting returns the packet without one setting, and what that said.
func withoutSetting(s wire.Startup, name string) (_ wire.Startup, said string) {
	s = withoutSettings(s, func(setting, value string) bool {
		found := strings.EqualFold(setting, name)
		if found {
			said = value
		}
		return found
	})
	return s, said
}

// serverSwitches are the switches of a backend that take an argument, as getopt has it in process_postgres_switches
// (src/backend/tcop/postgres.c): the same from 14 to 18. '-' is the switch of --name=value.
const serverSwitches = "BCDdfhkNprStvWc-"

// walkOptions shows take each setting in options, and returns the options without those that it takes.
func walkOptions(switches string, take func(setting, value string) bool) string {
	words := splitOptions(switches)
	kept := words[:0:0]
	taken := false
	for i := 0; i < len(words); i++ {
		word := words[i]
		if len(word) < 2 || word[0] != '-' || word == "--" { // the server takes no other words
			kept = append(kept, words[i:]...)
			break
		}
		at := 1 // of the switch that takes an argument: others may stand before it, "-ic role=x"
		for at < len(word) && strings.IndexByte(serverSwitches, word[at]) < 0 {
			at++
		}
		if at == len(word) {
			kept = append(kept, word)
			continue
		}
		argument, last := word[at+1:], i
		if argument == "" && i+1 < len(words) {
			last++
			argument = words[last]
		}
		setting, value, set := strings.Cut(argument, "=")
		// ParseLongOption (guc.c) makes '_' of the '-' in a setting's name.
		if c := word[at]; set && (c == 'c' || c == '-') && take(strings.ReplaceAll(setting, "-", "_"), value) {
			taken = true
			if at > 1 {
				kept = append(kept, word[:at])
			}
		} else {
			kept = append(kept, words[i:last+1]...)
		}
		i = last
	}
	if !taken {
		return switches
	}
	return joinOptions(kept)
}

// splitOptions is pg_split_opts (src/backend/utils/init/postinit.c): blanks divide words, a backslash takes what follows
// for itself.
func splitOptions(s string) (words []string) {
	for i := 0; i < len(s); {
		if optionBlank(s[i]) {
			i++
			continue
		}
		var word strings.Builder
		for ; i < len(s) && !optionBlank(s[i]); i++ {
			if s[i] == '\\' {
				if i++; i == len(s) {
					break
				}
			}
			word.WriteByte(s[i])
		}
		words = append(words, word.String())
	}
	return words
}

// joinOptions is the inverse of splitOptions.
func joinOptions(words []string) string {
	var b strings.Builder
	for i, word := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		for j := range len(word) {
			if word[j] == '\\' || optionBlank(word[j]) {
				b.WriteByte('\\')
			}
			b.WriteByte(word[j])
		}
	}
	return b.String()
}

func optionBlank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
