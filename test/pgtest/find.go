package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// BinEnv names the environment variable that says which PostgreSQL to use: the directory of initdb and pg_ctl.
const BinEnv = "PGSCOPE_TEST_PG_BIN"

// install is one PostgreSQL on this machine.
type install struct {
	bin   string // the directory of its programs
	major string // "15"
}

// packaged are the places where packages put PostgreSQL without putting it on the PATH.
var packaged = []string{
	"/usr/lib/postgresql/*/bin",          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                   // Red Hat, from the PostgreSQL project
	"/opt/homebrew/opt/postgresql@*/bin", // macOS
	"/usr/local/opt/postgresql@*/bin",
}

// Versions returns the major versions that this machine has, ascending, without fetching any.
func Versions(ctx context.Context) ([]string, error) {
	acct, err := serverAccount()
	if err != nil {
		return nil, err
	}
	cache, _ := cacheDir(acct) // none: then nothing is in it
	var majors []string
	dirs := installed(cache)
	if dir := os.Getenv(BinEnv); dir != "" {
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		if in, err := probe(ctx, acct, dir); err == nil {
			majors = append(majors, in.major)
		}
	}
	slices.SortFunc(majors, byMajor)
	return slices.Compact(majors), nil
}

// find returns a PostgreSQL of the major version, or of any where that is empty.
func find(ctx context.Context, acct account, major string) (install, error) {
	var misses []error
	if dir := os.Getenv(BinEnv); dir != "" {
		in, err := probe(ctx, acct, dir)
		if err != nil {
			return install{}, fmt.Errorf("%s: %w", BinEnv, err)
		}
		if in.fits(major) {
			return in, nil
		}
	}
	cache, noCache := cacheDir(acct)
	for _, dir := range installed(cache) {
		in, err := probe(ctx, acct, dir)
		if err != nil {
			misses = append(misses, err)
		} else if in.fits(major) {
			return in, nil
		}
	}
	if ctx.Err() != nil {
		return install{}, context.Cause(ctx) // which is why none was found
	}
	in, err := install{}, noCache
	if err == nil {
		in, err = fetch(ctx, acct, cache, major)
	}
	if err != nil {
		return install{}, fmt.Errorf("no %s on this machine (set %s, or install it), and none could be fetched: %w",
			strings.TrimSpace("PostgreSQL "+major), BinEnv, errors.Join(append(misses, err)...))
	}
	return in, nil
}

func (in install) fits(major string) bool { return major == "" || major == in.major }

// installed lists the directories to look in, the best first. cache is empty where there can be none.
func installed(cache string) []string {
	var dirs []string
	if program, err := exec.LookPath("pg_ctl"); err == nil {
		if program, err = filepath.EvalSymlinks(program); err == nil {
			dirs = append(dirs, filepath.Dir(program))
		}
	}
	patterns := slices.Clone(packaged)
	if cache != "" {
		patterns = append(patterns, filepath.Join(cache, "*", "bin"))
	}
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern) // fails only on a malformed pattern
		slices.SortFunc(found, func(a, b string) int { return byMajor(digits.FindString(b), digits.FindString(a)) })
		dirs = append(dirs, found...)
	}
	return dirs
}

var (
	digits  = regexp.MustCompile(`\d+`)
	release = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)`)
)

func byMajor(a, b string) int {
	m, _ := strconv.Atoi(a) // no number sorts first
	n, _ := strconv.Atoi(b)
	return cmp.Compare(m, n)
}

// probe looks whether dir holds the programs of a server, and whether the account can run them.
func probe(ctx context.Context, acct account, dir string) (install, error) {
	for _, program := range []string{"initdb", "pg_ctl", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return install{}, err
		}
	}
	out, err := acct.run(ctx, filepath.Join(dir, "postgres"), "--version")
	if err != nil {
		return install{}, err
	}
	m := release.FindStringSubmatch(out)
	if m == nil {
		return install{}, fmt.Errorf("%s/postgres: not a release of PostgreSQL: %q", dir, out)
	}
	return install{bin: dir, major: m[1]}, nil
}
