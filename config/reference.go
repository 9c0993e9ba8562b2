package config

import (
	"cmp"
	_ "embed"
	"fmt"
	"strings"
	"unicode/utf8"
)

//go:embed reference.md
var referenceHead string

// Reference returns docs/configuration.md: every setting, from the table.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("\n## Settings\n\n| Setting | Default | A change needs |\n|---|---|---|\n")
	for i := range settings {
		s := &settings[i]
		needs := "SIGHUP"
		if s.fixed {
			needs = "a restart"
		}
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", s.key, strings.ReplaceAll(s.key, ".", ""), code(s.def), needs)
	}
	for i := range settings {
		s := &settings[i]
		where := fmt.Sprintf("`--%s`, `%s`", s.flag(), s.env())
		if s.secret {
			where += fmt.Sprintf(", `%s%s`", s.env(), fileSuffix)
		}
		s.write(&b, s.key, where)
	}
	b.WriteString("\n## Settings of one database\n\nIn the file only, in the section of the database's name, which is spelt as the server spells it.\n")
	for i := range databaseSettings {
		s := &databaseSettings[i]
		s.write(&b, databasesKey+".NAME."+s.key, "")
	}
	b.WriteString("\n## Rules of authentication\n\n" + wrapped("In the file only: the list "+code(authRulesKey)+
		", of which the first rule holds that matches a connection. Where none does, the setting auth says how.") + "\n")
	for _, k := range ruleKeys {
		s := setting[AuthRule]{arg: k.arg, example: k.example, doc: k.doc}
		s.write(&b, authRulesKey+"."+k.key, "")
	}
	return b.String()
}

func (s *setting[T]) write(b *strings.Builder, key, where string) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n", key, wrapped(s.doc))
	if where != "" {
		fmt.Fprintf(b, "- Also: %s\n", where)
	}
	fmt.Fprintf(b, "- Value: %s\n- Default: %s\n- Example: `%s`\n", s.arg, cmp.Or(code(s.def), "none"), s.example)
	if s.fixed {
		b.WriteString("- A change needs a restart\n")
	}
}

// wrapped breaks a paragraph into lines that fit a page.
func wrapped(text string) string {
	const columns = 120
	var b strings.Builder
	line := 0
	for word := range strings.FieldsSeq(text) {
		size := utf8.RuneCountInString(word)
		switch {
		case line == 0:
		case line+1+size > columns:
			b.WriteByte('\n')
			line = 0
		default:
			b.WriteByte(' ')
			line++
		}
		b.WriteString(word)
		line += size
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
