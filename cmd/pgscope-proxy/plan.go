package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/keeper"
	"github.com/pgscope/pgscope-proxy/reconcile"
)

func newPlanCommand() *cobra.Command {
	var t target
	var out string
	c := &cobra.Command{
		Use:     "plan",
		Aliases: []string{"diff"},
		Short:   "Show what apply would change",
		Long: "plan compares a manifest with a server and shows what apply would change. It ends with 2 if that is\n" +
			"anything.\n" +
			"With --out it writes a file that apply takes: it applies this plan, and refuses if the server or the\n" +
			"manifest has changed since.",
		Example: "  pgscope-proxy plan -f access.yaml                  # ends with 2: there is something to change\n" +
			"  pgscope-proxy plan -f access.yaml -o sql           # the statements; ends with 2\n" +
			"  pgscope-proxy plan -f access.yaml --out plan.json  # for apply; ends with 2",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show, err := planFormat(t.output)
			if err != nil {
				return err
			}
			parts, err := t.parts(cmd)
			if err != nil {
				return err
			}
			results, err := dryRun(cmd, parts)
			if err != nil {
				return err
			}
			if out != "" {
				if err := writePlan(out, t, results); err != nil {
					return err
				}
			}
			if err := show(cmd.OutOrStdout(), results); err != nil {
				return err
			}
			return differences(results)
		},
	}
	t.flags(c, "text, sql, json or markdown")
	c.Flags().StringVar(&out, "out", "", "write the plan to this `file`, for apply")
	return c
}

// result is what a part's run, or dry run, has found.
type result struct {
	database string
	shared   bool // it is about the whole cluster
	reconcile.Report
	findings []reconcile.Finding
}

func (r result) title() string {
	if r.shared {
		return "cluster"
	}
	return "database " + r.database
}

// dryRun plans all parts.
func dryRun(cmd *cobra.Command, parts []keeper.Part) ([]result, error) {
	results := make([]result, len(parts))
	for i, p := range parts {
		p.DryRun = true
		report, err := reconcile.Run(cmd.Context(), p.Options)
		if err != nil {
			return nil, inDatabase(p.Database, err)
		}
		results[i] = result{database: p.Database, shared: p.Shared, Report: report}
	}
	return results, nil
}

func inDatabase(name string, err error) error { return fmt.Errorf("database %q: %w", name, err) }

// differences is the exit code of a plan: passwords that cannot be compared are no difference.
func differences(results []result) error {
	problems, found := 0, false
	for _, r := range results {
		problems += len(r.Plan.Problems)
		found = found || len(r.findings) > 0
		for _, c := range r.Plan.Changes {
			found = found || !c.Blind()
		}
	}
	switch {
	case problems > 0:
		return fmt.Errorf("the plan cannot be applied: %s", count(problems, "problem"))
	case found:
		return &exitError{code: exitDifferences}
	default:
		return nil
	}
}

// planFile is a plan on disk. No statement is ever taken from it: what is applied is planned
// again, and must come to the same.
type planFile struct {
	Version int `json:"version"`
	target
	Databases []plannedDatabase `json:"databases"`
}

type plannedDatabase struct {
	planJSON
	Fingerprint string `json:"fingerprint"`
}

const planVersion = 1

func writePlan(path string, t target, results []result) error {
	f := planFile{Version: planVersion, target: t}
	for _, r := range results {
		f.Databases = append(f.Databases, plannedDatabase{jsonOf(r), r.Fingerprint})
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

func readPlan(path string) (planFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return planFile{}, err
	}
	var f planFile
	if err := json.Unmarshal(text, &f); err != nil {
		return planFile{}, fmt.Errorf("%s: not a plan of plan --out (a manifest is given by --file): %w", path, err)
	}
	if f.Version != planVersion {
		return planFile{}, fmt.Errorf("%s: a plan of version %d; this program has %d", path, f.Version, planVersion)
	}
	return f, nil
}

// agreed checks that what would be done now is what the file says.
func (f planFile) agreed(results []result) error {
	same := len(f.Databases) == len(results)
	for i := 0; same && i < len(results); i++ {
		same = f.Databases[i].Database == results[i].database && f.Databases[i].Fingerprint == results[i].Fingerprint
	}
	if !same {
		return errors.New("the server or the manifest has changed since the plan was made: make a new one")
	}
	return nil
}
