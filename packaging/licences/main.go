// Command licences lists the licences of the modules that a program of Go is made of, and fails where one is not known or
// not one of those that allow the program to be given away under any licence.
//
//	go run ./packaging/licences bin/pgscope-proxy
package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/google/licensecheck"
)

// permitted are the licences, by their SPDX names, that ask for no more than that their text goes along, and MPL-2.0,
// which asks for the sources of the files under it: they are published as they are.
var permitted = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "PostgreSQL"}

// read are the modules whose licence a person has read, because no form of words in it is a known one.
var read = map[string]string{
	"github.com/xi2/xz": "public domain",
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(args []string, w io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: licences PROGRAM")
	}
	info, err := buildinfo.ReadFile(args[0])
	if err != nil {
		return err
	}
	dirs, err := moduleDirs()
	if err != nil {
		return err
	}
	var table bytes.Buffer
	var wrong []error
	for _, m := range info.Deps {
		found, err := licences(dirs[m.Path])
		if err != nil {
			return err
		}
		if by := read[m.Path]; len(found) == 0 && by != "" {
			fmt.Fprintf(&table, "%s\t%s\t%s\n", m.Path, m.Version, by)
			continue
		}
		fmt.Fprintf(&table, "%s\t%s\t%s\n", m.Path, m.Version, strings.Join(found, " AND "))
		if len(found) == 0 {
			wrong = append(wrong, fmt.Errorf("%s: no licence is recognised", m.Path))
		}
		for _, l := range found {
			if !slices.Contains(permitted, l) {
				wrong = append(wrong, fmt.Errorf("%s: licence %s is not one of %s", m.Path, l, strings.Join(permitted, ", ")))
			}
		}
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err = out.Write(table.Bytes())
	return errors.Join(err, out.Flush(), errors.Join(wrong...))
}

// moduleDirs says where the sources of each module are.
func moduleDirs() (map[string]string, error) {
	out, err := exec.Command("go", "list", "-m", "-json", "all").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	dirs := make(map[string]string)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Dir string }
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return dirs, nil
		case err != nil:
			return nil, err
		}
		dirs[m.Path] = m.Dir
	}
}

// licences returns what the files of a module say, by SPDX names.
func licences(dir string) ([]string, error) {
	var files []string
	for _, name := range []string{"LICENSE*", "LICENCE*", "COPYING*", "License*"} {
		match, err := filepath.Glob(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files = append(files, match...)
	}
	var found []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range licensecheck.Scan(text).Match {
			if !m.IsURL {
				found = append(found, m.ID)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}
