package config

import (
	"slices"

	"github.com/pgscope/pgscope-proxy/config/yamlfile"
)

var authMethods = []AuthMethod{AuthPassthrough, AuthVerify, AuthCert, AuthPeer, AuthTrust, AuthReject}

// authRulesKey is the list of the file with the rules about who is let in how.
const authRulesKey = "auth-rules"

// localClients stands among the addresses of a rule for Unix sockets.
const localClients = "local"

// ruleKey is something that a rule can say.
type ruleKey struct {
	key, arg, example, doc string // as those of a setting
	read                   func(*AuthRule, yamlfile.Value)
}

// ruleKeys is the table of what a rule can say.
var ruleKeys = []ruleKey{
	{
		key: "method", arg: "METHOD",
		example: "auth-rules: [{method: verify}]",
		doc: "How clients that match are let in, as in the setting auth. Must be set. A rule of cert matches connections with TLS only, one of " +
			"peer those on Unix sockets.",
		read: func(r *AuthRule, v yamlfile.Value) {
			for _, m := range each(v, oneOf(authMethods...)) {
				r.Method = m
			}
		},
	},
	{
		key: "databases", arg: "NAMES",
		example: "auth-rules: [{databases: [orders, billing], method: verify}]",
		doc: "The databases that clients ask for. Not set: all. A physical replication connection is in none, and matches only rules that name " +
			"none.",
		read: func(r *AuthRule, v yamlfile.Value) { r.Databases = names(v) },
	},
	{
		key: "users", arg: "NAMES",
		example: "auth-rules: [{users: [app], method: cert}]",
		doc:     "The users that clients log in as, by the names that clients use. Not set: all.",
		read:    func(r *AuthRule, v yamlfile.Value) { r.Users = names(v) },
	},
	{
		key: "clients", arg: "NETWORKS",
		example: "auth-rules: [{clients: [local, 10.0.0.0/8], method: passthrough}]",
		doc:     "Where clients are: addresses, networks, and local for Unix sockets. Not set: everywhere.",
		read:    (*AuthRule).readClients,
	},
	{
		key: "names", arg: "a mapping of names to lists of users",
		example: "auth-rules: [{method: peer, names: {root: [postgres, admin]}}]",
		doc: "With cert and peer: as whom a certificate's common name, or a user of the operating system, may log in. A name that is not " +
			"listed may only log in as the user of that name.",
		read: func(r *AuthRule, v yamlfile.Value) {
			r.Names = make(map[string][]string)
			v.Entries(func(name string, v yamlfile.Value) { r.Names[name] = names(v) })
		},
	},
}

// each parses the texts of a list. Those that are wrong are the file's errors.
func each[V any](v yamlfile.Value, parse func(string) (V, error)) (list []V) {
	for _, item := range v.List() {
		text, ok := item.Text()
		if !ok {
			continue
		}
		value, err := parse(text)
		if err != nil {
			item.Errorf("%v", err)
			continue
		}
		list = append(list, value)
	}
	return list
}

func names(v yamlfile.Value) []string {
	return each(v, func(name string) (string, error) { return name, nil })
}

func (r *AuthRule) readClients(v yamlfile.Value) {
	for _, item := range v.List() {
		if text, ok := item.Text(); ok && text == localClients {
			r.Local = true
		} else if ok {
			r.Networks = append(r.Networks, each(item, parseNetwork)...)
		}
	}
}

// readAuthRules reads the list of rules.
func readAuthRules(v yamlfile.Value) (rules []AuthRule) {
	for _, item := range v.List() {
		var r AuthRule
		known := make(map[string]func(yamlfile.Value))
		for _, k := range ruleKeys {
			known[k.key] = func(v yamlfile.Value) { k.read(&r, v) }
		}
		item.Mapping(known)
		switch {
		case r.Method == "":
			item.Errorf("a rule needs a method")
		case r.Names != nil && r.Method != AuthCert && r.Method != AuthPeer:
			item.Errorf("names are of use with the methods %s and %s only", AuthCert, AuthPeer)
		}
		rules = append(rules, r)
	}
	return rules
}

// letsIn returns the setting that lets some clients in by one of the methods; the empty text where none does.
func (c *Config) letsIn(methods ...AuthMethod) string {
	switch {
	case slices.Contains(methods, c.Auth):
		return "auth"
	case slices.ContainsFunc(c.AuthRules, func(r AuthRule) bool { return slices.Contains(methods, r.Method) }):
		return authRulesKey
	default:
		return ""
	}
}
