package policy

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pgscope/pgscope-proxy/config/yamlfile"
)

var verdicts = []Verdict{Allow, Deny, Warn}

// builtIn begins the names of the built-in rules, and of no others.
const builtIn = "default/"

// readRules reads a policy file. What is wrong in it goes into the file's errors.
func readRules(f *yamlfile.File) []rule {
	var rules []rule
	found := false
	f.Root().Mapping(map[string]func(yamlfile.Value){
		"rules": func(list yamlfile.Value) {
			found = true
			if list.Empty() {
				list.Errorf("rules is empty")
				return
			}
			for _, v := range list.List() {
				rules = append(rules, readRule(v, len(rules)+1, filepath.Base(f.Name())))
			}
		},
	})
	if !found && f.Err() == nil {
		f.Root().Errorf("rules is missing")
	}
	return rules
}

func readRule(v yamlfile.Value, number int, file string) rule {
	r := rule{
		name:   fmt.Sprintf("rule %d", number),
		origin: fmt.Sprintf("%s:%d", file, v.Line()),
	}
	acts := false
	keys := map[string]func(yamlfile.Value){
		"message": text(&r.message),
		"hint":    text(&r.hint),
		"name": func(v yamlfile.Value) {
			text(&r.name)(v)
			if strings.HasPrefix(r.name, builtIn) {
				v.Errorf(`names that begin with "%s" are those of the built-in rules`, builtIn)
			}
		},
		"action": func(v yamlfile.Value) {
			acts = true
			read(v, &r.verdict, func(s string) (Verdict, error) { return parseWord(verdicts, s) })
		},
	}
	var asked []string
	for key, parse := range conditions {
		keys[key] = func(v yamlfile.Value) {
			asked = append(asked, key)
			var alternatives []condition
			for _, item := range v.List() {
				var c condition
				if read(item, &c, parse) {
					alternatives = append(alternatives, c)
					r.note(key, item)
				}
			}
			r.conditions = append(r.conditions, anyOf(alternatives))
		}
	}
	v.Mapping(keys)
	if !acts {
		v.Errorf("the rule has no action: allow, deny or warn")
	}
	slices.Sort(asked)
	for _, key := range asked {
		if r.connects() && !slices.Contains(ofLogins, key) {
			v.Errorf("a rule about connect cannot ask for %s: at a login that is not known", key)
		}
	}
	return r
}

// note keeps what else must be known of a rule with that condition.
func (r *rule) note(key string, value yamlfile.Value) {
	text, _ := value.Text()
	switch key {
	case "statement":
		if kind, err := parseWord(kinds, text); err == nil {
			r.kinds = append(r.kinds, kind)
		}
	case "member-of":
		r.needs.Members = true
	case "user-attribute", "administers":
		r.needs.Standing = true
	case "server-before":
		if version, err := parseVersion(text); err == nil {
			r.before = max(r.before, version)
		}
	}
}

// read puts what stands at v into to, and reports whether it could be parsed.
func read[T any](v yamlfile.Value, to *T, parse func(string) (T, error)) bool {
	s, ok := v.Text()
	if !ok {
		return false
	}
	t, err := parse(s)
	if err != nil {
		v.Errorf("%v", err)
		return false
	}
	*to = t
	return true
}

// text reads a text of one line that is not empty.
func text(to *string) func(yamlfile.Value) {
	return func(v yamlfile.Value) {
		read(v, to, func(s string) (string, error) {
			if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
				return "", errors.New("not one line of text")
			}
			return s, nil
		})
	}
}
