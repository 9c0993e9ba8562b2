package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/keeper"
	"github.com/pgscope/pgscope-proxy/manifest"
	"github.com/pgscope/pgscope-proxy/reconcile"
)

// source is a manifest on disk and how its names are read.
type source struct {
	File   string `json:"file,omitempty"`
	Bundle string `json:"bundle,omitempty"`
	Scope  string `json:"scope"`
}

func (s *source) flags(c *cobra.Command) {
	c.Flags().StringVarP(&s.File, "file", "f", "", "the `file` of the manifest, bundle or estate")
	c.Flags().StringVar(&s.Bundle, "bundle", "", "the root `file` of a bundle")
	addScope(c, &s.Scope)
}

func addScope(c *cobra.Command, scope *string) {
	c.Flags().StringVar(scope, "scope", string(manifest.Database), "the `scope` of names: database (short names, the database's own) or none (the cluster's names, as written)")
}

// load reads the manifest. database is the one that it is for if it does not say so itself; empty where that is not known.
func (s *source) load(database string, diagnostics io.Writer) (*manifest.Manifest, error) {
	kind, ok := manifest.ParseScope(s.Scope)
	if !ok {
		return nil, usageError(fmt.Errorf("unknown scope %q: database or none", s.Scope))
	}
	read, path := manifest.Load, s.File
	switch {
	case s.File != "" && s.Bundle != "":
		return nil, usageError(errors.New("both --file and --bundle: one of them"))
	case s.Bundle != "":
		read, path = manifest.LoadBundle, s.Bundle
	case s.File == "":
		return nil, usageError(errors.New("which manifest? --file or --bundle"))
	}
	m, err := read(path, manifest.Options{Scope: kind, Database: database})
	if err != nil {
		return nil, err
	}
	for _, w := range m.Warnings {
		_, _ = fmt.Fprintf(diagnostics, "WARNING:  %v\n", w) // there is nowhere else to tell
	}
	return m, nil
}

// target is a manifest, the server that it is for, and how far to go.
type target struct {
	source
	Mode   string `json:"mode"`
	dsn    string
	output string
}

func (t *target) flags(c *cobra.Command, outputs string) {
	t.source.flags(c)
	addDSN(c, &t.dsn)
	c.Flags().StringVarP(&t.output, "output", "o", "text", "the `format` of what is shown: "+outputs)
	c.Flags().StringVar(&t.Mode, "mode", reconcile.Authoritative.String(), "the `mode` of the plan: authoritative, additive or adopt")
}

// parts loads the manifest and returns what is to be done: for an estate the whole cluster first.
func (t *target) parts(cmd *cobra.Command) ([]keeper.Part, error) {
	mode, err := reconcile.ParseMode(t.Mode)
	if err != nil {
		return nil, usageError(err)
	}
	config, err := serverConfig(cmd, t.dsn)
	if err != nil {
		return nil, err
	}
	config.Database = cmp.Or(config.Database, config.User)
	m, err := t.load(config.Database, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	return partsOf(m, config, func(d *access.Desired) reconcile.Options {
		return reconcile.Options{Desired: d, Mode: mode, AsWritten: t.Scope == string(manifest.None)}
	}), nil
}

// partsOf returns what a manifest wants in each database, as options makes it: for an estate the whole cluster first.
// config leads to the server, and names the database of what names none.
func partsOf(m *manifest.Manifest, config *pgconn.Config, options func(*access.Desired) reconcile.Options) (list []keeper.Part) {
	promised := make(map[access.Ref]bool)
	for _, r := range m.Cluster.Roles {
		promised[r.Ref] = true
	}
	add := func(d *access.Desired, shared bool) {
		p := keeper.Part{Database: cmp.Or(d.Database, config.Database), Shared: shared, Options: options(d)}
		if !shared {
			p.Promised = promised
		}
		p.Connect = func(ctx context.Context, database string) (*pgconn.PgConn, error) {
			to := config.Copy()
			to.Database = cmp.Or(database, p.Database)
			return connectServer(ctx, to)
		}
		list = append(list, p)
	}
	if c := &m.Cluster; len(c.Roles)+len(c.Grants)+len(c.Memberships)+len(c.Retirements) > 0 {
		add(c, true)
	}
	for i := range m.Databases {
		add(&m.Databases[i], false)
	}
	return list
}
