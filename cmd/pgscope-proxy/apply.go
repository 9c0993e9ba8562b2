package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/dump"
	"github.com/pgscope/pgscope-proxy/keeper"
	"github.com/pgscope/pgscope-proxy/reconcile"
)

func newApplyCommand() *cobra.Command {
	var t target
	var undo string
	c := &cobra.Command{
		Use:   "apply [PLAN]",
		Short: "Make a server's access what a manifest says",
		Long: "apply compares a manifest with a server, makes the changes, in one transaction for each database, and\n" +
			"compares again: nothing may be left.\n" +
			"With a file that plan --out has written it makes those changes and no others.\n" +
			"Where one cannot be made, its transaction is rolled back, and nothing is done after it. While another apply,\n" +
			"or a reconciler, is at work in the cluster, it waits.",
		Example: "  pgscope-proxy apply plan.json --undo undo.sql\n" +
			"  pgscope-proxy apply -f access.yaml",
		Args: arguments(0, 1, "one plan"),
		RunE: func(cmd *cobra.Command, args []string) error {
			show, err := planFormat(t.output)
			if err != nil {
				return err
			}
			var agreed *planFile
			if len(args) == 1 {
				f, err := t.ofPlan(cmd, args[0])
				if err != nil {
					return err
				}
				agreed = &f
			}
			parts, err := t.parts(cmd)
			if err != nil {
				return err
			}
			keep := func([]result) error { return nil }
			if undo != "" { // before anything is changed
				f, err := openUndo(undo)
				if err != nil {
					return err
				}
				keep = func(results []result) error { return errors.Join(writeUndo(f, results), f.Close()) }
				for i := range parts {
					parts[i].Undo = true
				}
			}
			results, err := apply(cmd, parts, agreed)
			return errors.Join(keep(results), show(cmd.OutOrStdout(), results), err)
		},
	}
	t.flags(c, "text, sql, json or markdown")
	c.Flags().StringVar(&undo, "undo", "", "write the statements that take the changes back to this `file`, which must not have anything in it")
	return c
}

// ofPlan reads a plan, and takes the manifest and the mode from it.
func (t *target) ofPlan(cmd *cobra.Command, path string) (planFile, error) {
	for _, name := range []string{"file", "bundle", "mode", "scope"} {
		if cmd.Flags().Changed(name) {
			return planFile{}, usageError(fmt.Errorf("--%s: the plan says it", name))
		}
	}
	f, err := readPlan(path)
	if err == nil {
		t.source, t.Mode = f.source, f.Mode
	}
	return f, err
}

// apply carries out all parts, and stops at the first that cannot be.
func apply(cmd *cobra.Command, parts []keeper.Part, agreed *planFile) (results []result, err error) {
	if agreed != nil || len(parts) > 1 { // all that can be known before the first change
		planned, err := dryRun(cmd, parts)
		if err != nil {
			return nil, err
		}
		if agreed != nil {
			if err := agreed.agreed(planned); err != nil {
				return nil, err
			}
		}
		var problems []reconcile.Problem
		for _, r := range planned {
			problems = append(problems, r.Plan.Problems...)
		}
		if problems != nil {
			return nil, &reconcile.ProblemsError{Problems: problems}
		}
		if agreed != nil && len(parts) == 1 {
			parts[0].Expect = planned[0].Fingerprint
		}
	}
	for _, p := range parts {
		p.Wait = true
		p.Progress = progress(cmd.ErrOrStderr(), p.Database)
		report, err := reconcile.Run(cmd.Context(), p.Options)
		results = append(results, result{database: p.Database, shared: p.Shared, Report: report})
		if err != nil {
			return results, inDatabase(p.Database, err)
		}
	}
	return results, nil
}

// progress shows on a terminal how far it is.
func progress(w io.Writer, database string) func(done, total int) {
	if !terminal(w) {
		return nil
	}
	return func(done, total int) {
		end := "\r"
		if done == total {
			end = "\r\x1b[K"
		}
		_, _ = fmt.Fprintf(w, "%s: %d of %d%s", database, done, total, end) // there is nowhere else to tell
	}
}

// openUndo refuses a file with something in it: it may be what takes an earlier run back.
func openUndo(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		err = fmt.Errorf("%s: there is something in it; it may be what takes an earlier run back", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// writeUndo writes a script for psql, which ends where a statement fails.
func writeUndo(out io.Writer, results []result) (err error) {
	var b strings.Builder
	for _, r := range slices.Backward(results) {
		if len(r.Undo) == 0 {
			continue
		}
		err = errors.Join(err, dump.Connect(&b, r.database))
		b.WriteString("\\set ON_ERROR_STOP on\nSET client_encoding = 'UTF8';\nBEGIN;\n")
		for _, sql := range r.Undo {
			b.WriteString(sql)
			if !strings.HasPrefix(sql, "--") {
				b.WriteByte(';')
			}
			b.WriteByte('\n')
		}
		b.WriteString("COMMIT;\n")
	}
	_, failed := io.WriteString(out, b.String())
	return errors.Join(err, failed)
}
