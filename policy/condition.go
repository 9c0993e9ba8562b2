package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/scope"
)

// answer says whether a condition holds.
type answer int

const (
	no answer = iota
	unknown
	yes
)

func answerOf(b bool) answer {
	if b {
		return yes
	}
	return no
}

// condition is asked about an action of a session.
type condition func(*Session, *Action) answer

// anyOf holds where one of its alternatives does. An answer that is not known is nearer to yes than to no.
func anyOf(alternatives []condition) condition {
	return func(s *Session, a *Action) answer {
		best := no
		for _, holds := range alternatives {
			best = max(best, holds(s, a))
		}
		return best
	}
}

// conditions is the table of what a rule can ask: the key, and what makes a condition of one value.
var conditions = map[string]func(value string) (condition, error){
	"database":    sessionName(func(s *Session) string { return s.Database }),
	"user":        sessionName(func(s *Session) string { return s.User }),
	"application": sessionName(func(s *Session) string { return s.Application }),
	"client":      client,
	"when":        when,

	"member-of":      fact(Need{Members: true}, memberOf),
	"user-attribute": fact(Need{Standing: true}, userAttribute),
	"administers":    administers,
	"server-before":  fact(Need{}, serverBefore),

	"statement": word(kinds, func(a *Action, k Kind) bool { return a.Kind == k }),
	"attribute": word(attributes, func(a *Action, name string) bool { return slices.Contains(a.Attributes, name) }),
	"object":    word(objects, func(a *Action, name string) bool { return a.Object == name }),
	"mode":      word(scope.Modes, func(a *Action, m scope.Mode) bool { return a.Mode == m }),

	"role":         roleName(func(a *Action) *Role { return &a.Role }),
	"home":         roleHome(func(a *Action) *Role { return &a.Role }),
	"grantee":      roleName(func(a *Action) *Role { return &a.Grantee }),
	"grantee-home": roleHome(func(a *Action) *Role { return &a.Grantee }),
	"declared":     declared,
}

// ofLogins are the conditions that a login can be asked for: it acts on no role, and no server has answered yet.
var ofLogins = []string{"database", "user", "application", "client", "when", "statement"}

// kinds are all values of Kind.
var kinds = []Kind{
	CreateRole, AlterRole, RenameRole, DropRole, GrantPrivilege, RevokePrivilege, GrantMembership, RevokeMembership,
	DefaultPrivileges, ChangeOwner, DropOwned, SetRole, SetSessionAuth, CommentRole, NameRole, SetMode, Connect,
}

// attributes are those that a role statement can turn on (AlterOptRoleElem, src/backend/parser/gram.y).
var attributes = []string{"SUPERUSER", "CREATEDB", "CREATEROLE", "INHERIT", "LOGIN", "REPLICATION", "BYPASSRLS"}

// objects are the kinds of objects that have privileges or an owner (ObjectType, src/include/nodes/parsenodes.h), and
// what Action.Object says besides.
var objects = []string{
	"aggregate", "collation", "conversion", "database", "domain", "event trigger", "foreign data wrapper",
	"foreign server", "foreign table", "function", "index", "language", "large object", "materialized view", "operator",
	"operator class", "operator family", "parameter", "procedure", "publication", "routine", "schema", "sequence",
	"statistics", "subscription", "table", "tablespace", "text search configuration", "text search dictionary", "type",
	"view",
	"owned", "policy", "user mapping", // REASSIGN OWNED, CREATE POLICY, CREATE USER MAPPING
}

// sessionName is a pattern of something of the session.
func sessionName(of func(*Session) string) func(string) (condition, error) {
	return func(value string) (condition, error) {
		p, err := newPattern(value)
		if err != nil {
			return nil, err
		}
		return func(s *Session, _ *Action) answer { return answerOf(p.match(of(s))) }, nil
	}
}

// client is a network, an address, or local: a Unix socket, which has no address.
func client(value string) (condition, error) {
	if value == "local" {
		return func(s *Session, _ *Action) answer { return answerOf(!s.Client.IsValid()) }, nil
	}
	network, err := parseNetwork(value)
	if err != nil {
		return nil, err
	}
	return func(s *Session, _ *Action) answer {
		return answerOf(network.Contains(s.Client.Unmap().WithZone("")))
	}, nil
}

func parseNetwork(value string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(value); err == nil && address.Zone() == "" {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(value)
	switch {
	case err != nil:
		return network, fmt.Errorf(`"%s" is no network like 10.1.0.0/16, no address, and not local`, value)
	case network.Addr().Is4In6():
		return network, fmt.Errorf(`"%s" is a network of IPv4 addresses in IPv6; write it as one of IPv4`, value)
	case network != network.Masked():
		return network, fmt.Errorf(`"%s" has bits set to the right of its mask; the network is %v`, value, network.Masked())
	}
	return network, nil
}

// word is one of a closed set of words, in any case.
func word[W ~string](all []W, is func(*Action, W) bool) func(string) (condition, error) {
	return func(value string) (condition, error) {
		w, err := parseWord(all, value)
		if err != nil {
			return nil, err
		}
		return func(_ *Session, a *Action) answer { return answerOf(is(a, w)) }, nil
	}
}

func parseWord[W ~string](all []W, value string) (W, error) {
	for _, w := range all {
		if strings.EqualFold(string(w), value) {
			return w, nil
		}
	}
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = string(w)
	}
	return "", fmt.Errorf(`"%s" is none of %s`, value, strings.Join(names, ", "))
}

// roleName is a pattern of a role's short name.
func roleName(of func(*Action) *Role) func(string) (condition, error) {
	return func(value string) (condition, error) {
		p, err := newPattern(value)
		if err != nil {
			return nil, err
		}
		return func(_ *Session, a *Action) answer {
			switch r := of(a); {
			case r.Name == "":
				return no
			case p == anything:
				return yes
			case r.Cluster == "" && !nobody(r): // CURRENT_USER and the like
				return unknown
			default:
				return answerOf(p.match(string(r.Name)))
			}
		}, nil
	}
}

// nobody reports whether a role is a word that stands for none: PUBLIC, and NONE of SET ROLE. A role cannot have these
// names (IsReservedName and check_role, PostgreSQL's acl.c and user.c).
func nobody(r *Role) bool { return r.Cluster == "" && (r.Name == "public" || r.Name == "none") }

// homes are the words for where a role belongs.
var homes = []string{"own", "global"}

func roleHome(of func(*Action) *Role) func(string) (condition, error) {
	return func(value string) (condition, error) {
		w, err := parseWord(homes, value)
		if err != nil {
			return nil, err
		}
		want := map[string]scope.Home{"own": scope.Own, "global": scope.Global}[w]
		return func(_ *Session, a *Action) answer {
			r := of(a)
			switch {
			case r.Name == "" || nobody(r):
				return no
			case r.Home == scope.Own || r.Home == scope.Global:
				return answerOf(r.Home == want)
			case want == scope.Global && r.Cluster != "" && string(r.Cluster) != string(r.Name):
				return no // there is no such role, and if there were, it would be the database's
			default:
				return unknown
			}
		}, nil
	}
}
