package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/scope"
)

// rule is one rule of a policy.
type rule struct {
	name          string
	origin        string // where it stands, for the client: policy.yaml:12
	verdict       Verdict
	message, hint string // instead of the usual ones; may be empty
	conditions    []condition
	kinds         []Kind // that it speaks of; none for all but logins
	needs         Need
	before        int // it is about servers older than that, by server_version_num; 0 for all
}

// connects reports whether it is about logins.
func (r *rule) connects() bool { return slices.Contains(r.kinds, Connect) }

// speaksOf reports whether it may be about one of the kinds.
func (r *rule) speaksOf(kinds []Kind) bool {
	return len(r.kinds) == 0 || slices.ContainsFunc(kinds, func(k Kind) bool { return slices.Contains(r.kinds, k) })
}

// matches reports whether all conditions hold. A rule that does not speak of logins lets none be denied by accident.
func (r *rule) matches(s *Session, a *Action) bool {
	if a.Kind == Connect && !r.connects() {
		return false
	}
	for _, holds := range r.conditions {
		switch holds(s, a) {
		case yes:
		case no:
			return false
		case unknown: // fail closed
			if r.verdict != Deny {
				return false
			}
		}
	}
	return true
}

func (r *rule) decision(s *Session, a *Action) Decision {
	d := Decision{Verdict: r.verdict, Rule: r.name}
	switch r.verdict {
	case Deny:
		code := scope.CodeInsufficientPriv
		if a.Kind == Connect {
			code = scope.CodeInvalidAuthorization
		}
		d.Err = &scope.Error{
			Code:    code,
			Message: cmp.Or(r.message, "permission denied by policy: "+a.String()),
			Detail:  fmt.Sprintf(`Rule "%s" of %s denies it.`, r.name, r.origin),
			Hint:    s.Declared.point(s, a, cmp.Or(r.hint, "Who keeps the policy can allow it by a rule in front of this one.")),
		}
	case Warn:
		const warning = "01000"
		d.Warning = &scope.Error{
			Code:    warning,
			Message: cmp.Or(r.message, "policy warns of: "+a.String()),
			Detail:  fmt.Sprintf(`Rule "%s" of %s warns of it.`, r.name, r.origin),
			Hint:    s.Declared.point(s, a, r.hint),
		}
	case Allow:
	}
	return d
}

// String tells the action in the words of a rule: grant role "pg_monitor" to "customer".
func (a *Action) String() string {
	var b strings.Builder
	b.WriteString(string(a.Kind))
	if a.Object != "" {
		b.WriteString(" on " + a.Object)
	}
	if a.Role.Name != "" {
		fmt.Fprintf(&b, ` "%s"`, a.Role.Name)
	}
	if a.Grantee.Name != "" {
		to := "to"
		if a.Kind == RevokePrivilege || a.Kind == RevokeMembership {
			to = "from"
		}
		fmt.Fprintf(&b, ` %s "%s"`, to, a.Grantee.Name)
	}
	if a.Mode != "" {
		fmt.Fprintf(&b, ` "%s"`, a.Mode)
	}
	return b.String()
}
