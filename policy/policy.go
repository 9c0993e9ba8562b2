package policy

import (
	_ "embed"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pgscope/pgscope-proxy/config/yamlfile"
	"github.com/pgscope/pgscope-proxy/scope"
)

// Verdict is what becomes of an action.
type Verdict string

// The verdicts, as they stand in a policy file and in audit records.
const (
	Allow Verdict = "allow"
	Deny  Verdict = "deny"
	Warn  Verdict = "warn" // allowed, and talked about
)

// Session is who wants something.
type Session struct {
	Database    string
	User        string     // the login's short name
	Client      netip.Addr // the zero Addr on a Unix socket
	Application string
	Time        time.Time // now
	// Facts are what the server says of the session; nil where nothing is known.
	Facts *Facts
	// Declared is what the access manifest owns; nil for nothing.
	Declared *Declared
}

// Facts are what the server says of a session.
type Facts struct {
	Known         Need          // what of it was asked
	ServerVersion int           // server_version_num; 0 is older than any
	Attributes    []string      // of its current role, upper case: SUPERUSER, CREATEROLE …
	MemberOf      []scope.Short // the roles that its user is a member of, by whatever way
}

// Need says which [Facts] a policy asks for. To learn them costs the server a look into its catalogs.
type Need struct {
	Standing bool // Attributes, and [Role.Administered]
	Members  bool // MemberOf
}

// Decision is the answer to one action.
type Decision struct {
	Verdict Verdict
	Rule    string // the name of the rule that decided; "rule 3" where the third of the file has none
	// Err is for the client where the verdict is Deny, else nil.
	Err *scope.Error
	// Warning is for the client where the verdict is Warn, else nil: the fields of a WARNING that the statement goes with.
	Warning *scope.Error
}

func (n Need) and(m Need) Need {
	return Need{n.Standing || m.Standing, n.Members || m.Members}
}

// within reports whether all that is needed is known.
func (n Need) within(known Need) bool { return n.and(known) == known }

// Policy is an ordered list of rules. It does not change, and is safe for concurrent use.
type Policy struct {
	rules []rule // ends in one that matches everything
}

// Load reads a policy file. The error tells all mistakes in it, each with file:line:column.
func Load(path string) (*Policy, error) {
	f, err := yamlfile.Load(path)
	if err != nil {
		return nil, err
	}
	return build(f)
}

// Parse is [Load] for the contents of a file; name stands for it in errors.
func Parse(name string, data []byte) (*Policy, error) { return build(yamlfile.Parse(name, data)) }

func build(f *yamlfile.File) (*Policy, error) {
	rules := readRules(f)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return &Policy{rules: slices.Concat(rules, defaults())}, nil
}

//go:embed default.yaml
var defaultYAML []byte

// defaults returns the built-in rules.
var defaults = sync.OnceValue(func() []rule {
	f := yamlfile.Parse("default.yaml", defaultYAML)
	rules := readRules(f)
	if err := f.Err(); err != nil {
		panic(err) // part of the program
	}
	for i := range rules {
		rules[i].name = builtIn + rules[i].name
		rules[i].origin = "the built-in policy"
	}
	return rules
})

// Default returns the policy of the built-in rules alone. Their names begin with "default/", as in default/no-superuser.
func Default() *Policy { return &Policy{rules: defaults()} }

// Decide returns what the first rule that matches says.
func (p *Policy) Decide(s Session, a Action) Decision {
	for i := range p.rules {
		if r := &p.rules[i]; r.matches(&s, &a) {
			return r.decision(&s, &a)
		}
	}
	panic("policy: the built-in rules end in some that match everything")
}

// Needs returns what the rules ask of the session at a server of the version (server_version_num; 0 if it is not known):
// those rules that speak of some of the kinds or, where none are given, all.
func (p *Policy) Needs(serverVersion int, kinds ...Kind) (n Need) {
	for i := range p.rules {
		r := &p.rules[i]
		never := r.before > 0 && serverVersion >= r.before
		if never || len(kinds) > 0 && !r.speaksOf(kinds) {
			continue
		}
		n = n.and(r.needs)
	}
	return n
}
