package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/pgscope/pgscope-proxy/reconcile"
	"github.com/pgscope/pgscope-proxy/scope"
)

// planFormats are the forms that plans, and what was applied, are shown in.
var planFormats = map[string]func(io.Writer, []result) error{
	"text": planText, "sql": planSQL, "json": planJSONText, "markdown": planMarkdown,
}

func planFormat(name string) (func(io.Writer, []result) error, error) {
	show, ok := planFormats[name]
	if !ok {
		return nil, usageError(fmt.Errorf("unknown output format %q: text, sql, json or markdown", name))
	}
	return show, nil
}

// terminal reports whether somebody is looking, who wants colours.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

const (
	green, yellow, red, plain = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
)

// altering are the steps that make something other, and not less.
var altering = []reconcile.Step{reconcile.AlterRole, reconcile.SetPassword, reconcile.CommentRole, reconcile.SetParameter, reconcile.OwnSchema}

// sign returns what stands before a change, and its colour.
func sign(c reconcile.Change) (mark, colour string) {
	switch {
	case c.Adds():
		return "+", green
	case slices.Contains(altering, c.Step):
		return "~", yellow
	default:
		return "-", red
	}
}

func planText(out io.Writer, results []result) error {
	var b strings.Builder
	colours := terminal(out)
	paint := func(colour, text string) string {
		if !colours {
			return text
		}
		return colour + text + plain
	}
	for _, r := range results {
		fmt.Fprintf(&b, "%s: %s\n", r.title(), summary(r))
		for _, c := range r.Plan.Changes {
			mark, colour := sign(c)
			line := fmt.Sprintf("  %s %v", mark, c)
			if c.Database != "" {
				line += " in database " + c.Database
			}
			b.WriteString(paint(colour, line))
			for i, p := range c.Places {
				if i == 0 {
					b.WriteString("  " + p.String())
				}
			}
			b.WriteByte('\n')
		}
		for _, p := range r.Plan.Problems {
			b.WriteString(paint(red, "  ! "+p.String()) + "\n")
		}
		for _, f := range r.findings {
			b.WriteString(paint(yellow, "  ? "+f.String()) + "\n")
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// count says how many there are of what.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func summary(r result) string {
	text := count(len(r.Plan.Changes), "change")
	switch {
	case len(r.Made) > 0:
		text += ", " + count(len(r.Made), "statement") + " applied"
	case len(r.Plan.Changes) == 0:
		text = "nothing to change"
	}
	if r.Proof != nil {
		text += fmt.Sprintf("; %d rights of %d roles compared, none has changed", r.Proof.Rights, r.Proof.Roles)
	}
	if n := len(r.Plan.Problems); n > 0 {
		text += ", " + count(n, "problem")
	}
	if n := len(r.findings); n > 0 {
		text += ", " + count(n, "finding")
	}
	return text
}

func planSQL(out io.Writer, results []result) error {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "-- %s: %s\n", scope.OneLine(r.title()), summary(r))
		for _, c := range r.Plan.Changes {
			fmt.Fprintf(&b, "-- %s\n%s;\n", scope.OneLine(c.String()), c.SQL)
		}
		for _, p := range r.Plan.Problems {
			fmt.Fprintf(&b, "-- problem: %s\n", scope.OneLine(p.String()))
		}
		for _, f := range r.findings {
			fmt.Fprintf(&b, "-- found: %s\n", scope.OneLine(f.String()))
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// planJSON is the JSON of one database's plan. The keys are part of the contract with scripts, and all lists are there, also
// those with nothing in them.
type planJSON struct {
	Database string        `json:"database"`
	Cluster  bool          `json:"cluster,omitempty"` // it is about the whole cluster, from this database
	Applied  int           `json:"applied"`
	Changes  []changeJSON  `json:"changes"`
	Problems []problemJSON `json:"problems"`
	Findings []findingJSON `json:"findings"`
}

type changeJSON struct {
	Step     string   `json:"step"`
	Database string   `json:"database,omitempty"`
	Subject  string   `json:"subject"`
	Reason   string   `json:"reason"`
	Places   []string `json:"places"`
	SQL      string   `json:"sql"`
}

type problemJSON struct {
	Place   string `json:"place,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

type findingJSON struct {
	Kind    string `json:"kind"`
	Subject string `json:"subject"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
}

func jsonOf(r result) planJSON {
	j := planJSON{Database: r.database, Cluster: r.shared, Applied: len(r.Made), Changes: []changeJSON{}, Problems: []problemJSON{}, Findings: []findingJSON{}}
	for _, c := range r.Plan.Changes {
		x := changeJSON{Step: c.Step.String(), Database: c.Database, Subject: c.Subject, Reason: c.Reason, Places: []string{}, SQL: c.SQL}
		for _, p := range c.Places {
			x.Places = append(x.Places, p.String())
		}
		j.Changes = append(j.Changes, x)
	}
	for _, p := range r.Plan.Problems {
		j.Problems = append(j.Problems, problemJSON{p.Place.String(), p.Message, p.Hint})
	}
	for _, f := range r.findings {
		j.Findings = append(j.Findings, findingJSON(f))
	}
	return j
}

func planJSONText(out io.Writer, results []result) error {
	list := make([]planJSON, len(results))
	for i, r := range results {
		list[i] = jsonOf(r)
	}
	return writeJSON(out, map[string]any{"databases": list})
}

func writeJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func planMarkdown(out io.Writer, results []result) error {
	var b strings.Builder
	cell := strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;")
	for _, r := range results {
		title := r.title()
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", cell.Replace(strings.ToUpper(title[:1])+title[1:]), summary(r))
		if len(r.Plan.Changes) > 0 {
			b.WriteString("| | Step | What | Why | Where |\n|---|---|---|---|---|\n")
		}
		for _, c := range r.Plan.Changes {
			mark, _ := sign(c)
			where := ""
			if len(c.Places) > 0 {
				where = c.Places[0].String()
			}
			fmt.Fprintf(&b, "| %s | %v | %s | %s | %s |\n", mark, c.Step, cell.Replace(c.Subject), cell.Replace(c.Reason), cell.Replace(where))
		}
		if len(r.Plan.Changes) > 0 {
			b.WriteByte('\n')
		}
		for _, p := range r.Plan.Problems {
			fmt.Fprintf(&b, "- **Problem**: %s\n", cell.Replace(p.String()))
		}
		for _, f := range r.findings {
			fmt.Fprintf(&b, "- %s\n", cell.Replace(f.String()))
		}
		if len(r.Plan.Problems)+len(r.findings) > 0 {
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
