package policy

import (
	"fmt"
	"slices"
	"strconv"
)

// fact makes a condition of what only the server knows of a session.
func fact(needs Need, parse func(string) (func(*Facts) bool, error)) func(string) (condition, error) {
	return func(value string) (condition, error) {
		holds, err := parse(value)
		if err != nil {
			return nil, err
		}
		return func(s *Session, _ *Action) answer {
			if s.Facts == nil || !needs.within(s.Facts.Known) {
				return unknown
			}
			return answerOf(holds(s.Facts))
		}, nil
	}
}

func memberOf(value string) (func(*Facts) bool, error) {
	p, err := newPattern(value)
	return func(f *Facts) bool {
		for _, role := range f.MemberOf {
			if p.match(string(role)) {
				return true
			}
		}
		return false
	}, err
}

func userAttribute(value string) (func(*Facts) bool, error) {
	name, err := parseWord(attributes, value)
	return func(f *Facts) bool { return slices.Contains(f.Attributes, name) }, err
}

func serverBefore(value string) (func(*Facts) bool, error) {
	version, err := parseVersion(value)
	return func(f *Facts) bool { return f.ServerVersion < version }, err
}

// parseVersion reads a major version of PostgreSQL, and returns it as server_version_num has it.
func parseVersion(value string) (int, error) {
	major, err := strconv.Atoi(value)
	if err != nil || major < 14 || major > 99 {
		return 0, fmt.Errorf(`"%s" is no major version of PostgreSQL, like 16`, value)
	}
	return major * 10000, nil
}

var yesNo = []string{"yes", "no"}

// administers asks whether the session's current role administers the role that is acted on. Of itself, which CURRENT_USER
// and the other words stand for, it may change what the server lets it.
func administers(value string) (condition, error) {
	word, err := parseWord(yesNo, value)
	if err != nil {
		return nil, err
	}
	return func(s *Session, a *Action) answer {
		switch r := &a.Role; {
		case r.Name == "":
			return no
		case r.unknown():
			if s.Facts != nil && s.Facts.Known.Standing && slices.Contains(s.Facts.Attributes, "SUPERUSER") { // it administers all
				return answerOf(word == "yes")
			}
			return unknown
		case r.Cluster == "":
			return answerOf(word == "yes")
		case s.Facts == nil || !s.Facts.Known.Standing:
			return unknown
		default:
			return answerOf(r.Administered == (word == "yes"))
		}
	}, nil
}
