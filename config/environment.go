package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// serviceLink matches the variables that Kubernetes and Docker set for a service by the name of pgscope or pgscope-…
// (makeLinkVariables and FromServices, pkg/kubelet/envvars in kubernetes). They are not the user's doing.
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT)(_|$)|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$`)

// testPrefix begins the variables of this project's tests.
const testPrefix = envPrefix + "TEST_"

// unknownVariables reports PGSCOPE_ variables that no setting has, for they are probably misspelt.
func (l *loader) unknownVariables(environment []string) {
	known := map[string]bool{envName(configFlag): true}
	for i := range settings {
		s := &settings[i]
		known[s.env()] = true
		known[s.env()+fileSuffix] = s.secret
	}
	var unknown []string
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix) && !strings.HasPrefix(name, testPrefix) && !known[name] && !serviceLink.MatchString(name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		l.problem(name, errors.New("unknown environment variable; no setting has this name"))
	}
}

// maxSecret bounds a file with a secret in bytes.
const maxSecret = 64 << 10

// readSecret reads a file with one line; editors and echo end it with a newline.
func readSecret(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(data) > maxSecret {
		return "", fmt.Errorf("%s has %d bytes, more than %d", path, len(data), maxSecret)
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}
