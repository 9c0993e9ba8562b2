package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pgscope/pgscope-proxy/test/pgtest"
)

var update = flag.Bool("update", false, "write the reference in docs/commands.md anew")

const commandsFile = "../../docs/commands.md"

// TestCommandsReference: docs/commands.md ends in every command with its flags, as the program has them.
func TestCommandsReference(t *testing.T) {
	head, have := commandsPage(t)
	want := commandsReference()
	if *update {
		if err := os.WriteFile(commandsFile, []byte(head+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(want, have); diff != "" {
		t.Errorf("docs/commands.md is not what the program has: go test ./cmd/pgscope-proxy -run Reference -update\n%s", diff)
	}
}

// commandsPage returns what is written in docs/commands.md, and what is made.
func commandsPage(t *testing.T) (written, made string) {
	t.Helper()
	page, err := os.ReadFile(commandsFile)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "\n<!-- Made of what the program has: go test ./cmd/pgscope-proxy -run Reference -update -->\n"
	written, made, found := strings.Cut(string(page), mark)
	if !found {
		t.Fatalf("no line%s", mark)
	}
	return written + mark, made
}

// TestExitCodesDocumented: docs/commands.md has the exit codes that there are.
func TestExitCodesDocumented(t *testing.T) {
	written, _ := commandsPage(t)
	source, err := os.ReadFile("exit.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := func(pattern, text string) (list []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		return list
	}
	if diff := gocmp.Diff(codes(`(?m)^\texit[A-Z]\w+ += ([0-9]+)`, string(source)), codes(`(?m)^\| ([0-9]+) \|`, written)); diff != "" {
		t.Errorf("exit codes in exit.go (-) and docs/commands.md (+):\n%s", diff)
	}
}

func commandsReference() string {
	var b strings.Builder
	var write func(*cobra.Command)
	write = func(c *cobra.Command) {
		if !c.HasSubCommands() && !c.Hidden {
			writeCommand(&b, c)
		}
		for _, sub := range c.Commands() {
			write(sub)
		}
	}
	cobra.EnableCommandSorting = false // root.go has them in the order of use
	defer func() { cobra.EnableCommandSorting = true }()
	for _, c := range newRootCommand().Commands() {
		if name := c.Name(); name != "help" && name != "completion" { // cobra's own
			write(c)
		}
	}
	return b.String()
}

func writeCommand(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n### %s\n\n`%s`", strings.TrimPrefix(c.CommandPath(), program+" "), c.UseLine())
	if c.Aliases != nil {
		fmt.Fprintf(b, ", also called `%s`", strings.Join(c.Aliases, "`, `"))
	}
	fmt.Fprintf(b, "\n\n%s\n\n%s\n", cmp.Or(c.Long, c.Short+"."), regexp.MustCompile("(?m)^  ").ReplaceAllString(c.Example, "    "))
	settings := c.Flags().Lookup("config") != nil
	if settings {
		b.WriteString("\n`--config FILE` names a file with settings. Each setting is a flag too: [configuration.md](configuration.md).\n")
	}
	table := ""
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || settings && f.Name != "check" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		flag := strings.TrimSpace("--" + f.Name + " " + strings.ToUpper(value))
		if f.Shorthand != "" {
			flag = "-" + f.Shorthand + "`, `" + flag
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			usage += "; default " + f.DefValue
		}
		table += fmt.Sprintf("| `%s` | %s |\n", flag, usage)
	})
	if table != "" {
		b.WriteString("\n| Flag | |\n|---|---|\n" + table)
	}
}

// TestHelpFits: no line of a help text is broken by a terminal of helpWidth columns.
func TestHelpFits(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Name() == "completion" { // cobra's own
			return
		}
		var help strings.Builder
		c.SetOut(&help)
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(help.String()) {
			if n := utf8.RuneCountInString(line) - 1; n > helpWidth {
				t.Errorf("%s --help: %d columns: %s", c.CommandPath(), n, line)
			}
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRootCommand())
}

// ofTheirOwn are the commands that run a proxy or need one that runs: they have tests of their own.
var ofTheirOwn = regexp.MustCompile("^pgscope-proxy (serve|demo|healthcheck)")

// TestCommandsExamples does what docs/commands.md says, line by line, and wants each command to end as it
// says: with 0, if nothing else is said.
func TestCommandsExamples(t *testing.T) {
	written, made := commandsPage(t)
	server, err := strconv.Atoi(pgtest.Shared(t).Major)
	if err != nil {
		t.Fatal(err)
	}
	dumps, _ := pgDump(t)
	var script strings.Builder
	script.WriteString(`psql postgres 'CREATE ROLE dba LOGIN CREATEROLE'
psql postgres 'CREATE DATABASE orders'
psql orders 'CREATE TABLE invoices (id int); CREATE ROLE orders_reader; CREATE ROLE orders_api LOGIN IN ROLE orders_reader; GRANT SELECT ON invoices TO orders_reader'
env PGDATABASE=orders
`)
	lines, done := regexp.MustCompile("(?m)^    (pgscope-proxy .*?)(?: +#.*?(?:ends with ([0-9]+).*)?)?$").FindAllStringSubmatch(written+made, -1), 0
	for _, m := range lines {
		if ofTheirOwn.MatchString(m[1]) {
			continue
		}
		want := cmp.Or(m[2], "0")
		if strings.HasPrefix(m[1], "pgscope-proxy dump ") && dumps < server { // which pg_dump does not take
			want = "1"
		}
		fmt.Fprintf(&script, "exits %s sh -c '%s'\n", want, strings.ReplaceAll(m[1], "'", "''"))
		done++
	}
	if done < 25 {
		t.Errorf("%d examples", done)
	}
	script.WriteString("-- audit.log --\n")
	for _, m := range regexp.MustCompile("(?s)\n```yaml\n# (\\S+)\n(.*?)```").FindAllStringSubmatch(written, -1) {
		fmt.Fprintf(&script, "-- %s --\n%s", m[1], m[2])
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "commands.txtar"), []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, RequireExplicitExec: true, Setup: withServerOfItsOwn,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "psql": psql},
	})
}
