package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/scope"
)

// Declared is what an access manifest declares, and so owns: what there is, and where it stands (access.yaml:12). It must
// not change once it is in use; another takes its place as a whole. The nil Declared declares nothing.
type Declared struct {
	Databases map[string]Declarations // by database: with its own roles
	Cluster   Declarations            // global roles, memberships of one in another, what they have on what is the cluster's
}

// Declarations are what is declared in one place of names.
type Declarations struct {
	Roles       map[scope.Short]string
	Memberships map[Membership]string
	Grants      map[Grant]string
}

// Membership is a role that is granted, and who gets it.
type Membership struct{ Role, Member scope.Short }

// Grant is who has privileges, and on what kind of object, as [Action] has it: table, schema … Everything that has rows
// is a table, everything that can be called a function. What it is on in particular, a statement does not tell: names are
// looked for in the search_path, and "all tables" are those that there are by then.
type Grant struct {
	Grantee scope.Short
	Object  string
}

// reaches has the words of GRANT … ON whose objects may be of other kinds (ExecGrant_Relation, objectNamesToOids in
// src/backend/catalog/aclchk.c).
var reaches = map[string][]string{
	"table":     {"table", "sequence"},
	"type":      {"type", "domain"},
	"procedure": {"function"},
	"routine":   {"function"},
}

// grant tells where privileges are declared that a statement with that word can change.
func (d *Declarations) grant(grantee scope.Short, word string) (at string, found bool) {
	kinds, ok := reaches[word]
	if !ok {
		kinds = []string{word}
	}
	for _, kind := range kinds {
		if at, found = d.Grants[Grant{grantee, kind}]; found {
			break
		}
	}
	return at, found
}

// declared asks whether the manifest declares what the action changes.
func declared(value string) (condition, error) {
	word, err := parseWord(yesNo, value)
	if err != nil {
		return nil, err
	}
	return func(s *Session, a *Action) answer {
		if s.Declared != nil && (a.Role.unknown() || a.Grantee.unknown()) && slices.Contains(declarable, a.Kind) {
			return unknown
		}
		_, found := s.Declared.place(s.Database, a)
		return answerOf(found == (word == "yes"))
	}, nil
}

// grants tells where privileges of a role are declared: where it has several, always the same.
func (d *Declarations) grants(grantee scope.Short) (at string, found bool) {
	for g, place := range d.Grants {
		if g.Grantee == grantee && (!found || place < at) {
			at, found = place, true
		}
	}
	return at, found
}

// declarable are the kinds of actions that change what a manifest can declare.
var declarable = []Kind{
	CreateRole, AlterRole, DropRole, RenameRole, GrantMembership, RevokeMembership, GrantPrivilege, RevokePrivilege, DropOwned,
}

// place tells where the manifest declares what the action changes.
func (d *Declared) place(database string, a *Action) (at string, found bool) {
	if d == nil {
		return "", false
	}
	switch own := d.Databases[database]; a.Kind {
	case CreateRole, AlterRole, DropRole:
		return d.role(&own, &a.Role)
	case RenameRole:
		if at, found = d.role(&own, &a.Role); !found {
			at, found = d.role(&own, &a.Grantee)
		}
		return at, found
	case GrantMembership, RevokeMembership:
		m := Membership{a.Role.Name, a.Grantee.Name}
		if at, found = own.Memberships[m]; !found && a.Role.Home == scope.Global {
			at, found = d.Cluster.Memberships[m]
		}
		return at, found
	case GrantPrivilege, RevokePrivilege:
		if at, found = own.grant(a.Grantee.Name, a.Object); !found && a.Grantee.Home != scope.Own { // PUBLIC too
			at, found = d.Cluster.grant(a.Grantee.Name, a.Object)
		}
		return at, found
	case DropOwned: // it takes all that the role was granted
		if at, found = own.grants(a.Role.Name); !found && a.Role.Home != scope.Own {
			at, found = d.Cluster.grants(a.Role.Name)
		}
		return at, found
	default:
		return "", false
	}
}

// role tells where a role is declared: one of the database before a global one of the name.
func (d *Declared) role(own *Declarations, r *Role) (at string, found bool) {
	declarations := own
	if r.Home == scope.Global {
		declarations = &d.Cluster
	}
	at, found = declarations.Roles[r.Name]
	return at, found
}

// point adds to a hint where the manifest declares what the action changes.
func (d *Declared) point(s *Session, a *Action, hint string) string {
	at, found := d.place(s.Database, a)
	if !found {
		return hint
	}
	what := "It is"
	switch a.Kind {
	case GrantPrivilege, RevokePrivilege:
		what = fmt.Sprintf(`Privileges of "%s" on such objects are`, a.Grantee.Name)
	case DropOwned:
		what = fmt.Sprintf(`Privileges of "%s" are`, a.Role.Name)
	default:
	}
	return strings.TrimSpace(hint + " " + what + " declared at " + at + ".")
}
